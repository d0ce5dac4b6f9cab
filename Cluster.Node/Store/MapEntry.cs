using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>Where one block's newest committed bytes are. 32 bytes in memory. Sequence 0: nothing.</summary>
public struct MapEntry
{
    /// <summary>For blocks that hold no bytes (encoding Zero).</summary>
    public const int NoSegment = -1;

    /// <summary>
    /// At this and below: in a segment that the checkpoint names and that was used anew since. Only while a store is opened: the log behind the checkpoint has what
    /// superseded it.
    /// </summary>
    public const int LostSegment = -2;

    /// <summary>A version of a clone whose bytes are those of its base, with a sequence of its own: what a restore to a snapshot that still sees the base makes (R19).</summary>
    public const int BaseSegment = int.MinValue;

    /// <summary>A trim of a clone's, where its base has something that must not show through.</summary>
    public const int MaskSegment = int.MinValue + 1;

    public const int SizeBytes = 32;

    public ulong Sequence;
    public ulong Checksum;

    /// <summary>Slot of the segment in the <see cref="SegmentTable"/>.</summary>
    public int Segment;
    public uint OffsetBytes;
    public ushort LengthBytes;
    public BlockEncoding Encoding;

    /// <summary>In a page of a snapshot's, the low bits of the block's number: such a page has any blocks, and not all of a range. 0 elsewhere. It takes what would be padding.</summary>
    private byte _keyHigh;
    private uint _keyLow;

    public const int KeyBits = 40;

    public ulong Key
    {
        readonly get => ((ulong)_keyHigh << 32) | _keyLow;
        set => (_keyHigh, _keyLow) = ((byte)(value >> 32), (uint)value);
    }

    public readonly bool IsMapped => Sequence != 0;

    /// <summary>It says that there is nothing.</summary>
    public readonly bool IsMask => Segment == MaskSegment;

    public readonly bool IsLost => Segment is > MaskSegment and <= LostSegment;

    public readonly BlockDescriptor Descriptor => new(Encoding, LengthBytes, Checksum);
}
