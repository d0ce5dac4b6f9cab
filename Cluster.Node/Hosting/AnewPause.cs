using System.Globalization;

namespace Cluster.Node.Hosting;

/// <summary>
/// How long a process waits before it starts anew: what ends one run at once may end the next one too, and each costs its host a start and the others a join. The count goes from run to run in the
/// environment, since nothing else of a run is left. Pure.
/// </summary>
internal static class AnewPause
{
    /// <summary>How many runs in a row ended to start anew before this one; no setting.</summary>
    public const string Variable = "MYRMIDON_STARTED_ANEW";

    /// <summary>The longest pause: as much later at most is a node back once what refuses it is over.</summary>
    public static readonly TimeSpan Max = TimeSpan.FromSeconds(10);

    /// <summary>A run that served for as long was no failure: what ends it is new, and the node is back at once.</summary>
    public static readonly TimeSpan Settled = TimeSpan.FromSeconds(60);

    /// <summary>Before the second start in a row; each further one waits twice as long.</summary>
    private static readonly TimeSpan First = TimeSpan.FromSeconds(1);

    /// <summary>The count stays where the pause has long been the longest.</summary>
    private const int CountMax = 1_000_000;

    /// <summary>Runs in a row that ended to start anew, with the one that ends now.</summary>
    /// <param name="variable">What the process got as <see cref="Variable"/>, or null.</param>
    /// <param name="served">For how long the run that ends now was in its cluster and served.</param>
    public static int Count(string? variable, TimeSpan served)
    {
        var before = served < Settled && int.TryParse(variable, NumberStyles.None, CultureInfo.InvariantCulture, out var count) ? count : 0;
        return Math.Min(before, CountMax - 1) + 1;
    }

    /// <summary>Nothing the first time: a node that was taken out while it was silent is to be back soon.</summary>
    public static TimeSpan Before(int count)
    {
        if (count <= 1) return TimeSpan.Zero;
        var doublings = Math.Min(count - 2, 30);
        var pause = First * (1L << doublings);
        return pause < Max ? pause : Max;
    }
}
