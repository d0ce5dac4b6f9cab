using Cluster.Messages.Events;
using Cluster.Messages.Model;

namespace Cluster.Node.Owner;

/// <summary>How a deletion went: Ok (it is being journaled), or why not now.</summary>
/// <param name="Users">With Busy: the nodes whose front ends have the volume open.</param>
public readonly record struct DeletionAnswer(IoStatus Status, IReadOnlyList<NodeId> Users);

// A deletion that is not forced: not while somebody uses the volume.
public sealed partial class VolumeMachine
{
    /// <summary>For this long after a takeover the sessions of before may be on their way back.</summary>
    public const int ReturnGraceMs = 1500;

    private bool _deleting;
    private long _servingSinceMs;

    /// <summary>
    /// Journals the deletion if nobody has the volume open: from here on no session opens, so that none can come between this look and the
    /// journal. Busy names who uses it (nobody: who used it may be on the way back); Offline: who uses it is not known here.
    /// </summary>
    public DeletionAnswer Delete()
    {
        if (Phase != VolumePhase.Serving) return new DeletionAnswer(IoStatus.Offline, []);
        var users = _sessions.Values.Where(session => session.Route.IsUp).Select(session => session.Link!.Peer).Distinct().Order().ToList();
        var mayReturn = IsGathering || (_windows.Count > 0 && _effects.NowMs - _servingSinceMs < ReturnGraceMs);
        if (users.Count > 0 || mayReturn) return new DeletionAnswer(IoStatus.Busy, users);
        if (_deleting) return new DeletionAnswer(IoStatus.Ok, []);
        _deleting = true;
        _effects.Journal(new VolumeDeleted(Volume));
        return new DeletionAnswer(IoStatus.Ok, []);
    }
}
