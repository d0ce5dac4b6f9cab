using System.Collections.Immutable;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Node.Owner;

// What users see. All of it on the loop.
public sealed partial class VolumeMachine
{
    /// <summary>Every state of <see cref="StateName"/> that a volume has while this node is its owner, in the words that users read anywhere.</summary>
    public static string[] States { get; } = ["healthy", "degraded", "held", "starting"];

    /// <summary>Its name as users write it; its id while the machine does not know that.</summary>
    public string FullName => _state.Spec?.FullName ?? Volume.ToString();

    /// <summary>In one word how the volume is.</summary>
    public string StateName => Phase switch
    {
        VolumePhase.Serving => IsGathering || _isHeldForRoom || AnsweringMembers() < _state.InSyncMin ? "held" : _state.InSync.Length < Spec.Replicas ? "degraded" : "healthy",
        VolumePhase.Stopped => _state.Deleted ? "deleted" : "offline",
        // Also while it moves: nobody serves it until the next owner does.
        _ => "starting",
    };

    /// <summary>A snapshot for the actor and the API; the caller passes it on.</summary>
    public VolumeView View()
    {
        var replicas = _state.Replicas.Select(ViewOf).ToImmutableArray();
        return new VolumeView(Volume, Spec, StateName, IsServing ? _effects.NodeName : "", _epoch, _state.Version, Committed, replicas, _state.Attachment,
            IsServing ? ServingReason() : _waitReason, _state.InSyncMin, _effects.Local?.Space)
        { Usage = IsServing ? Usage : "", Throttling = IsServing ? ThrottlingView : null };
    }

    /// <summary>Members that acks can be had from. One that was lost and can't leave, for the minimum needs it, holds all writes (R7).</summary>
    private int AnsweringMembers()
    {
        var count = 0;
        foreach (var session in _replicas.Values)
        {
            if (IsMember(session) && IsAnswering(session)) count++;
        }
        return count;
    }

    private static bool IsAnswering(ReplicaSession session) => session.Link is not null && (!session.ShouldLeave || session.IsDropping);

    private string ServingReason()
    {
        if (IsGathering) return GatheringReason();
        if (_isHeldForRoom && RoomReason() is { Length: > 0 } room) return room;
        return string.Join("; ", new[] { IsRestoring ? RestoringProgress() : "", CopiesReason(), SlowReason() }.Where(reason => reason.Length > 0));
    }

    /// <summary>How many copies there are, how many it takes, and what the others do; empty when all are in sync.</summary>
    private string CopiesReason()
    {
        var answering = AnsweringMembers();
        if (answering >= Math.Max(Spec.Replicas, _state.InSyncMin)) return "";
        var others = new List<string>();
        foreach (var placement in _state.Replicas)
        {
            if (!_replicas.TryGetValue(placement.Node, out var session)) others.Add($"{placement.NodeName} placed");
            else if (!IsMember(session)) others.Add($"{placement.NodeName} {StateOf(session).Replace('-', ' ')}");
            else if (!IsAnswering(session)) others.Add($"{placement.NodeName} {(session.Link is null ? "unreachable" : "silent")}");
        }
        var unplaced = Spec.Replicas - _state.Replicas.Length;
        if (unplaced > 0) others.Add($"{unplaced} without a node yet");
        var needed = answering < _state.InSyncMin ? $" and {_state.InSyncMin} {(_state.InSyncMin == 1 ? "is" : "are")} needed" : "";
        return $"{answering} of {Spec.Replicas} {(Spec.Replicas == 1 ? "copy" : "copies")} {(answering == 1 ? "is" : "are")} in sync{needed}: {string.Join(", ", others)}";
    }

    private ReplicaView ViewOf(ReplicaPlacement placement)
    {
        if (!_replicas.TryGetValue(placement.Node, out var session)) return new ReplicaView(placement.Id.ToString(), placement.NodeName, "placed", 0, 0, 0, 0, -1);
        var catchUp = session.CatchUp;
        return new ReplicaView(placement.Id.ToString(), placement.NodeName, StateOf(session), session.Appended,
            (ulong)(catchUp?.SentBytes ?? session.CaughtUpBytes), (ulong)(catchUp?.TotalBytes ?? session.CaughtUpBytes),
            (ulong)(catchUp?.BytesPerSecond ?? 0), catchUp?.EtaSeconds ?? -1);
    }

    private string StateOf(ReplicaSession session) =>
        IsMember(session) ? session.Link is null ? "unreachable" : "in-sync"
        : session.CatchUp is { HasBegun: true } ? "catching-up"
        : session is { HoldOffMs: > 0, Link: not null } ? "slow"
        : session.IsRefusedNow || _effects.Repair.CatchUpsOut.IsWaiting(session) ? "queued"
        : session.Phase == ReplicaPhase.Lost ? "lost"
        : session.Link is null ? "offline" : "placed";
}
