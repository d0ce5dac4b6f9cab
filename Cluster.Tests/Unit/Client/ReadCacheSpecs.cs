using Cluster.Csi.Client;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Tests.Unit.Fakes;

namespace Cluster.Tests.Unit.Client;

/// <summary>The blocks that front ends of a node keep: bounds, what makes room, and what an epoch ends.</summary>
public sealed class ReadCacheSpecs
{
    private const int RawBytes = Limits.BlockBytes;

    private static readonly byte[] Encoded = [.. Enumerable.Range(0, RawBytes).Select(at => (byte)at)];

    [Fact(DisplayName = "It takes no more than its budget, and all of it back when its volumes are dropped")]
    public void Bounded()
    {
        var cache = new ReadCache(16 * RawBytes);
        var (one, other) = (On(cache), On(cache));
        for (ulong block = 0; block < 100; block++) Put(block % 2 == 0 ? one : other, block);
        Assert.Equal((16 * RawBytes, 16, 84L), (cache.Bytes, cache.Count, cache.Evictions));
        one.Clear();
        Assert.InRange(cache.Count, 1, 15);
        Assert.False(Has(one, 98));
        Assert.True(Has(other, 99));
        other.Clear();
        GiveBack(cache);
        Assert.Equal((0L, 0), (cache.Bytes, cache.Count));
        Put(one, 1);
        Assert.True(Has(one, 1));
        one.Clear();
    }

    [Fact(DisplayName = "However well blocks compress there are no more than the bound; to drop them takes no time, and they are given back in small steps")]
    public void Bounded_in_number()
    {
        var cache = new ReadCache(ReadCache.BudgetBytesMax);
        var volume = On(cache);
        for (ulong block = 0; block < ReadCache.EntriesMax + 1000; block++) volume.Put(1, block, Read(1), [1, 2, 3]);
        Assert.Equal((ReadCache.EntriesMax, 1000L), (cache.Count, cache.Evictions));
        var (bytes, room) = (cache.Bytes, cache.Bytes / cache.Count);
        volume.Clear();
        Assert.Equal((bytes, 0, false), (cache.Bytes, cache.Count, Has(volume, ReadCache.EntriesMax)));
        // What comes meanwhile has its place, and is found.
        volume.Put(1, 5, Read(1), [4]);
        for (var steps = 0; cache.Bytes > room; steps++)
        {
            Assert.InRange(steps, 0, (ReadCache.EntriesMax / ReadCache.StepFreesMax) + (ReadCache.EntriesMax / ReadCache.StepLooksMax));
            var before = cache.Bytes;
            cache.Step();
            Assert.InRange(before - cache.Bytes, 0, ReadCache.StepFreesMax * room);
        }
        Assert.Equal((1, true, false, 1000L), (cache.Count, Has(volume, 5), cache.Step(), cache.Evictions));
    }

    [Fact(DisplayName = "What was dropped makes room before anything that can be found")]
    public void Dropped_first()
    {
        var cache = new ReadCache(16 * RawBytes);
        var (one, other) = (On(cache), On(cache));
        for (ulong block = 0; block < 16; block++) Put(block < 8 ? other : one, block);
        one.Clear();
        for (ulong block = 100; block < 104; block++) Put(one, block);
        for (ulong block = 100; block < 104; block++) Assert.True(Has(one, block));
        Assert.Equal(16 * RawBytes, cache.Bytes);
        GiveBack(cache);
        Assert.Equal(cache.Count * RawBytes, cache.Bytes);
    }

    [Fact(DisplayName = "What is read again and again stays, while what is read once passes through")]
    public void Clock()
    {
        var cache = new ReadCache(32 * RawBytes);
        var volume = On(cache);
        for (ulong block = 0; block < 8; block++) Put(volume, block);
        for (ulong block = 100; block < 1100; block++)
        {
            for (ulong hot = 0; hot < 8; hot++) Assert.True(Has(volume, hot), $"block {hot} went for block {block}");
            Put(volume, block);
        }
        volume.Clear();
    }

    [Fact(DisplayName = "A read on its way keeps hold of its blocks, whatever happens to them meanwhile")]
    public void Held()
    {
        var cache = new ReadCache(RawBytes);
        var volume = On(cache);
        var known = new KnownBlocks();
        volume.Put(1, 7, Read(3), Encoded);
        Assert.True(volume.Find(new BlockRange(6, 3), known));
        Put(volume, 9);
        volume.Clear();
        Assert.True(known.TryGet(1, 3, out var read, out var bytes));
        Assert.Equal((3UL, true), (read.Sequence, bytes.SequenceEqual(Encoded)));
        Assert.False(known.TryGet(1, 4, out _, out _));
        Assert.False(known.TryGet(0, 0, out _, out _));
        Assert.False(known.TryGet(2, 0, out _, out _));
        known.Release();
        Assert.False(known.TryGet(1, 3, out _, out _));
    }

    [Fact(DisplayName = "Another epoch ends all that was read, the same one nothing; without the label there is nothing")]
    public void Epochs()
    {
        var cache = new ReadCache(16 * RawBytes);
        var volume = On(cache);
        Put(volume, 1);
        volume.Begin(1, isOn: true);
        Assert.True(Has(volume, 1));
        volume.Begin(2, isOn: true);
        Assert.False(Has(volume, 1));
        // Of an owner that is not it any more.
        Put(volume, 1);
        Assert.Equal((false, 0), (Has(volume, 1), cache.Count));
        Put(volume, 1, epoch: 2);
        Assert.True(Has(volume, 1));
        volume.Begin(2, isOn: false);
        Assert.Equal((false, 0), (volume.IsOn, cache.Count));
        var off = new CachedVolume(new ReadCache(0));
        off.Begin(1, isOn: true);
        Assert.False(off.IsOn);
    }

    [Fact(DisplayName = "A newer version takes the place of an older one; zeroes have none, and end what was there")]
    public void Replaced()
    {
        var cache = new ReadCache(16 * RawBytes);
        var volume = On(cache);
        var known = new KnownBlocks();
        volume.Put(1, 1, Read(1), Encoded);
        volume.Put(1, 1, Read(2), [5]);
        Assert.True(volume.Find(new BlockRange(1, 1), known));
        Assert.True(known.TryGet(0, 2, out _, out var bytes));
        Assert.Equal([5], bytes.ToArray());
        Assert.Equal(1, cache.Count);
        known.Release();
        // An answer that was overtaken.
        volume.Put(1, 1, Read(1), Encoded);
        volume.Put(1, 1, Read(1), []);
        Assert.True(volume.Find(new BlockRange(1, 1), known));
        Assert.True(known.TryGet(0, 2, out _, out _));
        known.Release();
        Assert.Equal(3, cache.Misses);
        volume.Put(1, 1, Read(3), []);
        Assert.Equal((0, 3L), (cache.Count, cache.Misses));
        volume.Put(1, 1, Read(4), Encoded);
        volume.Put(1, 1, Read(0), []);
        Assert.Equal((0, 4L), (cache.Count, cache.Misses));
    }

    [Fact(DisplayName = "While memory is short nothing new is kept, and each block that would be lets one go")]
    public void Tight()
    {
        var isTight = false;
        var cache = new ReadCache(16 * RawBytes, () => isTight);
        var volume = On(cache);
        for (ulong block = 0; block < 4; block++) Put(volume, block);
        isTight = true;
        Put(volume, 10);
        Put(volume, 11);
        Assert.Equal((2, 2L, false), (cache.Count, cache.Evictions, Has(volume, 11)));
        for (ulong block = 20; block < 30; block++) Put(volume, block);
        Assert.Equal((0, 0L), (cache.Count, cache.Bytes));
    }

    [Fact(DisplayName = "While memory is short all of it goes in small steps, also when nothing is read; then it stays")]
    public void Tight_and_idle()
    {
        var isTight = false;
        var cache = new ReadCache(ReadCache.BudgetBytesMax, () => isTight);
        var loop = new FakeLoop();
        var volume = new CachedVolume(cache, loop);
        volume.Begin(1, isOn: true);
        for (ulong block = 0; block < 1000; block++) Put(volume, block);
        loop.Advance(ReadCache.IdleMs);
        Assert.Equal(1000, cache.Count);
        isTight = true;
        loop.Advance(ReadCache.IdleMs);
        Assert.Equal(1000 - ReadCache.StepFreesMax, cache.Count);
        isTight = false;
        loop.Advance(ReadCache.IdleMs);
        Assert.Equal(1000 - ReadCache.StepFreesMax, cache.Count);
        isTight = true;
        loop.Advance(ReadCache.IdleMs);
        for (var step = 0; step < 2; step++) loop.Advance(ReadCache.StepMs);
        Assert.Equal((0, 0L, 1000L, 0), (cache.Count, cache.Bytes, cache.Evictions, loop.Timers));
    }

    private static void GiveBack(ReadCache cache)
    {
        for (var steps = 0; cache.Step(); steps++) Assert.InRange(steps, 0, 100);
    }

    private static CachedVolume On(ReadCache cache)
    {
        var volume = new CachedVolume(cache);
        volume.Begin(1, isOn: true);
        return volume;
    }

    private static ReadDescriptor Read(ulong sequence) => new(new BlockDescriptor(BlockEncoding.Raw, RawBytes, 0), sequence);

    private static void Put(CachedVolume volume, ulong block, ulong epoch = 1) => volume.Put(epoch, block, Read(1), Encoded);

    private static bool Has(CachedVolume volume, ulong block)
    {
        var known = new KnownBlocks();
        var has = volume.Find(new BlockRange(block, 1), known);
        known.Release();
        return has;
    }
}
