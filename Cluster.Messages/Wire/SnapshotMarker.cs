using System.Collections.Immutable;
using Cluster.Messages.Model;

namespace Cluster.Messages.Wire;

/// <summary>
/// The payload of a record of kind Marker (R19): which snapshots the volume has from this place in its order on. A snapshot is named by the sequence of the marker that
/// made it; what it holds is what every record before that made of the blocks. Little-endian, padded with zeroes to whole blocks of encoding Raw, each with a checksum
/// like the payload of a store's own record (the chunk's index for the block):
/// <code>
///   0 version u8 (1 or 2)   1 flags u8 (1 = creates)   2 zero u16   4 count u32
///   8 restore from u64 (0 = no)   [version 2: first block u64, end u64 (not in it)]   sequence u64 × count, ascending
/// </code>
/// Version 2 is written for a restore of a part of the volume only, and read by nodes of <see cref="MeshFeatures.PartialRestores"/>. The record's range is empty: the
/// marker carries no block.
/// </summary>
/// <param name="Creates">One more snapshot is made, at the record's own sequence.</param>
/// <param name="RestoreFrom">Not 0, and then nothing is created: the blocks become what they are in this snapshot, one of <paramref name="Kept"/>.</param>
/// <param name="Part">Which blocks go back; all of them, unless this is a restore.</param>
/// <param name="Kept">The snapshots that the volume has, without a new one. Any other goes, and its space with it.</param>
public sealed record SnapshotMarker(bool Creates, ulong RestoreFrom, BlockSpan Part, ImmutableArray<ulong> Kept)
{
    private const byte OfWhole = 1;
    private const byte OfPart = 2;
    private const int FixedBytes = 16;
    private const int PartBytes = 16;

    public SnapshotMarker(bool creates, ulong restoreFrom, ImmutableArray<ulong> kept)
        : this(creates, restoreFrom, BlockSpan.All, kept)
    {
    }

    /// <summary>A record without epoch and sequence; one reference is the caller's.</summary>
    public IoBuffer Build(VolumeId volume, out RecordHeader header)
    {
        Invariant.That(Kept.Length <= Limits.SnapshotsMax, "a volume has too many snapshots");
        Invariant.That(Part == BlockSpan.All || (RestoreFrom != 0 && !Part.IsEmpty), "a part of a volume was named in a marker that puts none back");
        var chunks = (FixedBytes + (Part == BlockSpan.All ? 0 : PartBytes) + (Kept.Length * sizeof(ulong)) + Limits.BlockBytes - 1) / Limits.BlockBytes;
        header = new RecordHeader
        {
            Kind = RecordKind.Marker,
            Volume = volume,
            DescriptorCount = (uint)chunks,
            PayloadLength = (uint)(chunks * Limits.BlockBytes),
        };
        var buffer = BufferPool.Shared.Rent(header.TotalBytes);
        var payload = buffer.Span[header.PayloadOffset..];
        payload.Clear();
        var writer = new BodyWriter(payload);
        writer.U8(Part == BlockSpan.All ? OfWhole : OfPart);
        writer.U8(Creates ? (byte)1 : (byte)0);
        writer.U16(0);
        writer.U32((uint)Kept.Length);
        writer.U64(RestoreFrom);
        if (Part != BlockSpan.All)
        {
            writer.U64(Part.First);
            writer.U64(Part.End);
        }
        foreach (var sequence in Kept) writer.U64(sequence);
        for (var index = 0; index < chunks; index++)
        {
            var chunk = payload.Slice(index * Limits.BlockBytes, Limits.BlockBytes);
            BlockDescriptor.Of(BlockEncoding.Raw, volume, 0, (ulong)index, chunk).Write(buffer.Span[(RecordHeader.SizeBytes + (index * BlockDescriptor.SizeBytes))..]);
        }
        header.Encode(buffer.Span);
        return buffer;
    }

    /// <summary>Null: it is none. The payload's checksums were checked before.</summary>
    public static SnapshotMarker? TryDecode(ReadOnlySpan<byte> payload)
    {
        var reader = new BodyReader(payload);
        var (version, flags, zero, count, from) = (reader.U8(), reader.U8(), reader.U16(), reader.U32(), reader.U64());
        if (!reader.Ok || version is not (OfWhole or OfPart) || flags > 1 || zero != 0 || count > Limits.SnapshotsMax) return null;
        var part = version == OfPart ? new BlockSpan(reader.U64(), reader.U64()) : BlockSpan.All;
        if (!reader.Ok || count * sizeof(ulong) > reader.Remaining) return null;
        if ((flags == 1 && from != 0) || (version == OfPart && (from == 0 || part.IsEmpty || part == BlockSpan.All))) return null;
        return TryReadSequences(ref reader, (int)count) is { } kept && (from == 0 || kept.Contains(from)) ? new SnapshotMarker(flags == 1, from, part, kept) : null;
    }

    /// <summary>Ascending, and none is 0; else null.</summary>
    internal static ImmutableArray<ulong>? TryReadSequences(ref BodyReader reader, int count)
    {
        var sequences = ImmutableArray.CreateBuilder<ulong>(count);
        for (var index = 0; index < count; index++)
        {
            var sequence = reader.U64();
            if (sequence == 0 || (index > 0 && sequence <= sequences[index - 1])) return null;
            sequences.Add(sequence);
        }
        return sequences.MoveToImmutable();
    }
}

/// <summary>The snapshots that the owner's map has, for a copy that catches up: u32 count, then u64 × count, ascending.</summary>
public readonly record struct SnapshotsBody(ImmutableArray<ulong> Sequences)
{
    public const int SizeBytesMax = sizeof(uint) + (Limits.SnapshotsMax * sizeof(ulong));

    public ReadOnlySpan<byte> Encode(Span<byte> to)
    {
        var writer = new BodyWriter(to);
        writer.U32((uint)Sequences.Length);
        foreach (var sequence in Sequences) writer.U64(sequence);
        return to[..writer.Length];
    }

    public static bool TryDecode(ReadOnlySpan<byte> from, out SnapshotsBody body)
    {
        body = default;
        var reader = new BodyReader(from);
        var count = reader.U32();
        if (count > Limits.SnapshotsMax || SnapshotMarker.TryReadSequences(ref reader, (int)count) is not { } sequences || !reader.AtEnd) return false;
        body = new SnapshotsBody(sequences);
        return true;
    }
}
