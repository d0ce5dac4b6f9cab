using BenchmarkDotNet.Attributes;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Tests.Bench;

/// <summary>A record's header with the hash over it and its descriptors: written by the front end and by the owner, read by every copy.</summary>
public class RecordHeaderBenchmarks
{
    private byte[] _record = [];
    private RecordHeader _header;

    /// <summary>Of one record: 1 is a write of 4 KiB, 32 one of 128 KiB.</summary>
    [Params(1, 32)]
    public int Blocks { get; set; }

    [GlobalSetup]
    public void Setup() => _record = MakeRecord();

    /// <summary>A whole record of that many blocks, sound.</summary>
    internal byte[] MakeRecord()
    {
        _header = new RecordHeader
        {
            Kind = RecordKind.Write,
            Volume = new VolumeId(7),
            Epoch = 3,
            Sequence = 9,
            Range = new BlockRange(42, (uint)Blocks),
            DescriptorCount = (uint)Blocks,
            PayloadLength = (uint)(Blocks * Limits.BlockBytes),
        };
        var record = new byte[_header.TotalBytes];
        new Random(1).NextBytes(record.AsSpan(_header.PayloadOffset));
        for (var block = 0; block < Blocks; block++)
        {
            BlockDescriptor.Of(BlockEncoding.Raw, _header.Volume, 0, 42 + (ulong)block, record.AsSpan(_header.PayloadOffset + (block * Limits.BlockBytes), Limits.BlockBytes))
                .Write(record.AsSpan(RecordHeader.SizeBytes + (block * BlockDescriptor.SizeBytes)));
        }
        _header.Encode(record);
        return record;
    }

    [Benchmark]
    public void Write() => _header.Encode(_record);

    [Benchmark]
    public IoStatus Read() => RecordHeader.TryDecode(_record, out _);
}
