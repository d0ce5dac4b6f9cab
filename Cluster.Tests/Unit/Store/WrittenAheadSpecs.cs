using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Unit.Store;

public sealed unsafe class WrittenAheadSpecs
{
    private const int LengthBytes = 2 << 20;
    private const int Small = 4 << 10;

    private readonly byte[] _file = new byte[LengthBytes];
    private readonly WrittenAhead _ahead;

    /// <summary>Nothing was written from there on.</summary>
    private long _written;
    private int _calls;
    private int _shortOf = int.MaxValue;
    private bool _fails;

    public WrittenAheadSpecs() => _ahead = new WrittenAhead(LengthBytes, Store);

    [Fact(DisplayName = "Behind a log of small groups lie zeroes, a stretch of them at a time and never beyond its end; one of large groups is written as it is")]
    public void Only_small_groups()
    {
        Put(0, Small);
        Assert.Equal(Small, _written);
        _ahead.OnSync();
        Put(Small, Small);
        Assert.Equal((2 * Small) + WrittenAhead.AheadBytes, _written);
        var calls = _calls;
        var at = 2 * Small;
        for (; at < _written; at += Small)
        {
            _ahead.OnSync();
            Put(at, Small);
        }
        // One call a group, and one more where the zeroes ended.
        Assert.Equal(calls + (WrittenAhead.AheadBytes / Small), _calls);
        _ahead.OnSync();
        Put(at, Small);
        Assert.Equal(at + Small + WrittenAhead.AheadBytes, _written);
        at = (int)_written;
        _ahead.OnSync();
        Put(at, WrittenAhead.GroupBytesMax + 1);
        Assert.Equal(at + WrittenAhead.GroupBytesMax + 1, _written);
        _ahead.OnSync();
        Put((int)_written, Small);
        Assert.Equal(at + WrittenAhead.GroupBytesMax + 1 + Small, _written);
        _ahead.OnSync();
        Put(LengthBytes - (2 * Small), Small);
        Assert.Equal(LengthBytes, _written);
    }

    [Fact(DisplayName = "However a log is written, in short pieces, behind what it left, and once more from its start: the file has what it would have without the zeroes")]
    public void Same_bytes()
    {
        for (var seed = 1; seed <= 200; seed++)
        {
            var random = new Random(seed);
            var plain = new byte[LengthBytes];
            var specs = new WrittenAheadSpecs();
            for (var life = 0; life < 2; life++)
            {
                for (var at = 0; at < LengthBytes && random.Next(400) > 0;)
                {
                    var bytes = new byte[Math.Min(LengthBytes - at, random.Next(3) == 0 ? random.Next(1, 100_000) : random.Next(1, 6_000))];
                    random.NextBytes(bytes);
                    specs._shortOf = random.Next(4) == 0 ? random.Next(1, 9_000) : int.MaxValue;
                    specs.PutAll(at, bytes);
                    bytes.CopyTo(plain, at);
                    if (random.Next(2) == 0) specs._ahead.OnSync();
                    at += bytes.Length + (random.Next(50) == 0 ? random.Next(2_000) : 0);
                }
            }
            Assert.True(plain.AsSpan().SequenceEqual(specs._file), $"seed {seed}");
        }
    }

    [Fact(DisplayName = "After a write that failed no zeroes are written, nor after zeroes that could not be")]
    public void After_a_failure()
    {
        Put(0, Small);
        _ahead.OnSync();
        _fails = true;
        Assert.Equal(IoStatus.DeviceError, Write(Small, new byte[Small]).Status);
        _fails = false;
        _ahead.OnSync();
        Put(Small, Small);
        _ahead.OnSync();
        Put(2 * Small, Small);
        Assert.Equal(3 * Small, _written);
    }

    private void Put(int at, int bytes) => PutAll(at, Enumerable.Repeat((byte)0xA5, bytes).ToArray());

    private void PutAll(int at, byte[] bytes)
    {
        for (var done = 0; done < bytes.Length;)
        {
            var result = Write(at + done, bytes.AsSpan(done));
            Assert.True(result.IsOk);
            done += result.Count;
        }
    }

    private DiskResult Write(int at, ReadOnlySpan<byte> bytes)
    {
        fixed (byte* start = bytes)
        {
            var vector = new IoVector(start, bytes.Length);
            return _ahead.Write(at, new ReadOnlySpan<IoVector>(in vector));
        }
    }

    private DiskResult Store(long at, ReadOnlySpan<IoVector> vectors)
    {
        _calls++;
        if (_fails) return DiskResult.Failed(IoStatus.DeviceError, "the disk fails");
        var count = Math.Min(_shortOf, (int)vectors[0].LengthBytes);
        new ReadOnlySpan<byte>(vectors[0].Start, count).CopyTo(_file.AsSpan((int)at));
        _written = Math.Max(_written, at + count);
        return DiskResult.Done(count);
    }
}
