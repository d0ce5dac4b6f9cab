using System.Collections.Immutable;
using Akka.Actor;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Node.Owner;

/// <summary>Where a volume's actor has its machine run: the volume's loop. Any thread.</summary>
public interface IOwnerHost
{
    /// <summary>Starts a machine; what it has to say comes to the actor as <see cref="OwnerNotice"/>.</summary>
    /// <param name="recovery">How long the actor took to read its journal.</param>
    IOwnerHandle Start(VolumeState state, IActorRef actor, TimeSpan recovery);
}

/// <summary>One machine on its loop, as its actor holds it. Calls are posted to the loop, in order. Any thread.</summary>
public interface IOwnerHandle
{
    /// <summary>The event is in the journal. <paramref name="then"/> runs on the loop after the machine took it.</summary>
    void OnJournaled(VolumeEvent e, Action? then);

    /// <summary>A planned stop; <see cref="OwnerNotice.Stopped"/> follows.</summary>
    void Drain();

    void Stop();

    /// <summary>The machine drops surplus copies (<see cref="VolumeMachine.DropSurplus"/>) and journals that like any of its decisions.</summary>
    void DropSurplus(ImmutableArray<ReplicaId> first);

    void DropReplaced(ReplicaId copy, string reason);

    /// <summary>
    /// Deletes the volume if nobody uses it: the machine journals it like any of its decisions. Else answers from the loop, with Busy or Offline
    /// and the rest of the sentence "Volume NAME: ...".
    /// </summary>
    void Delete(Action<IoStatus, string> refused);

    /// <summary>Tells of the volume's scrub, from the loop; starts one first if asked to.</summary>
    void Scrub(bool start, Action<VolumeProtocol.ScrubView> answer);

    /// <summary>
    /// Makes a snapshot (R19): once its marker is on media everywhere, the machine journals <see cref="SnapshotCreated"/> like any of its decisions. Else answers from the
    /// loop, with the rest of the sentence "Volume NAME: snapshot ... is not made: ..."; Busy: it is to be asked again in a moment.
    /// </summary>
    void CreateSnapshot(string name, Action<IoStatus, string> refused);

    /// <summary><see cref="VolumeMachine.PrepareSnapshot"/>; answers from the loop.</summary>
    void PrepareSnapshot(Guid attempt, string name, Action<PreparedSnapshot> answer);

    /// <summary><see cref="VolumeMachine.CommitSnapshot"/>: the machine journals <see cref="SnapshotCreated"/> like any of its decisions. Else answers from the loop.</summary>
    void CommitSnapshot(Guid attempt, Action<IoStatus, string> refused);

    void AbortSnapshot(Guid attempt);

    /// <summary>
    /// Puts the volume back to a snapshot. Answers from the loop: Ok once that is on media everywhere; Busy while a session is open or another marker is under way, with the rest of the
    /// sentence "Volume NAME: it is not put back to snapshot ...: ...".
    /// </summary>
    void RestoreSnapshot(ulong snapshot, Action<IoStatus, string> answer);

    /// <summary>
    /// Makes the volume smaller (<see cref="VolumeMachine.Shrink"/>): the machine journals the change like any of its decisions. Answers from the loop, with the rest of the sentence "Volume
    /// NAME: it does not shrink: ..."; Busy: it is to be asked again in a moment.
    /// </summary>
    void Shrink(SpecChanged change, Action<IoStatus, string> answer);

    /// <summary><see cref="ILocalReplica.CloneDepth"/> of the owner's copy, as it was when it began to serve.</summary>
    int CloneDepth { get; }

    /// <summary>The volume's stored bytes, and the bytes and blocks that only this snapshot holds, of each of its snapshots, from the loop.</summary>
    void SnapshotUsages(Action<long, IReadOnlyList<(ulong Snapshot, long Bytes, long Blocks, long? SharedBytes)>> answer);

    /// <summary>
    /// Runs of blocks from <paramref name="first"/> on that changed between two snapshots (0: nothing, and the volume as it is now), and the block up to which they are told. Null: not
    /// to be told here now.
    /// </summary>
    void ChangedBlocks(ulong from, ulong to, ulong first, Action<(IReadOnlyList<BlockRange> Runs, ulong UpTo)?> answer);

    /// <summary>Answers with what users see, from the loop.</summary>
    void View(Action<VolumeView> answer);
}

/// <summary>What the loop tells a volume's actor. Never leaves the process. One from a machine that the actor has replaced is ignored.</summary>
public abstract record OwnerNotice(IOwnerHandle Owner) : INoSerializationVerificationNeeded
{
    /// <summary>Answered by <see cref="IOwnerHandle.OnJournaled"/>, or never.</summary>
    public sealed record JournalThis(IOwnerHandle Owner, VolumeEvent Event) : OwnerNotice(Owner);

    public sealed record ServingChanged(IOwnerHandle Owner, bool Serving, ulong Epoch) : OwnerNotice(Owner);

    /// <summary>The machine gave up: deposed, or the volume must be owned elsewhere.</summary>
    public sealed record Ended(IOwnerHandle Owner, string Reason) : OwnerNotice(Owner);

    public sealed record Stopped(IOwnerHandle Owner) : OwnerNotice(Owner);
}

/// <summary>Sharding's stop message: the owner drains and releases its leases before it ends.</summary>
public sealed class VolumeHandOff
{
    public static readonly VolumeHandOff Instance = new();

    private VolumeHandOff()
    {
    }
}
