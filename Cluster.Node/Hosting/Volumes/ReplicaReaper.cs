using System.Collections.Immutable;
using Akka.Actor;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Node.Hosting.Volumes;

/// <summary>
/// Deletes this node's copies of deleted volumes, and copies that their volumes do without: asks placement which of those held are gone for ever, and drops only
/// those that its journal names (R22), never one that is merely unknown. A node that was away cleans up by itself when it returns. One per node.
/// </summary>
public sealed class ReplicaReaper : ReceiveActor, IWithTimers
{
    private static readonly TimeSpan Every = TimeSpan.FromSeconds(3);

    /// <summary>Copies asked about in one message; the others follow in the next rounds.</summary>
    private const int AskedMax = 1000;

    private readonly VolumeRuntime _runtime;
    private readonly IActorRef _placement;
    private VolumeId _after;

    private sealed class Round : INoSerializationVerificationNeeded
    {
        public static readonly Round Instance = new();
    }

    private sealed record Held(IReadOnlyList<HeldCopy> Copies) : INoSerializationVerificationNeeded;

    public ReplicaReaper(VolumeRuntime runtime, IActorRef placement)
    {
        (_runtime, _placement) = (runtime, placement);
        Receive<Round>(_ => OnRound());
        Receive<Held>(OnHeld);
        Receive<PlacementProtocol.Deleted>(OnDeleted);
        // Placement can't say now: the next round asks again.
        Receive<PlacementProtocol.Refused>(_ => { });
    }

    public ITimerScheduler Timers { get; set; } = null!;

    protected override void PreStart() => Timers.StartPeriodicTimer(nameof(Round), Round.Instance, Every);

    private void OnRound()
    {
        var self = Self;
        _runtime.Loop.Post(() => self.Tell(new Held(_runtime.HeldCopies()), ActorRefs.NoSender));
    }

    private void OnHeld(Held held)
    {
        var next = held.Copies.Where(copy => copy.Volume.CompareTo(_after) > 0).Take(AskedMax).ToImmutableArray();
        _after = next.Length == AskedMax ? next[^1].Volume : default;
        if (next.Length > 0) _placement.Tell(new PlacementProtocol.WhichAreDeleted(next));
    }

    private void OnDeleted(PlacementProtocol.Deleted deleted)
    {
        foreach (var copy in deleted.Copies) _runtime.Loop.Post(() => _runtime.DeleteReplica(copy));
    }
}
