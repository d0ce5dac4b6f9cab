using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Messages.Wire;
using Cluster.Node.Repair;

namespace Cluster.Node.Owner;

/// <summary>What an owner's machine needs of the world. Called on the loop.</summary>
public interface IVolumeEffects
{
    NodeId Node { get; }

    string NodeName { get; }

    /// <summary>Identity of this cluster's metadata after a recovery (P7).</summary>
    Guid Era { get; }

    /// <summary>Milliseconds of a clock that counts suspend (R17).</summary>
    long NowMs { get; }

    /// <summary>Milliseconds since 1970 by the host's clock: for schedules that outlive a process, and for nothing else.</summary>
    ulong NowUnixMs { get; }

    /// <summary>The node has little memory left for requests: those that can wait are refused as Busy, and come again.</summary>
    bool IsMemoryTight { get; }

    /// <summary>What the writes of one volume may take of the node's memory, pending, held and throttled; long.MaxValue: no more is said than by Limits.</summary>
    long VolumeBytesMax { get; }

    /// <summary>One was. For metrics.</summary>
    void OnRefusedForMemory();

    /// <summary>What all volumes of this node share when they repair.</summary>
    NodeRepair Repair { get; }

    /// <summary>
    /// Journals the event. Answered by <see cref="VolumeMachine.OnJournaled"/> in the order of the calls, however long that takes, or never: then the
    /// actor has lost its compare and set and stops the machine (R6: a time-out is not a failure).
    /// </summary>
    void Journal(VolumeEvent e);

    /// <summary>The link to that node if it is up.</summary>
    IFrameLink? LinkTo(NodeId node);

    /// <summary>Whether a link to that node was ever up in this process: it is then lost, not just late.</summary>
    bool WasLinked(NodeId node);

    /// <summary>Until when the peer at the other end has granted its lease to this node, on this very link (R17).</summary>
    long LeaseUntilMs(IFrameLink link);

    /// <summary>The replica in this process, or null.</summary>
    ILocalReplica? Local { get; }

    /// <summary>The machine serves (true), or does not any more. For the actor's answers and for metrics.</summary>
    void OnServing(bool serving);

    /// <summary>Sessions have presented so many writes that every copy had lost, and they are in the order again (R13).</summary>
    void OnPresented(int writes);

    /// <summary>The volume must be owned elsewhere: its replica here can't serve. The machine has stopped.</summary>
    void Relocate(string reason);

    /// <summary>A higher epoch exists. The machine has stopped.</summary>
    void OnDeposed(ulong epoch);

    /// <summary>What an operator wants to know, one sentence; the shell adds volume and node.</summary>
    void Log(string what);

    /// <summary>Bad blocks of a copy were found. For the log and for metrics.</summary>
    void OnRepair(in RepairEvent repair);

    /// <summary>A copy is too slow: it is journaled out, or, if it is the owner's own, the owner moves. For the log and for metrics.</summary>
    void OnSlow(string copy, bool isOwner, string reason);

    /// <summary>Writes have been held for a while for want of room; null: not any more (R21). For the log and for metrics.</summary>
    void OnHeldForRoom(string? reason);

    /// <summary>Writes were held for a snapshot of a group, and go on. For metrics.</summary>
    void OnGroupHold(long heldMs, bool isCommitted);

    /// <summary>A planned move of the owner to a node with an in-sync copy, soon.</summary>
    void MoveOwner(NodeId node, string name, string reason);

    /// <summary>Calls <see cref="VolumeMachine.OnWake"/> after so many milliseconds, once.</summary>
    void Wake(int afterMs);

    /// <summary>So many requests have waited since the last call, so long in all, for the volume's limits. For metrics.</summary>
    void OnThrottled(ulong ios, ulong waitedMs);

    /// <summary>For people: the node's name if it is known, else its id.</summary>
    string NameOf(NodeId node);

    /// <summary>Something that <see cref="VolumeMachine.View"/> shows has changed.</summary>
    void OnChanged();
}
