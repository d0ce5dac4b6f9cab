namespace Cluster.Node.Cli.Chaos;

/// <summary>What a run does. Bounds are checked by the command.</summary>
internal sealed record ChaosSettings
{
    public const int ClientsMax = 64;

    public TimeSpan Duration { get; init; } = TimeSpan.FromMinutes(10);

    public const int RoundsMax = 1000;

    /// <summary>
    /// Go on after the duration until each fault has struck so often. From two on, only strikes of a cluster that had recovered count.
    /// </summary>
    public int Rounds { get; init; }

    /// <summary>Decides the faults, their order and what clients ask; their timing is the machine's.</summary>
    public int Seed { get; init; }

    public int Clients { get; init; } = 4;

    public int Volumes { get; init; } = 3;

    /// <summary>Bytes of each volume that are worked on: small, so that clients meet at the same blocks.</summary>
    public ulong AreaBytes { get; init; } = 32UL << 20;

    /// <summary>Requests that each client has open at one time.</summary>
    public int Depth { get; init; } = 4;

    /// <summary>Requests per second and client; the disk use of hours follows from it.</summary>
    public int RatePerSecond { get; init; } = 100;

    /// <summary>Names of <see cref="ChaosFaults.Names"/>.</summary>
    public IReadOnlyList<string> Faults { get; init; } = ChaosFaults.OfProcesses;

    /// <summary>Time between the beginnings of two faults, drawn from here, in seconds; later when the one before is not over.</summary>
    public (double Min, double Max) PauseSeconds { get; init; } = (5, 20);

    /// <summary>A client that waits longer than this with every node running has been forgotten.</summary>
    public TimeSpan StuckAfter { get; init; } = TimeSpan.FromSeconds(120);

    /// <summary>Longest that a client waits for its last answers when it is told to stop.</summary>
    public TimeSpan DrainMax { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>How long the cluster may take to be whole again when the faults are over.</summary>
    public TimeSpan HealWithin { get; init; } = TimeSpan.FromMinutes(5);
}
