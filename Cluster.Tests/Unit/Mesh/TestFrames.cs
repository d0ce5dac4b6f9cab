using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Tests;

/// <summary>Frames and records for tests, the same for the same seed.</summary>
internal static class TestFrames
{
    public static readonly VolumeId Volume = new(0x0102030405060708);

    /// <summary>A whole write record of that many raw blocks.</summary>
    public static byte[] Record(int blocks, int seed)
    {
        var random = new Random(seed);
        var header = RecordHeaderOf(blocks);
        var record = new byte[header.TotalBytes];
        random.NextBytes(record.AsSpan(header.PayloadOffset));
        for (var index = 0; index < blocks; index++)
        {
            var block = record.AsSpan(header.PayloadOffset + (index * Limits.BlockBytes), Limits.BlockBytes);
            BlockDescriptor.Of(BlockEncoding.Raw, header.Volume, header.Layer, header.Range.First + (ulong)index, block)
                .Write(record.AsSpan(RecordHeader.SizeBytes + (index * BlockDescriptor.SizeBytes)));
        }
        header.Encode(record);
        return record;
    }

    public static RecordHeader RecordHeaderOf(int blocks) => new()
    {
        Kind = blocks == 0 ? RecordKind.Trim : RecordKind.Write,
        Flags = RecordFlags.ForceUnitAccess,
        DescriptorCount = (uint)blocks,
        PayloadLength = (uint)(blocks * Limits.BlockBytes),
        Volume = Volume,
        Epoch = 0x1112131415161718,
        Sequence = 0x2122232425262728,
        Session = new SessionId(0x3132333435363738, 0x4142434445464748),
        RequestId = 0x5152535455565758,
        AnsweredBelow = 0x5152535455565700,
        Range = new BlockRange(0x616263646566, (uint)Math.Max(blocks, 1)),
        KeySlot = 7,
        Tenant = 0x71727374,
        CommitWatermark = 0x2122232425262700,
        ExpectedSequence = 0x8182838485868788,
        TraceId = 0x9192939495969798,
    };

    /// <summary>The bytes of a whole frame.</summary>
    public static byte[] Frame(FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (FrameKinds.CarriesRecord(header.Kind)) header.Flags |= FrameFlags.SelfChecked;
        header.Seal(body);
        var bytes = new byte[FrameHeader.SizeBytes + body.Length];
        header.Encode(bytes);
        body.CopyTo(bytes.AsSpan(FrameHeader.SizeBytes));
        return bytes;
    }

    /// <summary>As a copy when it is small, else in a buffer.</summary>
    public static void Send(IFrameLink link, FrameHeader header, byte[] body)
    {
        if (body.Length <= Limits.SmallBodyBytesMax)
        {
            link.Send(header, body.AsSpan());
            return;
        }
        var buffer = BufferPool.Shared.Rent(body.Length);
        body.CopyTo(buffer.Span);
        link.Send(header, buffer);
        buffer.Release();
    }
}
