using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>
/// A node's disk, which outlives its processes, and the store that the present process has on it, with at most one replica. The model
/// (<see cref="SimModelStorage"/>) is fast.
/// </summary>
internal interface ISimStorage
{
    /// <summary>Random id of the store on the disk (R5).</summary>
    Guid StoreId { get; }

    ulong OpenCount { get; }

    /// <summary>The newest open that followed a loss of power, or a failed sync (R9); 0: none.</summary>
    ulong SuspectSince { get; }

    /// <summary>The last sequence of what outlives the process; 0 also where this kind of storage can't tell.</summary>
    ulong AppendedSequence => 0;

    /// <summary>What is truly on media, where this kind of storage can tell.</summary>
    SimMedia? Media => null;

    /// <summary>Another disk, or a backup, was put in its place then; -1: never.</summary>
    long ReplacedAtUs => -1;

    /// <summary>The replica in the open store; null: there is none.</summary>
    IVolumeStore? Volume { get; }

    /// <summary>A process starts. False: the disk refused.</summary>
    bool Open();

    /// <summary>A new, empty replica.</summary>
    IoStatus Create(ReadOnlyMemory<byte> header);

    /// <summary>The store's phase of the turn. True when it did something.</summary>
    bool RunPhase();

    /// <summary>kill -9: what was not handed to the system is gone.</summary>
    void Kill();

    /// <summary>Of what was written and not synced, as much is left as chance wants. The process may have ended before.</summary>
    void LosePower();

    /// <summary>The process ends, and its disk is replaced by an empty one, or by a backup from two opens ago (R5).</summary>
    void Replace(bool withBackup);

    /// <summary>What is committed, ascending: block, sequence and value (0: none).</summary>
    IReadOnlyList<(ulong Block, ulong Sequence, ulong Value)> Committed();
}

/// <summary>The last sequence on media, and the newest header there.</summary>
internal readonly record struct SimMedia(ulong Sequence, byte[]? Header);
