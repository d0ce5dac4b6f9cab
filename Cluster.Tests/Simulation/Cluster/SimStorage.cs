using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>
/// A node's disk, which outlives its processes, and the store that the present process has on it, with at most one replica. The model
/// (<see cref="SimModelStorage"/>) is fast, the real store (<see cref="SimBlockStorage"/>) is what is sold.
/// </summary>
internal interface ISimStorage
{
    /// <summary>Random id of the store on the disk (R5).</summary>
    Guid StoreId { get; }

    StoreOpens Opens { get; }

    /// <summary>The newest open that followed a loss of power, or a failed sync (R9); 0: none.</summary>
    ulong SuspectSince { get; }

    /// <summary>The last sequence of what outlives the process; 0 also where this kind of storage can't tell.</summary>
    ulong AppendedSequence => 0;

    /// <summary>What is truly on media, where this kind of storage can tell.</summary>
    SimMedia? Media => null;

    /// <summary>What outlives the process, and what a loss of power leaves at least, where this kind of storage can tell.</summary>
    SimLogEnd? Appended() => null;

    SimLogEnd? OnMedia() => null;

    /// <summary>Another disk, or a backup, was put in its place then; -1: never.</summary>
    long ReplacedAtUs => -1;

    /// <summary>The replica in the open store; null: there is none.</summary>
    IVolumeStore? Volume { get; }

    /// <summary>A process starts. False: the disk refused.</summary>
    bool Open();

    /// <summary>A new, empty replica.</summary>
    IoStatus Create(ReadOnlyMemory<byte> header);

    /// <summary>The replica is gone, and that is on media.</summary>
    void Delete();

    /// <summary>The node's copy of that clone; null: there is none.</summary>
    IVolumeStore? Clone(VolumeId clone);

    IEnumerable<VolumeId> Clones { get; }

    /// <summary>A new copy of a clone, which begins from the volume's snapshot; 0: empty.</summary>
    IoStatus CreateClone(VolumeId clone, ReadOnlyMemory<byte> header, ulong snapshot);

    void DeleteClone(VolumeId clone);

    /// <summary>What is committed of that clone, ascending, without what is not there; null: its disk can't be read now.</summary>
    IReadOnlyList<(ulong Block, ulong Sequence, ulong Value)>? CommittedOf(VolumeId clone);

    /// <summary>What is kept for clones though none is left, in words; empty: nothing.</summary>
    string LeftOfClones => "";

    /// <summary>The store's phase of the turn. True when it did something.</summary>
    bool RunPhase();

    /// <summary>kill -9: what was not handed to the system is gone.</summary>
    void Kill();

    /// <summary>Of what was written and not synced, as much is left as chance wants. The process may have ended before.</summary>
    void LosePower();

    /// <summary>The process ends, and its disk is replaced (R5).</summary>
    void Replace(SimBackup by);

    /// <summary>The disk went off in the middle of a call: the process has ended there.</summary>
    bool IsOff => false;

    /// <summary>The store takes no more writes until the process starts anew.</summary>
    bool HasFailed => false;

    /// <summary>And the disk has taken the note that a sync failed.</summary>
    bool HasNotedFailure => false;

    /// <summary>The process is killed, or its host loses its power, in one of its next calls that change the disk; where there are such.</summary>
    void DieWithin(int operations, bool power)
    {
    }

    /// <summary>It does not any more.</summary>
    void Calm()
    {
    }

    /// <summary>Reads that the disk was made to fail, once each: the bytes are good.</summary>
    int ReadsFailed => 0;

    /// <summary>A bit of the block's bytes flips on media. False: there is nothing here that can rot.</summary>
    bool Rot(ulong block) => false;

    /// <summary>No block's bytes are bad.</summary>
    bool IsIntact => true;

    /// <summary>The process is to end in one of its next calls.</summary>
    bool DiesSoon => false;

    /// <summary>Of all processes so far.</summary>
    SimStoreCounts Counts => default;

    /// <summary>What is committed, ascending: block, sequence and value (0: none).</summary>
    IReadOnlyList<(ulong Block, ulong Sequence, ulong Value)> Committed();

    /// <summary>The same of a snapshot, without what is not there; null: its disk can't be read now.</summary>
    IReadOnlyList<(ulong Block, ulong Sequence, ulong Value)>? CommittedIn(ulong snapshot);
}

/// <summary>What is put in the place of a disk.</summary>
internal enum SimBackup
{
    /// <summary>An empty disk.</summary>
    None = 0,
    /// <summary>A copy of it from two opens ago.</summary>
    Older,
    /// <summary>A copy of it as the last process found it: taken while the store was closed.</summary>
    AsFound,
}

/// <summary>What real stores did and went through.</summary>
/// <param name="ProvenForgotten">How often it was looked at what is on media without bytes that are nobody's.</param>
/// <param name="ProvenBeside">The same without what the cleaner writes beside the log.</param>
internal readonly record struct SimStoreCounts(int Opens, int Refused, int Suspect, int DiedInACall, int Failed, int Checkpoints, int Freed, int Cleaned, int Rotted, int RottedKept, long MapLoads, int ProvenForgotten, int ProvenBeside)
{
    public static SimStoreCounts operator +(SimStoreCounts left, SimStoreCounts right) => new(left.Opens + right.Opens, left.Refused + right.Refused,
        left.Suspect + right.Suspect, left.DiedInACall + right.DiedInACall, left.Failed + right.Failed, left.Checkpoints + right.Checkpoints,
        left.Freed + right.Freed, left.Cleaned + right.Cleaned, left.Rotted + right.Rotted, left.RottedKept + right.RottedKept, left.MapLoads + right.MapLoads,
        left.ProvenForgotten + right.ProvenForgotten, left.ProvenBeside + right.ProvenBeside);
}

/// <summary>The last sequence on media, and the newest header there.</summary>
internal readonly record struct SimMedia(ulong Sequence, byte[]? Header);
