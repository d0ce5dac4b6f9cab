using Cluster.Messages.Wire;

namespace Cluster.Tests.Unit.Wire;

public sealed class BufferPoolSpecs
{
    private const int Large = 1 << 20;
    private readonly BufferPool _pool = new();

    [Theory(DisplayName = "Buffers of every size are apart from each other, aligned to pages where they are large, and keep what is written to them")]
    [InlineData(1, 512)]
    [InlineData(600, 4096)]
    [InlineData(4097, 4608)]
    [InlineData(4608, 4608)]
    [InlineData(8192, 8192)]
    [InlineData(200_000, 278_528)]
    [InlineData(Large, Large)]
    public unsafe void Apart(int lengthBytes, int capacityBytes)
    {
        var buffers = Enumerable.Range(0, 40).Select(_ => _pool.Rent(lengthBytes)).ToArray();
        for (var index = 0; index < buffers.Length; index++)
        {
            Assert.Equal((lengthBytes, capacityBytes), (buffers[index].Length, buffers[index].CapacityBytes));
            Assert.True(capacityBytes < 4096 || (nint)buffers[index].Pointer % 4096 == 0);
            buffers[index].Whole.Fill((byte)index);
        }
        for (var index = 0; index < buffers.Length; index++) Assert.True(buffers[index].Whole.IndexOfAnyExcept((byte)index) < 0);
        Assert.Equal(40L * buffers[0].RoomBytes, _pool.RentedBytes);
        foreach (var buffer in buffers) buffer.Release();
        Assert.Equal(0, _pool.RentedBytes);
    }

    [Fact(DisplayName = "What is given back stays warm up to the bound; beyond it the system has the memory, and the next one finds zeroes")]
    public void Kept()
    {
        var count = (int)(BufferPool.KeptBytesMax / Large) + 3;
        var buffers = Enumerable.Range(0, count).Select(_ => Filled()).ToArray();
        foreach (var buffer in buffers) buffer.Release();
        Assert.Equal(BufferPool.KeptBytesMax, _pool.KeptBytes);
        var again = Enumerable.Range(0, count).Select(_ => _pool.Rent(Large)).ToArray();
        Assert.Equal(3, again.Count(buffer => buffer.Whole.IndexOfAnyExcept((byte)0) < 0));
        Assert.Equal((0, (long)count * Large), (_pool.KeptBytes, _pool.RentedBytes));
        foreach (var buffer in again) buffer.Release();
        _pool.Trim();
        Assert.Equal(0, _pool.KeptBytes);
    }

    [Fact(DisplayName = "Rented and warm buffers together stay within the limit, and those of another class make room")]
    public void Limited()
    {
        _pool.LimitBytes = 4 * Large;
        var large = Enumerable.Range(0, 4).Select(_ => Filled()).ToArray();
        foreach (var buffer in large) buffer.Release();
        Assert.Equal(4 * Large, _pool.KeptBytes);
        var small = Enumerable.Range(0, 16).Select(_ => _pool.Rent(100_000)).ToArray();
        Assert.InRange(_pool.RentedBytes + _pool.KeptBytes, 3 * Large, 4 * Large);
        foreach (var buffer in small) buffer.Release();
        Assert.InRange(_pool.KeptBytes, 3 * Large, 4 * Large);
    }

    [Theory(DisplayName = "Warm buffers of a size that nobody has asked for of late make room for those of one in use; of one that is in use, they don't")]
    [InlineData(0, true)]
    [InlineData(long.MaxValue / 2, false)]
    public void Stale(long staleMs, bool isStale)
    {
        var pool = new BufferPool { StaleMs = staleMs };
        var large = Enumerable.Range(0, (int)(BufferPool.KeptBytesMax / Large)).Select(_ => pool.Rent(Large)).ToArray();
        foreach (var buffer in large) buffer.Release();
        var small = Enumerable.Range(0, 100).Select(_ => pool.Rent(4608)).ToArray();
        foreach (var buffer in small)
        {
            buffer.Whole.Fill(0x5a);
            buffer.Release();
        }
        Assert.InRange(pool.KeptBytes, BufferPool.KeptBytesMax - Large, BufferPool.KeptBytesMax);
        var again = Enumerable.Range(0, 100).Select(_ => pool.Rent(4608)).ToArray();
        Assert.Equal(isStale ? 100 : 0, again.Count(buffer => buffer.Whole.IndexOfAnyExcept((byte)0) >= 0));
        foreach (var buffer in again) buffer.Release();
        pool.Trim();
        Assert.Equal((0, 0), (pool.KeptBytes, pool.RentedBytes));
    }

    [Fact(DisplayName = "Memory is tight from 70 % of the limit on, what is kept for later not counted; renting goes on")]
    public void Tight()
    {
        Assert.False(_pool.IsTight);
        _pool.LimitBytes = 10 * Large;
        var buffers = Enumerable.Range(0, 6).Select(_ => _pool.Rent(Large)).ToList();
        Assert.False(_pool.IsTight);
        buffers.Add(_pool.Rent(Large));
        Assert.True(_pool.IsTight);
        for (var more = 0; more < 10; more++) buffers.Add(_pool.Rent(Large));
        foreach (var buffer in buffers) buffer.Release();
        Assert.False(_pool.IsTight);
        Assert.Equal((0, 10L * Large), (_pool.RentedBytes, _pool.KeptBytes));
    }

    private IoBuffer Filled()
    {
        var buffer = _pool.Rent(Large);
        buffer.Whole.Fill(0x5a);
        return buffer;
    }
}
