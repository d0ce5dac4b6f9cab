using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>Records as the simulated front ends make them: every block holds the write's unique value, again and again.</summary>
internal static class SimRecords
{
    public const int EncodedBytesMin = 16;

    /// <summary>Of one record that writes.</summary>
    public const int BlocksMax = 2;

    /// <param name="volume">Whose record it is; none: the volume's.</param>
    public static IoBuffer Write(RecordHeader header, ulong value, int encodedBytes = EncodedBytesMin, VolumeId? volume = null)
    {
        (header.Kind, header.Volume, header.DescriptorCount) = (RecordKind.Write, volume ?? SimWorld.Volume, header.Range.Count);
        header.PayloadLength = header.Range.Count * (uint)encodedBytes;
        var buffer = BufferPool.Shared.Rent(header.TotalBytes);
        for (var index = 0; index < (int)header.Range.Count; index++)
        {
            var encoded = buffer.Span.Slice(header.PayloadOffset + (index * encodedBytes), encodedBytes);
            MemoryMarshal.Cast<byte, ulong>(encoded).Fill(value);
            BinaryPrimitives.WriteUInt64LittleEndian(encoded[8..], ~value);
            BlockDescriptor.Of(BlockEncoding.Lz4, header.Volume, 0, header.Range.First + (ulong)index, encoded)
                .Write(buffer.Span[(RecordHeader.SizeBytes + (index * BlockDescriptor.SizeBytes))..]);
        }
        header.Encode(buffer.Span);
        return buffer;
    }

    public static IoBuffer Trim(RecordHeader header, VolumeId? volume = null)
    {
        (header.Kind, header.Volume) = (RecordKind.Trim, volume ?? SimWorld.Volume);
        var buffer = BufferPool.Shared.Rent(header.TotalBytes);
        header.Encode(buffer.Span);
        return buffer;
    }

    /// <summary>Sequence and value of each block of a read's answer; value 0: nothing there.</summary>
    public static List<(ulong Sequence, ulong Value)> DecodeReply(ReadOnlySpan<byte> reply, BlockRange range, VolumeId? volume = null)
    {
        var blocks = new List<(ulong, ulong)>();
        var at = (int)range.Count * ReadDescriptor.SizeBytes;
        for (var index = 0; index < (int)range.Count; index++)
        {
            var descriptor = ReadDescriptor.Read(reply[(index * ReadDescriptor.SizeBytes)..]);
            var encoded = reply.Slice(at, descriptor.Block.Length);
            blocks.Add((descriptor.Sequence, ValueOf(in descriptor, range.First + (ulong)index, encoded, volume)));
            at += descriptor.Block.Length;
        }
        return blocks;
    }

    public static ulong ValueOf(in ReadDescriptor read, ulong block, ReadOnlySpan<byte> encoded, VolumeId? volume = null)
    {
        if (read.Block.Encoding == BlockEncoding.Zero) return 0;
        Invariant.That(read.Block.Matches(volume ?? SimWorld.Volume, 0, block, encoded), "a block was read that was not written");
        return BinaryPrimitives.ReadUInt64LittleEndian(encoded);
    }
}
