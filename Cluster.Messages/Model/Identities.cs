using System.Globalization;

namespace Cluster.Messages.Model;

/// <summary>
/// A volume's short id, given out once by the placement catalogue and never used again. Its text ("v" and base 36) is the shard id,
/// the entity id and part of the journal's persistence id, so it stays short: shard state costs bytes per shard.
/// </summary>
public readonly record struct VolumeId(ulong Value) : IComparable<VolumeId>
{
    private const string Digits = "0123456789abcdefghijklmnopqrstuvwxyz";

    /// <summary>Zero names no volume, so zeroed memory never reads as one.</summary>
    public bool IsValid => Value != 0;

    public int CompareTo(VolumeId other) => Value.CompareTo(other.Value);

    public override string ToString()
    {
        Span<char> text = stackalloc char[14];
        var at = text.Length;
        var rest = Value;
        do
        {
            text[--at] = Digits[(int)(rest % 36)];
            rest /= 36;
        }
        while (rest != 0);
        text[--at] = 'v';
        return new string(text[at..]);
    }

    /// <summary>Reads the text form. False for anything else, including an overflow and leading zeroes: an id has one text.</summary>
    public static bool TryParse(string? text, out VolumeId id)
    {
        id = default;
        if (text is null || text.Length is < 2 or > 14 || text[0] != 'v' || text[1] == '0') return false;
        ulong value = 0;
        foreach (var c in text.AsSpan(1))
        {
            var digit = Digits.IndexOf(c, StringComparison.Ordinal);
            if (digit < 0 || value > (ulong.MaxValue - (ulong)digit) / 36) return false;
            value = (value * 36) + (ulong)digit;
        }
        id = new VolumeId(value);
        return true;
    }
}

/// <summary>A node's random id, made at the first start of its data directory and kept there.</summary>
public readonly record struct NodeId(Guid Value) : IComparable<NodeId>
{
    public static NodeId New() => new(Guid.NewGuid());

    public int CompareTo(NodeId other) => Value.CompareTo(other.Value);

    public override string ToString() => Value.ToString("N", CultureInfo.InvariantCulture);
}

/// <summary>
/// One copy of a volume: a number given out by the volume's journal and never used again, so that a replaced copy can't be taken for the
/// one it replaces, and the index of its fragment (0: a whole copy; erasure coding will use the others).
/// </summary>
public readonly record struct ReplicaId(ushort Number, byte Fragment = 0)
{
    public override string ToString() => Fragment == 0 ? $"r{Number}" : $"r{Number}.{Fragment}";
}

/// <summary>The number of an ownership of a volume. Journaled by compare and set; every replica refuses a lower one (P4).</summary>
public readonly record struct Epoch(ulong Value) : IComparable<Epoch>
{
    public static readonly Epoch None = new(0);

    public Epoch Next() => new(checked(Value + 1));

    public int CompareTo(Epoch other) => Value.CompareTo(other.Value);

    public static bool operator <(Epoch left, Epoch right) => left.Value < right.Value;

    public static bool operator >(Epoch left, Epoch right) => left.Value > right.Value;

    public static bool operator <=(Epoch left, Epoch right) => left.Value <= right.Value;

    public static bool operator >=(Epoch left, Epoch right) => left.Value >= right.Value;

    public override string ToString() => Value.ToString(CultureInfo.InvariantCulture);
}

/// <summary>
/// The unit of fencing (R11): the generation of the volume's attachment and the incarnation of the front-end process that uses it.
/// Generation 0 is the default attachment, which bare NBD connections share.
/// </summary>
public readonly record struct SessionId(ulong Generation, ulong Incarnation)
{
    public bool IsValid => Incarnation != 0;

    public override string ToString() => $"{Generation}/{Incarnation:x16}";
}

/// <summary>A run of blocks of <see cref="Limits.BlockBytes"/>. <see cref="First"/> is a 48-bit block index.</summary>
public readonly record struct BlockRange(ulong First, uint Count)
{
    /// <summary>The block after the last one.</summary>
    public ulong End => First + Count;

    public bool Overlaps(BlockRange other) => First < other.End && other.First < End;

    public bool Contains(ulong block) => block >= First && block < End;

    public override string ToString() => $"[{First}, {End})";
}

/// <summary>Blocks from <see cref="First"/> up to, and without, <see cref="End"/>, of which there may be more than a <see cref="BlockRange"/> counts.</summary>
public readonly record struct BlockSpan(ulong First, ulong End)
{
    /// <summary>Of a volume of any size.</summary>
    public static readonly BlockSpan All = new(0, ulong.MaxValue);

    public bool IsEmpty => First >= End;

    public bool Contains(ulong block) => block >= First && block < End;

    public override string ToString() => this == All ? "all blocks" : $"blocks [{First}, {End})";
}
