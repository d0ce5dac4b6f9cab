using System.Globalization;

namespace Cluster.Tests.Simulation.Store;

public enum StoreStepKind
{
    /// <summary>Header's length, and which.</summary>
    Create,

    /// <summary>Origin, which of its snapshots, header's length, and which.</summary>
    Clone,
    Delete,

    /// <summary>By how much the epoch rises, first block, and per block its content and how much of it.</summary>
    Append,

    /// <summary>By how much the epoch rises, first block, count.</summary>
    Trim,

    /// <summary>By how much the epoch rises, 1: it makes a snapshot, 1 + which of those kept is restored, or 0, and which ones go.</summary>
    Mark,

    /// <summary>How many records of the tail at most.</summary>
    Commit,

    /// <summary>How many records of the tail stay at most.</summary>
    Truncate,

    /// <summary>How far behind the watermark, first block, and contents as in Append.</summary>
    Resync,

    /// <summary>How far behind the watermark, first block, count.</summary>
    ResyncTrim,

    /// <summary>How far ahead, by how much the epoch rises, 1: all is discarded.</summary>
    SetPosition,

    /// <summary>Header's length, and which.</summary>
    SaveHeader,
    Turn,
    Flush,

    /// <summary>After how many operations of the disk; 0: it stays.</summary>
    PowerOff,

    /// <summary>A bit of the page file.</summary>
    FlipBit,
    Stop,

    /// <summary>A <see cref="PowerLoss"/>.</summary>
    Crash,
    Compare,
}

/// <summary>
/// A step of a run as a value: it says nothing that depends on the steps before it (no sequence, no watermark), so that it means something without them too. As text it is one line.
/// </summary>
public sealed record StoreStep(StoreStepKind Kind, ulong Volume, params ulong[] Numbers)
{
    /// <summary>It ends a life, and the store is opened anew.</summary>
    public bool IsEnd => Kind is StoreStepKind.Stop or StoreStepKind.Crash;

    public override string ToString() => string.Join(' ', [Kind.ToString(), Volume.ToString(CultureInfo.InvariantCulture), .. Numbers.Select(number => number.ToString(CultureInfo.InvariantCulture))]);

    public static StoreStep Parse(string line)
    {
        var words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        return new StoreStep(Enum.Parse<StoreStepKind>(words[0]), ulong.Parse(words[1], CultureInfo.InvariantCulture), [.. words.Skip(2).Select(word => ulong.Parse(word, CultureInfo.InvariantCulture))]);
    }
}
