using System.Buffers.Binary;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>Records as the simulated front ends make them: every block holds the write's unique value in 16 encoded bytes.</summary>
internal static class SimRecords
{
    public const int EncodedBytes = 16;

    public static IoBuffer Write(RecordHeader header, ulong value)
    {
        (header.Kind, header.Volume, header.DescriptorCount) = (RecordKind.Write, SimWorld.Volume, header.Range.Count);
        header.PayloadLength = header.Range.Count * EncodedBytes;
        var buffer = BufferPool.Shared.Rent(header.TotalBytes);
        for (var index = 0; index < (int)header.Range.Count; index++)
        {
            var encoded = buffer.Span.Slice(header.PayloadOffset + (index * EncodedBytes), EncodedBytes);
            BinaryPrimitives.WriteUInt64LittleEndian(encoded, value);
            BinaryPrimitives.WriteUInt64LittleEndian(encoded[8..], ~value);
            BlockDescriptor.Of(BlockEncoding.Lz4, SimWorld.Volume, 0, header.Range.First + (ulong)index, encoded)
                .Write(buffer.Span[(RecordHeader.SizeBytes + (index * BlockDescriptor.SizeBytes))..]);
        }
        header.Encode(buffer.Span);
        return buffer;
    }

    public static IoBuffer Trim(RecordHeader header)
    {
        (header.Kind, header.Volume) = (RecordKind.Trim, SimWorld.Volume);
        var buffer = BufferPool.Shared.Rent(header.TotalBytes);
        header.Encode(buffer.Span);
        return buffer;
    }

    /// <summary>Sequence and value of each block of a read's answer; value 0: nothing there.</summary>
    public static List<(ulong Sequence, ulong Value)> DecodeReply(ReadOnlySpan<byte> reply, BlockRange range)
    {
        var blocks = new List<(ulong, ulong)>();
        var at = (int)range.Count * ReadDescriptor.SizeBytes;
        for (var index = 0; index < (int)range.Count; index++)
        {
            var descriptor = ReadDescriptor.Read(reply[(index * ReadDescriptor.SizeBytes)..]);
            var encoded = reply.Slice(at, descriptor.Block.Length);
            ulong value = 0;
            if (descriptor.Block.Encoding != BlockEncoding.Zero)
            {
                Invariant.That(descriptor.Block.Matches(SimWorld.Volume, 0, range.First + (ulong)index, encoded), "a block was read that was not written");
                value = BinaryPrimitives.ReadUInt64LittleEndian(encoded);
            }
            blocks.Add((descriptor.Sequence, value));
            at += descriptor.Block.Length;
        }
        return blocks;
    }
}
