using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>The record kinds that only the store writes, in the layout of <see cref="RecordHeader"/>. Frozen: add, never
/// renumber.</summary>
public static class StoreRecordKind
{
    /// <summary>The replica's header, as payload; its number in Sequence. The first one of a volume creates it.</summary>
    public const RecordKind ReplicaHeader = (RecordKind)129;

    /// <summary>The tail above Sequence is dropped.</summary>
    public const RecordKind Truncate = (RecordKind)130;

    /// <summary>The order goes on from Sequence; Epoch is that of the record there; ExpectedSequence 1: everything held was
    /// discarded.</summary>
    public const RecordKind SetPosition = (RecordKind)131;

    /// <summary>The session windows, as payload.</summary>
    public const RecordKind Windows = (RecordKind)132;

    public const RecordKind Delete = (RecordKind)133;

    /// <summary>Blocks moved by the cleaner, with their own sequence, in the layout of a Write.</summary>
    public const RecordKind Relocate = (RecordKind)134;

    /// <summary>The snapshots of the owner that the replica is caught up by (<see cref="SnapshotsBody"/>), as payload.</summary>
    public const RecordKind Snapshots = (RecordKind)135;

    /// <summary>A volume is made from a snapshot of another one (<see cref="CloneBody"/>), as payload: its base and its first header in one record, so that there is no half of it.</summary>
    public const RecordKind Clone = (RecordKind)136;

    /// <summary>Blocks moved by the cleaner, each with a number and a sequence of its own (<see cref="RecordBlocks"/>).</summary>
    public const RecordKind Pack = (RecordKind)137;
}

/// <summary>
/// Builds and checks the store's own records. A payload is cut into chunks of a block's size, each with a descriptor (encoding Raw, the
/// chunk's length and its checksum with the chunk's index for the block), so that one check serves all records. Each carries the commit
/// watermark of its volume as of then, which a replay applies first: the tail that a Truncate or SetPosition drops must not hold what
/// was committed.
/// </summary>
public static class StoreRecord
{
    /// <summary>One reference is the caller's.</summary>
    public static IoBuffer Build(RecordHeader header, ReadOnlySpan<byte> payload)
    {
        var chunks = (payload.Length + Limits.BlockBytes - 1) / Limits.BlockBytes;
        Invariant.That(chunks <= Limits.RecordBlocksMax, "a store record's payload is too long");
        header.DescriptorCount = (uint)chunks;
        header.PayloadLength = (uint)payload.Length;
        var buffer = BufferPool.Shared.Rent(header.TotalBytes);
        var span = buffer.Span;
        payload.CopyTo(span[header.PayloadOffset..]);
        for (var index = 0; index < chunks; index++)
        {
            var chunk = payload.Slice(index * Limits.BlockBytes, Math.Min(Limits.BlockBytes, payload.Length - (index * Limits.BlockBytes)));
            BlockDescriptor.Of(BlockEncoding.Raw, header.Volume, 0, (ulong)index, chunk)
                .Write(span[(RecordHeader.SizeBytes + (index * BlockDescriptor.SizeBytes))..]);
        }
        header.Encode(span);
        return buffer;
    }

    /// <summary>Checks the parts of a decoded record that <see cref="RecordHeader.TryDecode"/> leaves out: every payload byte, and the
    /// shape of the store's own kinds.</summary>
    public static IoStatus CheckPayload(in RecordHeader header, ReadOnlySpan<byte> record)
    {
        var isOwn = header.Kind > RecordKind.StoreFirst;
        if (isOwn && CheckOwnShape(in header) != IoStatus.Ok) return IoStatus.Malformed;
        if (!RecordBlocks.HasGoodTable(in header, record)) return IoStatus.Malformed;
        var hasBlocks = HasBlocks(header.Kind);
        var blocks = hasBlocks ? new RecordBlocks(in header, record) : default;
        var layer = hasBlocks ? header.Layer : 0;
        var at = hasBlocks ? blocks.OffsetBytes : header.PayloadOffset;
        for (var index = 0; index < (int)header.DescriptorCount; index++)
        {
            var descriptor = DescriptorAt(record, index);
            if (descriptor.Length > record.Length - at) return IoStatus.Malformed;
            if (!descriptor.Matches(header.Volume, layer, hasBlocks ? blocks.BlockAt(index) : (ulong)index, record.Slice(at, descriptor.Length)))
                return IoStatus.BadChecksum;
            at += descriptor.Length;
        }
        return at == header.TotalBytes ? IoStatus.Ok : IoStatus.Malformed;
    }

    public static bool HasBlocks(RecordKind kind) => kind is RecordKind.Write or StoreRecordKind.Relocate or StoreRecordKind.Pack;

    /// <summary>Blocks that are here already, at another place.</summary>
    public static bool MovesBlocks(RecordKind kind) => kind is StoreRecordKind.Relocate or StoreRecordKind.Pack;

    public static BlockDescriptor DescriptorAt(ReadOnlySpan<byte> record, int index) =>
        BlockDescriptor.Read(record[(RecordHeader.SizeBytes + (index * BlockDescriptor.SizeBytes))..]);

    private static IoStatus CheckOwnShape(in RecordHeader header)
    {
        var isRight = header.Kind switch
        {
            StoreRecordKind.ReplicaHeader => header.PayloadLength is > 0 and <= StoreLimits.HeaderBytesMax,
            StoreRecordKind.Clone => header.PayloadLength is > CloneBody.FixedBytes and <= CloneBody.FixedBytes + StoreLimits.HeaderBytesMax,
            StoreRecordKind.Windows or StoreRecordKind.Snapshots => header.PayloadLength > 0,
            StoreRecordKind.Truncate or StoreRecordKind.SetPosition or StoreRecordKind.Delete => header.DescriptorCount == 0,
            StoreRecordKind.Relocate => header.DescriptorCount > 0 && header.DescriptorCount == header.Range.Count
                && header.Range.End <= Limits.BlockIndexMax,
            StoreRecordKind.Pack => header.DescriptorCount > 0 && header.Layer == 0,
            _ => false,
        };
        return isRight ? IoStatus.Ok : IoStatus.Malformed;
    }
}
