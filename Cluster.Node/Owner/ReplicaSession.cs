using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Owner;

/// <summary>
/// Where the owner stands with one copy:
/// <code>
/// Down -> Promising -> Promised -> Aligning -> InSync            (member, takeover or return)
///                         |
///                         +-> CatchUpBegin -> CatchUpStream -> CatchUpEnd -> Joining -> InSync
///                         +-> Lost
/// </code>
/// Any state falls back to Down with its link.
/// </summary>
internal enum ReplicaPhase : byte
{
    Down = 0,
    Promising,
    Promised,
    Aligning,
    InSync,
    CatchUpBegin,
    CatchUpStream,
    CatchUpEnd,
    /// <summary>Complete and on media; waits to be journaled in.</summary>
    Joining,
    /// <summary>Its store failed or is foreign.</summary>
    Lost,
}

/// <summary>The owner's book on one copy.</summary>
internal sealed class ReplicaSession(ReplicaPlacement placement)
{
    public ReplicaPlacement Placement { get; } = placement;

    public ReplicaId Id => Placement.Id;

    public IFrameLink? Link { get; set; }

    public ReplicaPhase Phase { get; set; }

    public IoStatus PromiseStatus { get; set; }

    public PromisedBody Promised { get; set; }

    public long PromiseSentMs { get; set; }

    /// <summary>Names the newest promise asked for: a late answer to an older one says nothing about the log as it is now.</summary>
    public ulong PromiseNumber { get; set; }

    /// <summary>The last promise asked for said that the copy may be made anew.</summary>
    public bool CreateAsked { get; set; }

    public long LinkChangedMs { get; set; }

    /// <summary>The replica cut its log to the owner's order: its acks count from here on.</summary>
    public bool Aligned { get; set; }

    /// <summary>The replica confirmed this epoch over this very link: the node's lease counts for this volume.</summary>
    public bool Confirmed { get; set; }

    /// <summary>The newest question whether it follows this epoch that it was sent over this link, and the newest that it said yes to.</summary>
    public ulong RoundAsked { get; set; }

    public ulong RoundConfirmed { get; set; }

    public ulong Appended { get; set; }

    public ulong Durable { get; set; }

    public ulong SentUpTo { get; set; }

    public ulong SyncAsked { get; set; }

    public ulong WatermarkSent { get; set; }

    public ulong StampedVersion { get; set; }

    /// <summary>Since when an answer is owed; 0 when none is.</summary>
    public long OwesSinceMs { get; set; }

    /// <summary>Records are sent to it as they are sequenced.</summary>
    public bool Live { get; set; }

    /// <summary>It proved to have lost what it had acknowledged: out, whatever the minimum (I/O is then held).</summary>
    public bool MustLeave { get; set; }

    public bool ShouldLeave { get; set; }

    public string LeaveReason { get; set; } = "";

    public CatchUp? CatchUp { get; set; }

    /// <summary>While <see cref="ReplicaPhase.Joining"/>: what was committed before its acks were needed. It joins once all of that is on its media.</summary>
    public ulong JoinTarget { get; set; }

    /// <summary>Not before this time: a catch-up that failed is tried again with a pause.</summary>
    public long CatchUpNotBeforeMs { get; set; }

    public ulong Sure(bool media) => media ? Durable : Appended;

    /// <summary>It had no room: nothing is sent until then; 0 when it takes records.</summary>
    public long StalledUntilMs { get; set; }

    /// <summary>Bytes that its last completed catch-up sent.</summary>
    public long CaughtUpBytes { get; set; }

    /// <summary>Forgets all that the old link said.</summary>
    public void Reset(IFrameLink? link, long nowMs)
    {
        (Link, Phase, LinkChangedMs) = (link, ReplicaPhase.Down, nowMs);
        (Aligned, Confirmed, Live, OwesSinceMs, SyncAsked, StampedVersion) = (false, false, false, 0, 0, 0);
        (CatchUp, PromiseStatus, WatermarkSent, StalledUntilMs) = (null, IoStatus.Unset, 0, 0);
        (RoundAsked, RoundConfirmed) = (0, 0);
    }
}

/// <summary>A running catch-up of one copy (R4, R8).</summary>
internal sealed class CatchUp(ulong from, ulong join, bool reset)
{
    public ulong From { get; } = from;

    public ulong Join { get; } = join;

    public bool Reset { get; } = reset;

    public object? Position { get; set; }

    public bool ScanDone { get; set; }

    public ulong NextIndex { get; set; } = 1;

    public ulong EndIndex { get; set; }

    /// <summary>Items sent and not yet acknowledged, by index.</summary>
    public Queue<(ulong Index, int Bytes)> Unacked { get; } = new();

    public long UnackedBytes { get; set; }

    public long SentBytes { get; set; }

    public long TotalBytes { get; set; }
}
