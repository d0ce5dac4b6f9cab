using BenchmarkDotNet.Attributes;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Tests.Bench;

/// <summary>The checksum of a block (XXH3, seeded with the block's identity): once at the front end, and once on each copy and each read.</summary>
public class ChecksumBenchmarks
{
    private readonly byte[] _block = new byte[Limits.BlockBytes];

    [GlobalSetup]
    public void Setup() => new Random(1).NextBytes(_block);

    [Benchmark]
    public ulong Block() => BlockDescriptor.ChecksumOf(new VolumeId(7), 0, 42, _block);
}
