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

    /// <summary>Records may take this much in all (<see cref="PendingRing.CreditTaken"/>): beyond it the copy has not promised to find room (R21). Kept when the
    /// link breaks, as the copy keeps its promise.</summary>
    public long CreditLimit { get; set; }

    /// <summary>Since when writes are held for want of its room, and not of all others'; 0: they are not.</summary>
    public long FullSinceMs { get; set; }

    public ulong SyncAsked { get; set; }

    public ulong WatermarkSent { get; set; }

    /// <summary>The newest stamp of this owner that is on its media.</summary>
    public ulong StampedNumber { get; set; }

    /// <summary>It is about to join: the first stamp that names it as such (C12); 0: none does.</summary>
    public ulong AnnouncedAs { get; set; }

    /// <summary>Since when an answer is owed; 0 when none is.</summary>
    public long OwesSinceMs { get; set; }

    /// <summary>Records are sent to it as they are sequenced.</summary>
    public bool Live { get; set; }

    /// <summary>It proved to have lost what it had acknowledged: out, whatever the minimum (I/O is then held).</summary>
    public bool MustLeave { get; set; }

    public bool ShouldLeave { get; set; }

    public string LeaveReason { get; set; } = "";

    /// <summary>The volume is to do without it: out of the set as soon as the minimum allows, then out of the volume.</summary>
    public bool IsDropping { get; set; }

    /// <summary>Its removal is on its way to the journal.</summary>
    public bool IsDropJournaled { get; set; }

    public string DropReason { get; set; } = "";

    public CatchUp? CatchUp { get; set; }

    /// <summary>While <see cref="ReplicaPhase.Joining"/>: what was committed before its acks were needed. It joins once all of that is on its media.</summary>
    public ulong JoinTarget { get; set; }

    /// <summary>Not before this time: a catch-up that failed is tried again with a pause.</summary>
    public long CatchUpNotBeforeMs { get; set; }

    public AnswerClock Answers { get; } = new();

    /// <summary>How long it has been slower than the others without a break.</summary>
    public long SlowForMs { get; set; }

    /// <summary>Times that it was too slow, until that is forgiven.</summary>
    public int Offences { get; set; }

    public long OffendedAtMs { get; set; }

    /// <summary>The last offence was that it did not answer, and it has said nothing since.</summary>
    public bool IsSilent { get; set; }

    /// <summary>It must have been healthy for this long before it is caught up; 0: it may be now.</summary>
    public long HoldOffMs { get; set; }

    public long HealthySinceMs { get; set; }

    /// <summary>Its node took part in too many catch-ups when it was asked.</summary>
    public bool IsRefusedNow { get; set; }

    /// <summary>It said that it can't go on from what it has.</summary>
    public bool NeedsFullCopy { get; set; }

    public ulong Sure(bool media) => media ? Durable : Appended;

    /// <summary>It had no room: nothing is sent until then; 0 when it takes records.</summary>
    public long StalledUntilMs { get; set; }

    /// <summary>Bytes that its last completed catch-up sent.</summary>
    public long CaughtUpBytes { get; set; }

    /// <summary>Forgets all that the old link said.</summary>
    public void Reset(IFrameLink? link, long nowMs)
    {
        (Link, Phase, LinkChangedMs) = (link, ReplicaPhase.Down, nowMs);
        (Aligned, Confirmed, Live, OwesSinceMs, SyncAsked, StampedNumber, AnnouncedAs) = (false, false, false, 0, 0, 0, 0);
        (PromiseStatus, WatermarkSent, StalledUntilMs) = (IoStatus.Unset, 0, 0);
        (RoundAsked, RoundConfirmed) = (0, 0);
        (SlowForMs, HealthySinceMs) = (0, 0);
        Answers.Reset();
    }
}
