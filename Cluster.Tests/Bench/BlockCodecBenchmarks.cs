using System.Text;
using BenchmarkDotNet.Attributes;
using Cluster.Csi.Client;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Tests.Bench;

/// <summary>One block as the front end encodes and decodes it, checksum included.</summary>
public class BlockCodecBenchmarks
{
    private const ulong Block = 42;
    private static readonly VolumeId Volume = new(7);

    private readonly byte[] _data = new byte[Limits.BlockBytes];
    private readonly byte[] _encoded = new byte[Limits.BlockBytes];
    private readonly byte[] _to = new byte[Limits.BlockBytes];
    private readonly byte[] _decoded = new byte[Limits.BlockBytes];
    private BlockDescriptor _descriptor;

    public enum Content
    {
        /// <summary>Does not compress: no try is made.</summary>
        Random,
        /// <summary>Compresses by LZ4.</summary>
        Rows,
        Zeroes,
    }

    [Params(Content.Random, Content.Rows, Content.Zeroes)]
    public Content Data { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        Array.Clear(_data);
        if (Data == Content.Random) new Random(1).NextBytes(_data);
        for (var at = 0; Data == Content.Rows && at < _data.Length - 64; at += 64) Encoding.ASCII.GetBytes($"row {at:d8}: a page of a database holds rows that look alike", _data.AsSpan(at));
        _descriptor = BlockCodec.Encode(Volume, 0, Block, _data, _encoded, compress: true);
    }

    [Benchmark]
    public BlockDescriptor Encode() => BlockCodec.Encode(Volume, 0, Block, _data, _to, compress: true);

    [Benchmark]
    public IoStatus Decode() => BlockCodec.Decode(_descriptor, Volume, 0, Block, _encoded.AsSpan(0, _descriptor.Length), _decoded);
}
