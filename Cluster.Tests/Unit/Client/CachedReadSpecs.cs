using Cluster.Csi.Client;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Tests.Unit.Fakes;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Unit.Client;

/// <summary>A session of a volume with the label cache: it reads what the volume holds, from here where the owner says that it is the same.</summary>
public sealed class CachedReadSpecs
{
    private const int Block = Limits.BlockBytes;
    private readonly FakeLoop _loop = new();
    private readonly FakeGateway _gateway;
    private readonly ReadCache _cache;
    private readonly VolumeSession _session;
    private bool _isTight;

    public CachedReadSpecs()
    {
        _cache = new ReadCache(64 * Block, () => _isTight);
        _gateway = new FakeGateway(_loop, 64UL << 20);
        Owner.Caches = true;
        for (ulong block = 0; block < 4; block++) Owner.Overwrite(block, (byte)(block + 1));
        var open = new VolumeSessions(_gateway, NullLoggerFactory.Instance) { Cache = _cache }.OpenAsync("vol");
        Settle(() => open.IsCompleted);
        _session = open.Result.Session!;
    }

    private FakeOwner Owner => _gateway.Owner;

    [Fact(DisplayName = "What was read once is read again without its bytes; what the owner does not have the same any more comes with them")]
    public void Hit_and_miss()
    {
        Reads(0, 3, 1, 2, 3);
        Assert.Equal((1, 0), (Sent(FrameKind.ClientRead), Sent(FrameKind.ClientReadCached)));
        Reads(0, 4, 1, 2, 3, 4);
        Assert.Equal((1, 1, 3L, 4L), (Sent(FrameKind.ClientRead), Sent(FrameKind.ClientReadCached), _cache.Hits, _cache.Misses));
        Assert.True(_cache.HitBytes > 0);
        // Another front end writes, or the volume is put back: it is seen at once.
        Owner.Overwrite(1, 9);
        Reads(0, 4, 1, 9, 3, 4);
        Reads(0, 4, 1, 9, 3, 4);
        Assert.Equal((3L + 3 + 4, 4L + 1), (_cache.Hits, _cache.Misses));
    }

    [Fact(DisplayName = "A part of a block is read from what is here, too")]
    public void Parts()
    {
        Reads(0, 2, 1, 2);
        var read = Do(ProbeRequest.Of(BlockOperation.Read, 512, 4096));
        Assert.Equal([.. Enumerable.Repeat((byte)1, 4096 - 512), .. Enumerable.Repeat((byte)2, 512)], read.Data.ToArray());
        Assert.Equal(2, _cache.Hits);
    }

    [Fact(DisplayName = "A block that the session writes is not kept")]
    public void Own_write()
    {
        Reads(0, 2, 1, 2);
        Do(ProbeRequest.Write(0, [.. Enumerable.Repeat((byte)7, Block)]));
        Reads(0, 1, 7);
        Assert.Equal((2, 0), (Sent(FrameKind.ClientRead), Sent(FrameKind.ClientReadCached)));
        Reads(0, 2, 7, 2);
        Assert.Equal(2, _cache.Hits);
    }

    [Fact(DisplayName = "The label can be taken away and put back while the volume is in use, also with a read on its way")]
    public void Live()
    {
        Reads(0, 2, 1, 2);
        var read = Submit(ProbeRequest.Of(BlockOperation.Read, 0, 2 * Block));
        Owner.Caches = false;
        Owner.Notice(IoStatus.Ok);
        Owner.Settle();
        Assert.Equal((IoStatus.Ok, 0), (read.Status, _cache.Count));
        Reads(0, 2, 1, 2);
        Reads(0, 2, 1, 2);
        Assert.Equal((3, 1, 0), (Sent(FrameKind.ClientRead), Sent(FrameKind.ClientReadCached), _cache.Count));
        Owner.Caches = true;
        Owner.Notice(IoStatus.Ok);
        Owner.Settle();
        Reads(0, 2, 1, 2);
        Reads(0, 2, 1, 2);
        Assert.Equal((4, 2), (Sent(FrameKind.ClientRead), Sent(FrameKind.ClientReadCached)));
    }

    [Fact(DisplayName = "After a failover nothing that was read before counts, and a read that was on its way is sent again like any other")]
    public void Failover()
    {
        Reads(0, 2, 1, 2);
        var read = Submit(ProbeRequest.Of(BlockOperation.Read, 0, 2 * Block));
        Assert.True(Owner.Link!.StepIn());
        Assert.Equal(1, Sent(FrameKind.ClientReadCached));
        Owner.Kill(0);
        Settle(() => read.IsDone);
        Assert.Equal((IoStatus.Ok, 2, 1, 0L), (read.Status, Sent(FrameKind.ClientRead), Sent(FrameKind.ClientReadCached), _cache.Hits));
        Reads(0, 2, 1, 2);
        Assert.Equal(2L, _cache.Hits);
    }

    [Fact(DisplayName = "A link that is lost, and back in the same epoch, ends nothing")]
    public void Link_lost()
    {
        Reads(0, 2, 1, 2);
        Owner.Link!.Cut();
        Settle(() => _session.IsReady);
        Reads(0, 2, 1, 2);
        Assert.Equal((1, 2L), (Sent(FrameKind.ClientRead), _cache.Hits));
    }

    [Fact(DisplayName = "A request that the owner sends back goes again with what it has")]
    public void Busy()
    {
        Reads(0, 2, 1, 2);
        Owner.Refusal = IoStatus.Busy;
        var read = Submit(ProbeRequest.Of(BlockOperation.Read, 0, 2 * Block));
        Owner.Settle();
        Owner.Refusal = null;
        _loop.Advance(ClientLimits.BusyPauseMsMax);
        Settle(() => read.IsDone);
        Assert.Equal((IoStatus.Ok, 2, 2L), (read.Status, Sent(FrameKind.ClientReadCached), _cache.Hits));
    }

    [Fact(DisplayName = "Bytes that went bad here are found by their checksum, and read from the owner")]
    public void Rotten_here()
    {
        Reads(0, 1, 1);
        Spoil(0);
        Reads(0, 1, 1);
        Assert.Equal((2, 1), (Sent(FrameKind.ClientRead), Sent(FrameKind.ClientReadCached)));
        // The bad one was no hit.
        Assert.Equal((0L, 2L), (_cache.Hits, _cache.Misses));
        Reads(0, 1, 1);
        Assert.Equal((2, 1L), (Sent(FrameKind.ClientReadCached), _cache.Hits));
    }

    [Fact(DisplayName = "Bytes that come bad from the owner are not kept and not counted; blocks without bytes are no misses")]
    public void Rotten_there()
    {
        var spoiled = 0;
        Owner.Spoil = answer =>
        {
            if (spoiled++ == 0) answer[^1] ^= 1;
        };
        Reads(0, 1, 1);
        Assert.Equal((2, 1L), (spoiled, _cache.Misses));
        Reads(10, 2, 0, 0);
        Assert.Equal((1L, 0L, 1), (_cache.Misses, _cache.Hits, _cache.Count));
    }

    [Fact(DisplayName = "A read names the epoch in which the blocks were read that are here, whatever the session's is")]
    public void Epoch_of_the_blocks()
    {
        Reads(0, 2, 1, 2);
        Owner.Refusal = IoStatus.Busy;
        var read = Submit(ProbeRequest.Of(BlockOperation.Read, 0, 2 * Block));
        Owner.Settle();
        Owner.Refusal = null;
        // Told over the link that the session has.
        Owner.Epoch = 2;
        Owner.Notice(IoStatus.Ok);
        Owner.Settle();
        _loop.Advance(ClientLimits.BusyPauseMsMax);
        Settle(() => read.IsDone);
        Assert.Equal((IoStatus.Ok, 0L), (read.Status, _cache.Hits));
        Reads(0, 2, 1, 2);
        Assert.Equal([1UL, 1, 2], Owner.Arrived.Where(frame => frame.Header.Kind == FrameKind.ClientReadCached).Select(frame => frame.Header.Epoch));
        Assert.Equal(2, _cache.Hits);
    }

    [Fact(DisplayName = "While there is no owner a read that waits for one holds none of the blocks")]
    public void Held_by_none()
    {
        Reads(0, 1, 1);
        Assert.True(_cache.TryTake(_session.Cached, 0, out _, out var buffer));
        var read = Submit(ProbeRequest.Of(BlockOperation.Read, 0, Block));
        Assert.Equal(3, buffer.References);
        _gateway.Absent = IoStatus.Offline;
        Owner.Link!.Cut();
        Assert.Equal((2, false), (buffer.References, read.IsDone));
        buffer.Release();
        _gateway.Absent = null;
        Settle(() => read.IsDone);
        Assert.Equal((IoStatus.Ok, 2), (read.Status, Sent(FrameKind.ClientRead)));
    }

    [Fact(DisplayName = "While memory is short all that was kept is given back, without a read")]
    public void Tight()
    {
        Reads(0, 4, 1, 2, 3, 4);
        _isTight = true;
        _loop.Advance(ReadCache.IdleMs);
        Assert.Equal((0, 0L), (_cache.Count, _cache.Bytes));
    }

    [Fact(DisplayName = "An owner that says that a block is the same which is not here is not believed: it is looked for anew")]
    public void Same_as_nothing()
    {
        var spoiled = 0;
        Owner.Spoil = answer =>
        {
            if (spoiled++ == 0) ReadDescriptor.Same(1).Write(answer);
        };
        var read = Submit(ProbeRequest.Of(BlockOperation.Read, 0, Block));
        Settle(() => read.IsDone);
        Assert.Equal((IoStatus.Ok, 1L, 2), (read.Status, _session.Statistics.LinksLost, spoiled));
        Assert.All(read.Data.ToArray(), value => Assert.Equal(1, value));
    }

    [Fact(DisplayName = "Nothing is kept of an owner on the own node")]
    public void Local()
    {
        Owner.Node = _gateway.Node;
        Owner.Kill(0);
        Settle(() => _session.IsReady);
        Reads(0, 2, 1, 2);
        Reads(0, 2, 1, 2);
        Assert.Equal((2, 0, 0), (Sent(FrameKind.ClientRead), Sent(FrameKind.ClientReadCached), _cache.Count));
    }

    [Fact(DisplayName = "When the session is over all that it kept is given back")]
    public void Closed()
    {
        Reads(0, 4, 1, 2, 3, 4);
        Assert.Equal(4, _cache.Count);
        _session.Close();
        Settle(() => _session.IsOver);
        Assert.Equal(0, _cache.Count);
        _loop.Advance(ReadCache.IdleMs);
        Assert.Equal((0, 0L), (_cache.Count, _cache.Bytes));
    }

    private void Spoil(ulong block)
    {
        // Held by nobody else; the number of the session's volume in the cache is the first.
        var known = new KnownBlocks();
        Assert.True(_session.Cached.Find(new BlockRange(block, 1), known));
        Assert.True(known.TryGet(0, block + 1, out _, out var bytes));
        unsafe
        {
            fixed (byte* at = bytes) at[0] ^= 1;
        }
        known.Release();
    }

    private void Reads(ulong first, int count, params byte[] values)
    {
        var read = Do(ProbeRequest.Of(BlockOperation.Read, first * Block, (ulong)count * Block));
        Assert.Equal(values.SelectMany(value => Enumerable.Repeat(value, Block)), read.Data.ToArray());
    }

    private ProbeRequest Do(ProbeRequest request)
    {
        Submit(request);
        Owner.Settle();
        Assert.Equal(IoStatus.Ok, request.Status);
        return request;
    }

    private ProbeRequest Submit(ProbeRequest request)
    {
        _session.Submit(request);
        return request;
    }

    private int Sent(FrameKind kind) => Owner.Arrived.Count(frame => frame.Header.Kind == kind);

    private void Settle(Func<bool> until) => _loop.RunUntil(() =>
    {
        Owner.Settle();
        return until();
    });
}
