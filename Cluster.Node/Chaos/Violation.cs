namespace Cluster.Node.Chaos;

/// <summary>What a read showed that no order of the operations allows.</summary>
public enum ViolationKind
{
    /// <summary>Older data than was acknowledged, or read, before this read began.</summary>
    StaleRead,

    /// <summary>The same at the end, when nothing is in flight any more: what was acknowledged does not come back.</summary>
    LostWrite,

    /// <summary>Every part of the block may be so by itself, but no order of whole writes gives all of them at one time.</summary>
    TornBlock,

    /// <summary>Bytes that nobody wrote at this place.</summary>
    ForeignData,
}

/// <summary>One broken promise.</summary>
/// <param name="Block">Number of the 4 KiB block in its volume.</param>
/// <param name="Text">What was read and what would have been right, for a person.</param>
public sealed record Violation(ViolationKind Kind, ulong Block, string Text);
