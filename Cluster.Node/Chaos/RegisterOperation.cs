namespace Cluster.Node.Chaos;

/// <summary>Cells of one block, at most <see cref="BlockHistory.CellsMax"/>.</summary>
public readonly record struct CellRange(int First, int Count)
{
    public int End => First + Count;

    /// <summary>Whether every cell of the other is in this one.</summary>
    public bool Covers(CellRange other) => First <= other.First && End >= other.End;
}

/// <summary>A read or a write of cells of one block, from when it was asked until nothing depends on it any more.</summary>
internal sealed class RegisterOperation(CellRange cells, bool isWrite, uint value)
{
    public CellRange Cells => cells;

    public bool IsWrite => isWrite;

    /// <summary>What every cell holds after the write; 0 is zeroes.</summary>
    public uint Value => value;

    /// <summary>What a read was answered, cell by cell; null while it is not.</summary>
    public uint[]? Values { get; set; }

    /// <summary>A read that was never answered: it restricts nothing.</summary>
    public bool Dropped { get; set; }

    /// <summary>A write that was never answered: it may happen at any later time, once, or never.</summary>
    public bool Lost { get; set; }

    /// <summary>A read at the end, when nothing is in flight.</summary>
    public bool Final { get; set; }

    /// <summary>Its place in the masks of the configurations, while it has one.</summary>
    public int Slot { get; set; } = -1;

    public uint Bit => 1u << Slot;

    /// <summary>Whether the block, as this state says, is what the read was answered.</summary>
    public bool Matches(uint[] state) => state.AsSpan(cells.First, cells.Count).SequenceEqual(Values);

    /// <summary>Whether this read was answered with what that write wrote, in a cell that both have.</summary>
    public bool Shows(RegisterOperation write)
    {
        for (var cell = Math.Max(cells.First, write.Cells.First); cell < Math.Min(cells.End, write.Cells.End); cell++)
        {
            if (Values![cell - cells.First] == write.Value) return true;
        }
        return false;
    }
}

/// <summary>
/// One way in which the operations so far may have happened: what the block holds, which writes have not happened yet, and which reads
/// have not yet met the state that they were answered.
/// </summary>
internal readonly struct Configuration(uint[] state, uint pending, uint unread) : IEquatable<Configuration>
{
    /// <summary>The value of every cell. Never changed.</summary>
    public uint[] State => state;

    public uint Pending => pending;

    public uint Unread => unread;

    public bool SameState(in Configuration other) => state.AsSpan().SequenceEqual(other.State);

    public bool Equals(Configuration other) => pending == other.Pending && unread == other.Unread && SameState(other);

    public override bool Equals(object? obj) => obj is Configuration other && Equals(other);

    public override int GetHashCode()
    {
        var hash = default(HashCode);
        hash.Add(pending);
        hash.Add(unread);
        hash.AddBytes(System.Runtime.InteropServices.MemoryMarshal.AsBytes(state.AsSpan()));
        return hash.ToHashCode();
    }
}
