using System.Buffers.Binary;
using System.Net;
using Cluster.Csi.Client;
using Cluster.Csi.Nbd;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Messages.Wire;
using Cluster.Tests.Unit.Fakes;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Unit.Client;

/// <summary>The steady state allocates nothing per I/O: two cores serve three nodes and their clients.</summary>
public class HotPathSpecs
{
    private const int Warm = 2000;
    private const int Measured = 10_000;

    /// <summary>Room for what a thousand I/Os may cost once (a list that grew late), far below one object per I/O.</summary>
    private const long AllowedBytes = 20_000;

    [Theory(DisplayName = "A session's writes, reads, flushes and partial writes allocate nothing once it is warm")]
    [InlineData(BlockOperation.Write, 4096UL)]
    [InlineData(BlockOperation.Write, 65536UL)]
    [InlineData(BlockOperation.Write, 512UL)]
    [InlineData(BlockOperation.Read, 4096UL)]
    [InlineData(BlockOperation.Flush, 0UL)]
    [InlineData(BlockOperation.Trim, 4096UL)]
    public async Task Session(BlockOperation operation, ulong length)
    {
        var loop = new FakeLoop();
        var gateway = new FakeGateway(loop, 1 << 20);
        EchoLink? link = null;
        gateway.LinkOf = events => link = new EchoLink(events);
        var open = new VolumeSessions(gateway, NullLoggerFactory.Instance).OpenAsync("vol");
        loop.RunUntil(() => open.IsCompleted);
        var session = (await open).Session!;
        var data = GC.AllocateArray<byte>(65536, pinned: true);
        var request = new CountedRequest { Operation = operation, LengthBytes = length, Data = data };
        Assert.InRange(Measure(() =>
        {
            session.Submit(request);
            link!.Answer();
        }), 0, AllowedBytes);
        Assert.Equal(Warm + Measured, request.Completed);
    }

    [Theory(DisplayName = "A read of a volume with the label cache allocates nothing once it is warm: of blocks that are the same, and of others, each of which takes the place of another")]
    [InlineData(1, false)]
    [InlineData(16, false)]
    [InlineData(16, true)]
    public async Task Cached(int blocks, bool changes)
    {
        var loop = new FakeLoop();
        var gateway = new FakeGateway(loop, 1 << 20);
        CachingLink? link = null;
        gateway.LinkOf = events => link = new CachingLink(events, changes);
        var cache = new ReadCache(20 * Limits.BlockBytes);
        var open = new VolumeSessions(gateway, NullLoggerFactory.Instance) { Cache = cache }.OpenAsync("vol");
        loop.RunUntil(() => open.IsCompleted);
        var session = (await open).Session!;
        var request = new CountedRequest { Operation = BlockOperation.Read, LengthBytes = (ulong)blocks * Limits.BlockBytes, Data = GC.AllocateArray<byte>(blocks * Limits.BlockBytes, pinned: true) };
        Assert.InRange(Measure(() =>
        {
            session.Submit(request);
            link!.Answer();
        }), 0, AllowedBytes);
        Assert.Equal(Warm + Measured, request.Completed);
        if (changes) Assert.Equal((0L, (long)blocks * (Warm + Measured)), (cache.Hits, cache.Misses));
        else Assert.Equal((blocks * (Warm + Measured - 1L), (long)blocks), (cache.Hits, cache.Misses));
        session.Close();
    }

    [Theory(DisplayName = "An NBD connection's writes and reads allocate nothing once it is warm")]
    [InlineData(1)]
    [InlineData(0)]
    [InlineData(3)]
    public void Nbd(ushort type)
    {
        var loop = new FakeLoop();
        var device = new MemoryDevice(loop, 1 << 20);
        var server = new NbdServer(new NbdOptions(), loop, new FakeExports(("vol", device)), NullLoggerFactory.Instance);
        EndlessSocket? socket = null;
        server.Attach(events => socket = new EndlessSocket(events));
        socket!.Offer([0, 0, 0, 3]);
        var go = new byte[16 + 9];
        BinaryPrimitives.WriteUInt64BigEndian(go, 0x49484156454F5054);
        BinaryPrimitives.WriteUInt32BigEndian(go.AsSpan(8), 7);
        BinaryPrimitives.WriteUInt32BigEndian(go.AsSpan(12), 9);
        BinaryPrimitives.WriteUInt32BigEndian(go.AsSpan(16), 3);
        "vol"u8.CopyTo(go.AsSpan(20));
        socket.Offer(go);
        loop.RunUntil(() => !socket.Paused);
        var length = type == 3 ? 0u : 4096;
        var request = new byte[28 + (type == 1 ? 4096 : 0)];
        BinaryPrimitives.WriteUInt32BigEndian(request, 0x25609513);
        BinaryPrimitives.WriteUInt16BigEndian(request.AsSpan(6), type);
        BinaryPrimitives.WriteUInt32BigEndian(request.AsSpan(24), length);
        var before = socket.Sends;
        Assert.InRange(Measure(() => socket.Offer(request)), 0, AllowedBytes);
        Assert.True(socket.Sends - before >= Warm + Measured);
    }

    private static long Measure(Action once)
    {
        for (var count = 0; count < Warm; count++) once();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var count = 0; count < Measured; count++) once();
        return GC.GetAllocatedBytesForCurrentThread() - before;
    }

    private sealed class CountedRequest : BlockRequest
    {
        public int Completed { get; private set; }

        public override void Complete(IoStatus status)
        {
            if (status == IoStatus.Ok) Completed++;
        }
    }

    /// <summary>Answers whatever was asked, without keeping anything.</summary>
    private sealed class EchoLink(IOwnerEvents events) : IOwnerLink
    {
        private readonly FrameHeader[] _asked = new FrameHeader[16];
        private readonly byte[] _body = new byte[Math.Max(ReadDescriptor.SizeBytes, 24)];
        private int _count;

        public NodeId Peer => default;

        public ulong Generation => 1;

        public bool IsUp => true;

        public long QueuedBytes => 0;

        public void Close()
        {
        }

        public void Send(FrameHeader header, ReadOnlySpan<byte> body)
        {
            if (header.Kind == FrameKind.SessionOpen)
            {
                var opened = new byte[SessionOpenedBody.EncodedBytes];
                new SessionOpenedBody(1 << 20, 1, 1000, true, false).Encode(opened);
                events.OnFrame(this, FrameHeader.Of(FrameKind.SessionOpened, header.Volume, status: IoStatus.Ok), opened, null);
            }
            else _asked[_count++] = header;
        }

        public void Send(FrameHeader header, IoBuffer body) => _asked[_count++] = header;

        public void Answer()
        {
            for (var index = 0; index < _count; index++)
            {
                var asked = _asked[index];
                var isRead = asked.Kind == FrameKind.ClientRead;
                var kind = isRead ? FrameKind.ClientReadReply : FrameKind.ClientAck;
                var answer = FrameHeader.Of(kind, asked.Volume, 1, asked.RequestId, status: IoStatus.Ok);
                var body = _body.AsSpan(0, isRead ? ReadDescriptor.SizeBytes : 24);
                body.Clear();
                if (isRead) new ReadDescriptor(BlockDescriptor.Of(BlockEncoding.Zero, asked.Volume, 0, 0, default), 0).Write(body);
                events.OnFrame(this, in answer, body, null);
            }
            _count = 0;
        }
    }

    /// <summary>Blocks that no one writes, or that somebody writes between each two reads; read from the first one on.</summary>
    private sealed class CachingLink(IOwnerEvents events, bool changes) : IOwnerLink
    {
        private readonly ulong[] _known = new ulong[Limits.RecordBlocksMax];
        private readonly byte[] _body = new byte[Limits.RecordBlocksMax * (ReadDescriptor.SizeBytes + Limits.BlockBytes)];
        private readonly byte[] _block = [.. Enumerable.Range(0, Limits.BlockBytes).Select(at => (byte)(at * 7))];
        private FrameHeader _asked;
        private BlockRange _range;
        private ulong _sequence = 1;

        public NodeId Peer => default;

        public ulong Generation => 1;

        public bool IsUp => true;

        public long QueuedBytes => 0;

        public void Close()
        {
        }

        public void Send(FrameHeader header, ReadOnlySpan<byte> body)
        {
            if (header.Kind == FrameKind.SessionOpen)
            {
                var opened = new byte[SessionOpenedBody.EncodedBytes];
                new SessionOpenedBody(1 << 20, 1, 1000, true, false, Caches: true).Encode(opened);
                events.OnFrame(this, FrameHeader.Of(FrameKind.SessionOpened, header.Volume, status: IoStatus.Ok), opened, null);
                return;
            }
            if (!ClientReadBody.TryDecode(body, out var read)) return;
            _known.AsSpan().Clear();
            (_asked, _range) = (header, read.Range);
        }

        public void Send(FrameHeader header, IoBuffer body)
        {
            Assert.True(CachedReadBody.TryDecode(body.Span, _known, out var cached));
            (_asked, _range) = (header, cached.Read.Range);
        }

        public void Answer()
        {
            if (changes) _sequence++;
            var at = (int)_range.Count * ReadDescriptor.SizeBytes;
            for (var index = 0; index < (int)_range.Count; index++)
            {
                var to = _body.AsSpan(index * ReadDescriptor.SizeBytes);
                if (_known[index] == _sequence)
                {
                    ReadDescriptor.Same(_sequence).Write(to);
                    continue;
                }
                new ReadDescriptor(BlockDescriptor.Of(BlockEncoding.Raw, _asked.Volume, 0, _range.First + (ulong)index, _block), _sequence).Write(to);
                _block.CopyTo(_body.AsSpan(at));
                at += _block.Length;
            }
            var kind = _asked.Kind == FrameKind.ClientRead ? FrameKind.ClientReadReply : FrameKind.ClientReadCachedReply;
            var answer = FrameHeader.Of(kind, _asked.Volume, 1, _asked.RequestId, status: IoStatus.Ok);
            events.OnFrame(this, in answer, _body.AsSpan(0, at), null);
        }
    }

    /// <summary>Gives the same bytes as often as they are offered, and forgets what is sent.</summary>
    private sealed class EndlessSocket(ISocketEvents events) : ILoopSocket
    {
        private byte[] _bytes = [];
        private int _at;

        public EndPoint? RemoteEndPoint => null;

        public bool IsOpen => true;

        public bool Paused { get; private set; }

        public int Sends { get; private set; }

        public long QueuedBytes => 0;

        public void Offer(byte[] bytes)
        {
            (_bytes, _at) = (bytes, 0);
            while (_at < _bytes.Length) events.OnReadable(this);
        }

        public int Receive(Span<byte> to)
        {
            var count = Math.Min(to.Length, _bytes.Length - _at);
            if (count == 0) return -1;
            _bytes.AsSpan(_at, count).CopyTo(to);
            _at += count;
            return count;
        }

        public void Send(ReadOnlySpan<byte> bytes) => Sends++;

        public void Send(IoBuffer buffer, int offset, int length) => Sends++;

        public void PauseReading() => Paused = true;

        public void ResumeReading() => Paused = false;

        public void Close(CloseReason reason, string detail)
        {
        }
    }
}
