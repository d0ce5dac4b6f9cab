using BenchmarkDotNet.Attributes;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Tests.Bench;

/// <summary>The map of a volume, in random order over so many blocks: entries that are overwritten, and looked up.</summary>
public class BlockMapBenchmarks
{
    private const int PicksLog2 = 16;

    private readonly ulong[] _picks = new ulong[1 << PicksLog2];
    private string _directory = "";
    private FileDisk? _disk;
    private IDiskFile? _file;
    private BlockMap? _map;
    private ulong _sequence;
    private int _pick;

    /// <summary>1 GiB and 64 GiB.</summary>
    [Params(1 << 18, 1 << 24)]
    public int Blocks { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _directory = Directory.CreateTempSubdirectory("myrmidon-bench-").FullName;
        _disk = new FileDisk(_directory);
        var segments = new SegmentTable(_disk, 64 << 20);
        if (!_disk.Open("segment", create: true, out _file).IsOk) throw new IOException($"no file could be made in {_directory}");
        segments.Add(Guid.NewGuid(), _file!);
        _map = new BlockMap(segments, new VolumeId(7));
        (_sequence, _pick) = (0, 0);
        var random = new Random(1);
        for (var index = 0; index < _picks.Length; index++) _picks[index] = (ulong)random.Next(Blocks);
        for (ulong block = 0; block < (ulong)Blocks; block++) _map.Put(block, Entry());
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        _file?.Dispose();
        _disk?.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    [Benchmark]
    public bool Insert() => _map!.Put(Pick(), Entry());

    [Benchmark]
    public bool Lookup() => _map!.Find(Pick(), out _, out _);

    private ulong Pick() => _picks[_pick++ & (_picks.Length - 1)];

    private MapEntry Entry() => new() { Sequence = ++_sequence, Checksum = _sequence, Segment = 0, OffsetBytes = 4096, LengthBytes = Limits.BlockBytes, Encoding = BlockEncoding.Raw };
}
