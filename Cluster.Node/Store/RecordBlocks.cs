using System.Buffers.Binary;
using System.IO.Hashing;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>
/// Which blocks a record has, and where in it their bytes begin: a range of neighbours with one sequence, or in a Pack each its own.
/// <code>
/// payload of a Pack: 0 hash u64 of the table | (block u64, sequence u64) x blocks | encoded blocks
/// </code>
/// </summary>
internal readonly ref struct RecordBlocks
{
    private const int HashBytes = 8;
    private const int RowBytes = 16;

    private readonly ReadOnlySpan<byte> _table;
    private readonly ulong _first;
    private readonly ulong _sequence;

    /// <summary>Of a record of which <see cref="StoreRecord.HasBlocks"/> is true. A Pack must have been checked (<see cref="HasGoodTable"/>).</summary>
    public RecordBlocks(in RecordHeader header, ReadOnlySpan<byte> record)
    {
        (_first, _sequence, OffsetBytes) = (header.Range.First, header.Sequence, header.PayloadOffset);
        if (header.Kind != StoreRecordKind.Pack) return;
        _table = TableOf(in header, record);
        OffsetBytes += HashBytes + _table.Length;
    }

    /// <summary>Of the first block's bytes, in the record.</summary>
    public int OffsetBytes { get; }

    public static int TableBytes(int blocks) => HashBytes + (blocks * RowBytes);

    public ulong BlockAt(int index) => _table.IsEmpty ? _first + (ulong)index : BinaryPrimitives.ReadUInt64LittleEndian(_table[(index * RowBytes)..]);

    public ulong SequenceAt(int index) => _table.IsEmpty ? _sequence : BinaryPrimitives.ReadUInt64LittleEndian(_table[((index * RowBytes) + sizeof(ulong))..]);

    /// <summary>Whether the table of a Pack is what was written, and names blocks that there can be. True for any other record.</summary>
    public static bool HasGoodTable(in RecordHeader header, ReadOnlySpan<byte> record)
    {
        if (header.Kind != StoreRecordKind.Pack) return true;
        if (record.Length < header.PayloadOffset + TableBytes((int)header.DescriptorCount)) return false;
        var table = TableOf(in header, record);
        if (XxHash3.HashToUInt64(table) != BinaryPrimitives.ReadUInt64LittleEndian(record[header.PayloadOffset..])) return false;
        for (var at = 0; at < table.Length; at += RowBytes)
        {
            if (BinaryPrimitives.ReadUInt64LittleEndian(table[at..]) >= Limits.BlockIndexMax || BinaryPrimitives.ReadUInt64LittleEndian(table[(at + sizeof(ulong))..]) == 0) return false;
        }
        return true;
    }

    /// <summary>Fills in one row of a Pack's table.</summary>
    public static void WriteRow(Span<byte> payload, int index, ulong block, ulong sequence)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(payload[(HashBytes + (index * RowBytes))..], block);
        BinaryPrimitives.WriteUInt64LittleEndian(payload[(HashBytes + (index * RowBytes) + sizeof(ulong))..], sequence);
    }

    /// <summary>Once all rows are there.</summary>
    public static void WriteHash(Span<byte> payload, int blocks) =>
        BinaryPrimitives.WriteUInt64LittleEndian(payload, XxHash3.HashToUInt64(payload.Slice(HashBytes, blocks * RowBytes)));

    private static ReadOnlySpan<byte> TableOf(in RecordHeader header, ReadOnlySpan<byte> record) =>
        record.Slice(header.PayloadOffset + HashBytes, (int)header.DescriptorCount * RowBytes);
}
