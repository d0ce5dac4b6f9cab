using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>
/// Gathers live blocks of one volume into one record: a Pack, which costs 36 bytes a block where a record for each costs 208, or a Relocate where they are neighbours of one sequence. Loop only.
/// </summary>
internal sealed class PackBuilder
{
    private readonly BlockDescriptor[] _descriptors = new BlockDescriptor[Limits.RecordBlocksMax];
    private readonly (ulong Block, ulong Sequence)[] _rows = new (ulong, ulong)[Limits.RecordBlocksMax];
    private readonly byte[] _bytes = new byte[Limits.RecordBlocksMax * Limits.EncodedBlockBytesMax];
    private int _bytesUsed;
    private int _recordBytesMax;
    private bool _isRun;

    public VolumeId Volume { get; private set; }

    public int Count { get; private set; }

    /// <summary>Encoded bytes of the blocks.</summary>
    public int LengthBytes => _bytesUsed;

    /// <summary>Begins a record of a volume's blocks. It becomes no longer than what the log's segment has left, if that holds one block at least: no segment ends long before its end.</summary>
    public void Begin(VolumeId volume, int roomBytes)
    {
        (Volume, Count, _bytesUsed, _isRun) = (volume, 0, 0, true);
        var least = TotalBytes(1, Limits.EncodedBlockBytesMax);
        _recordBytesMax = roomBytes >= least ? Math.Min(roomBytes, Limits.RecordBytesMax) : Limits.RecordBytesMax;
    }

    /// <summary>Whether a record of one block of this length goes into so many bytes.</summary>
    public static bool Fits(int lengthBytes, int roomBytes) => TotalBytes(1, Math.Max(lengthBytes, Limits.EncodedBlockBytesMax)) <= roomBytes;

    public bool CanTake(VolumeId volume, int lengthBytes) => volume == Volume && Count < Limits.RecordBlocksMax
        && TotalBytes(Count + 1, _bytesUsed + lengthBytes) <= _recordBytesMax
        // What the header's decoder allows: of two blocks on the table has its place in what an encoding may add at most.
        && RecordBlocks.TableBytes(Count + 1) + _bytesUsed + lengthBytes <= (Count + 1) * Limits.EncodedBlockBytesMax;

    public void Add(ulong block, ulong sequence, in BlockDescriptor descriptor, ReadOnlySpan<byte> encoded)
    {
        _isRun &= Count == 0 || (_rows[Count - 1].Block + 1 == block && _rows[Count - 1].Sequence == sequence);
        (_descriptors[Count], _rows[Count]) = (descriptor, (block, sequence));
        encoded.CopyTo(_bytes.AsSpan(_bytesUsed));
        _bytesUsed += encoded.Length;
        Count++;
    }

    /// <summary>One reference is the caller's.</summary>
    public IoBuffer Build(ulong commitWatermark, out RecordHeader header)
    {
        var tableBytes = _isRun ? 0 : RecordBlocks.TableBytes(Count);
        header = new RecordHeader
        {
            Kind = _isRun ? StoreRecordKind.Relocate : StoreRecordKind.Pack,
            Volume = Volume,
            Sequence = _isRun ? _rows[0].Sequence : 0,
            Range = _isRun ? new BlockRange(_rows[0].Block, (uint)Count) : default,
            DescriptorCount = (uint)Count,
            PayloadLength = (uint)(tableBytes + _bytesUsed),
            CommitWatermark = commitWatermark,
        };
        var buffer = BufferPool.Shared.Rent(header.TotalBytes);
        var payload = buffer.Span[header.PayloadOffset..];
        for (var index = 0; index < Count; index++)
        {
            _descriptors[index].Write(buffer.Span[(RecordHeader.SizeBytes + (index * BlockDescriptor.SizeBytes))..]);
            if (!_isRun) RecordBlocks.WriteRow(payload, index, _rows[index].Block, _rows[index].Sequence);
        }
        if (!_isRun) RecordBlocks.WriteHash(payload, Count);
        _bytes.AsSpan(0, _bytesUsed).CopyTo(payload[tableBytes..]);
        header.Encode(buffer.Span);
        return buffer;
    }

    private static int TotalBytes(int count, int lengthBytes) =>
        RecordHeader.SizeBytes + (count * BlockDescriptor.SizeBytes) + RecordBlocks.TableBytes(count) + lengthBytes;
}
