using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Node.Placement;

/// <summary>
/// One change of the catalogue, as the node sees it that asks for it. Its singleton may hang, and another one take its place that does not know what the first was told: so that is told too. Each
/// carries it out or refuses it against the journal, by compare and set; what comes of several is decided here. Once more than one was told, a refusal may be of what another one has done (the
/// volume is at another revision, or gone): it is no answer while one that was told may still answer. Pure. One caller at a time.
/// </summary>
/// <param name="host">Name of the node that hosts the singleton which is told first, or null.</param>
public sealed class ChangeMachine(IPlacementCommand command, string? host)
{
    private readonly List<PlacementProtocol.Refused> _refusals = [];
    private string? _host = host;

    /// <summary>It was told to more than one singleton, and refused where another one may have done it.</summary>
    public sealed record Undecided(string Refusal);

    /// <summary>An outcome that is still to be asked of the journal: whether that volume is gone (<see cref="OnLooked"/>).</summary>
    public sealed record ToLook(VolumeId Volume, string Refusal);

    /// <summary>Singletons that were told.</summary>
    public int Told { get; private set; } = 1;

    /// <summary>Asked now and then while there is no answer. True: another one hosts the catalogue now, and is to be told.</summary>
    public bool TellsNext(string? now)
    {
        if (now is null || now == _host) return false;
        (_host, Told) = (now, Told + 1);
        return true;
    }

    /// <summary>The outcome; null: the others that were told are waited for.</summary>
    public object? OnAnswer(object said)
    {
        if (Told == 1 || said is not PlacementProtocol.Refused refused) return said;
        // The deletion names the volume's id: if that is gone, it was done, whoever did it. But a singleton may not have read the volume's creation, by the one before it.
        if (refused.Kind == RefusalKind.NotFound && command is PlacementProtocol.DeleteVolume { Id.IsValid: true } deletion)
            return new ToLook(deletion.Id, refused.Reason);
        _refusals.Add(refused);
        return null;
    }

    /// <param name="isGone">As a quorum has it; null: none has answered.</param>
    public static object OnLooked(ToLook look, bool? isGone) => isGone == true ? new PlacementProtocol.Removed(look.Volume) : new Undecided(look.Refusal);

    /// <summary>Nobody is waited for any more. The outcome, or null: nobody has said anything.</summary>
    public object? OnEnd()
    {
        if (_refusals.Count == 0) return null;
        // All that were told refused it: none has done it.
        var isRefused = _refusals.Count == Told && _refusals.TrueForAll(refused => refused.Kind != RefusalKind.Unavailable);
        return isRefused ? _refusals[0] : new Undecided(_refusals[0].Reason);
    }
}
