using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>
/// One seed of the layers of a volume with memory for hardly any page of them, against sorted lists: runs up and down, scattered blocks, blocks that are 2^40 apart, versions that go one by one, in ranges or to the next older
/// snapshot, and checkpoints that begin somewhere and have to find what there was then. Throws where a layer is not its list.
/// </summary>
public sealed class LayerRun
{
    private const int Steps = 200;
    private const ulong Far = 1UL << 41;
    private static readonly ulong[] Snapshots = [1000, 2000, 3000];
    private readonly Random _random;
    private readonly int _full;
    private readonly StoreRig _rig;
    private readonly BlockMap _map;
    private readonly List<SortedDictionary<ulong, MapEntry>> _expected = [.. Snapshots.Select(_ => new SortedDictionary<ulong, MapEntry>())];
    private List<(PageImage[] Pages, (ulong Block, ulong Sequence)[] Versions)>? _frozen;

    private LayerRun(int seed)
    {
        _random = new Random(seed);
        // Whole pages, and small ones of which there are many.
        _full = seed % 4 == 0 ? 32 : MapPage.Blocks;
        _rig = new StoreRig((ulong)seed, new StoreOptions { CapacityBytes = 20L * StoreOptions.SegmentBytesMin, MapCacheBytes = (1 + (seed % 3)) * (long)MapCache.PageBytes, LayerPageVersions = _full }).Open();
        _map = ((VolumeStore)_rig.Create()).Map;
        foreach (var snapshot in Snapshots) _map.AddSnapshot(snapshot);
    }

    /// <summary>How often a page left memory.</summary>
    public static long Run(int seed)
    {
        var run = new LayerRun(seed);
        for (var step = 0; step < Steps; step++)
        {
            try
            {
                run.Step(run._random.Next(Snapshots.Length));
            }
            catch (Exception error)
            {
                throw new InvalidOperationException($"seed {seed}, step {step}: {error.Message}", error);
            }
        }
        for (var index = 0; index < Snapshots.Length; index++) run.Compare(index);
        Assert.Equal((0, null), (run._rig.Store.Maps.Facts.LostPages, run._rig.Store.FailureReason));
        var facts = run._rig.Store.Maps.Facts;
        Assert.Equal((facts.ResidentPages, facts.EvictedPages), (facts.ResidentLayerPages, facts.EvictedLayerPages));
        Assert.Equal(run._map.Layers.Sum(layer => layer.PageCount), facts.ResidentPages + facts.EvictedPages);
        return facts.Evictions;
    }

    private void Step(int index)
    {
        switch (_random.Next(12))
        {
            case 0: AddRun(index, down: false); break;
            case 1: AddRun(index, down: true); break;
            case < 4: AddScattered(index, 2000, 300); break;
            case 4: AddScattered(index, 40, 200_000); break;
            case 5: RemoveRange(index); break;
            case 6: RemoveSome(index); break;
            case 7: ReplaceSome(index); break;
            case 8: HandDown(index); break;
            case 9: HoldOrCompare(); break;
            case 10: Compare(index); break;
            default: LookUp(index); break;
        }
        // Whatever came in which order, pages are not left nearly empty.
        Assert.InRange(Layer(index).PageCount, 0, 40 + (8 * (_expected[index].Count / _full)));
        _map.Yield();
        // Mostly the next step comes while pages are being written.
        if (_random.Next(3) > 0)
        {
            _rig.Loop.Turn();
            return;
        }
        _rig.Loop.Settle();
        Assert.True(_rig.Store.Maps.ResidentPages <= Math.Max(_rig.Store.Maps.BudgetPages, 1), $"{_rig.Store.Maps.Facts}");
    }

    private SnapshotLayer Layer(int index) => _map.Layers[index];

    /// <summary>Each layer has blocks of its own, so that an older one may take them.</summary>
    private ulong Base(int index) => (_random.Next(4) == 0 ? Far : 0) + ((ulong)index << 30);

    private void Add(int index, ulong block)
    {
        if (_expected.Exists(layer => layer.ContainsKey(block))) return;
        var length = (ushort)(_random.Next(3) == 0 ? _random.Next(1, 4000) : 0);
        var entry = new MapEntry
        {
            Sequence = (ulong)_random.Next(1, (int)Snapshots[index] + 1),
            Segment = MapEntry.NoSegment,
            LengthBytes = length,
            Encoding = length == 0 ? BlockEncoding.Zero : BlockEncoding.Lz4,
            Checksum = (ulong)_random.NextInt64(),
        };
        _expected[index][block] = entry;
        Layer(index).Add(block, in entry);
    }

    private void AddRun(int index, bool down)
    {
        var (first, count) = (Base(index) + (ulong)_random.Next(3000), (ulong)_random.Next(1, 1500));
        for (var at = 0UL; at < count; at++) Add(index, down ? first + count - at : first + at);
    }

    private void AddScattered(int index, int range, int count)
    {
        var first = Base(index);
        for (var at = 0; at < Math.Min(count, 300); at++) Add(index, first + (ulong)_random.Next(range > 100 ? range * 10 : count));
    }

    private void RemoveRange(int index)
    {
        if (_expected[index].Count == 0) return;
        var keys = _expected[index].Keys.ToArray();
        var from = _random.Next(keys.Length);
        foreach (var block in keys.Skip(from).Take(_random.Next(1, 1200)))
        {
            Layer(index).Remove(block);
            _expected[index].Remove(block);
            if (_random.Next(50) == 0) _map.Yield();
        }
    }

    private void RemoveSome(int index)
    {
        foreach (var block in _expected[index].Keys.Where(_ => _random.Next(8) == 0).ToArray())
        {
            _map.Yield();
            Layer(index).Remove(block);
            _expected[index].Remove(block);
        }
    }

    private void ReplaceSome(int index)
    {
        foreach (var block in _expected[index].Keys.Where(_ => _random.Next(40) == 0).ToArray())
        {
            _map.Yield();
            var entry = _expected[index][block] with { Checksum = (ulong)_random.NextInt64() };
            _expected[index][block] = entry;
            Layer(index).Replace(block, in entry);
        }
    }

    private void HandDown(int index)
    {
        if (_expected[index].Count == 0) return;
        var older = index > 0 ? Layer(index - 1) : null;
        var went = Layer(index).HandDown(older, _random.Next(1, 700), _rig.Store.Maps.LoadsInPlace + _random.Next(1, 4));
        foreach (var (block, entry) in _expected[index].Reverse().Take(went).ToArray())
        {
            _expected[index].Remove(block);
            if (older is not null && entry.Sequence <= older.Sequence) _expected[index - 1].Add(block, entry);
        }
    }

    /// <summary>A checkpoint begins, or one has ended: it finds what there was when it began.</summary>
    private void HoldOrCompare()
    {
        var (segments, maps) = (_rig.Store.Segments, _rig.Store.Maps);
        if (_frozen is null)
        {
            segments.HoldSnapshot();
            _frozen = [.. _map.Layers.Select((layer, index) => (LayerSnapshot.Of(layer).Pages, _expected[index].Select(pair => (pair.Key, pair.Value.Sequence)).ToArray()))];
            return;
        }
        var read = new MapEntry[MapPage.Blocks];
        foreach (var (pages, versions) in _frozen)
        {
            var found = new List<(ulong, ulong)>();
            foreach (var page in pages)
            {
                if (page.Entries is null) Assert.True(maps.File.Read(page.Slot, page.Hash, read).IsOk, "a slot that a checkpoint reads has something else");
                found.AddRange((page.Entries ?? read).TakeWhile(entry => entry.IsMapped).Select(entry => ((page.Number >> MapEntry.KeyBits << MapEntry.KeyBits) | entry.Key, entry.Sequence)));
            }
            Assert.Equal(versions, found);
        }
        _frozen = null;
        segments.ReleaseSnapshot();
        maps.OnSnapshotReleased(-1);
    }

    private void LookUp(int index)
    {
        var (layer, expected) = (Layer(index), _expected[index]);
        var keys = expected.Keys.ToArray();
        for (var at = 0; at < 30; at++)
        {
            var block = keys.Length > 0 && _random.Next(2) == 0 ? keys[_random.Next(keys.Length)] : Base(index) + (ulong)_random.Next(20_000);
            AssertSame(expected, layer, block);
            var found = Array.BinarySearch(keys, block);
            found = found < 0 ? ~found : found;
            Assert.Equal(found < keys.Length ? keys[found] : ulong.MaxValue, layer.NextBlock(block));
            var end = block + (ulong)_random.Next(1, 5000);
            while (found < keys.Length && keys[found] < end && expected[keys[found]].LengthBytes == 0) found++;
            Assert.Equal(found < keys.Length ? Math.Min(keys[found], end) : end, layer.NextData(block, end, int.MaxValue));
        }
    }

    private void Compare(int index)
    {
        var (layer, expected) = (Layer(index), _expected[index]);
        foreach (var block in expected.Keys)
        {
            _map.Yield();
            AssertSame(expected, layer, block);
        }
        Assert.Equal((expected.Count, expected.Values.Sum(entry => (long)entry.LengthBytes)), (layer.Blocks, layer.StoredBytes));
        var numbers = expected.Keys.Select(block => block >> MapPage.BlocksLog2).Distinct().ToArray();
        Assert.Equal(numbers, layer.PageNumbers());
        Assert.InRange(layer.Frames, numbers.Length, numbers.Length + layer.PageCount);
        for (var older = 0; older < index; older++)
        {
            var own = expected.Values.Where(entry => entry.Sequence > Snapshots[older]).ToArray();
            Assert.Equal((own.Sum(entry => (long)entry.LengthBytes), own.Length), layer.NotSeenBy(Snapshots[older]));
        }
        var (blocks, last) = (0, -1L);
        for (var at = 0; at < layer.PageCount; at++)
        {
            var page = layer.Peek(at);
            Assert.True((long)page.First > last && page.Last >= page.First && page.Mapped is > 0 and <= MapPage.Blocks, $"page {at} has {page.Mapped} versions of blocks {page.First} to {page.Last}, behind {last}");
            foreach (ref readonly var entry in layer.Reach(at).Entries.AsSpan(page.Mapped)) Assert.True(entry is { Sequence: 0, Key: 0 }, "something is left behind the last version");
            (blocks, last) = (blocks + page.Mapped, (long)page.Last);
        }
        Assert.Equal(expected.Count, blocks);
    }

    private static void AssertSame(SortedDictionary<ulong, MapEntry> expected, SnapshotLayer layer, ulong block)
    {
        var isThere = expected.TryGetValue(block, out var entry);
        var isSame = isThere == layer.TryGet(block, out var found) && entry.Sequence == found.Sequence && entry.Checksum == found.Checksum && entry.LengthBytes == found.LengthBytes && found.Key == 0;
        Assert.True(isSame, $"block {block}: {found.Sequence}, expected {entry.Sequence}");
    }
}
