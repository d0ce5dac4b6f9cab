using Cluster.Messages.Model;

namespace Cluster.Node.Repair;

/// <summary>What found bad blocks.</summary>
public enum RepairCause : byte
{
    /// <summary>A client's read.</summary>
    Read = 1,
    Scrub = 2,
}

/// <summary>What became of bad blocks of one copy. Lost ones are good on no in-sync copy: reads of them fail until they are written anew.</summary>
/// <param name="Copy">Name of the copy's node; "" for lost blocks, which are bad on every one.</param>
/// <param name="Mended">Blocks that were written anew from another copy.</param>
public readonly record struct RepairEvent(RepairCause Cause, string Copy, BlockRange Range, int Mended, int Lost);
