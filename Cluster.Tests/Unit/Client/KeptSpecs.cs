using Cluster.Csi.Client;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Messages.Wire;
using Cluster.Tests.Unit.Fakes;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Unit.Client;

/// <summary>R13: what a session keeps, when it lets it go, and how it presents it. The owner is played by hand.</summary>
public class KeptSpecs
{
    private const int Block = Limits.BlockBytes;

    private readonly FakeLoop _loop = new();
    private readonly VolumeSession _session;
    private readonly VolumeSessions _sessions;
    private HandLink _link = null!;

    public KeptSpecs()
    {
        var gateway = new FakeGateway(_loop, 1 << 30);
        gateway.LinkOf = events => _link = new HandLink(events);
        _sessions = new VolumeSessions(gateway, NullLoggerFactory.Instance);
        var open = _sessions.OpenAsync("vol");
        _loop.RunUntil(() =>
        {
            if (_link is { } link && link.Frames.Count == 1 && !open.IsCompleted) link.Opened(IoStatus.Ok, epoch: 1);
            return open.IsCompleted;
        });
        _session = open.Result.Session!;
    }

    [Fact(DisplayName = "An answered write is kept until it is on media, and no longer")]
    public void Kept_until_durable()
    {
        Write(1, sequence: 11);
        Write(2, sequence: 12);
        Assert.Equal(2, _session.Kept);
        Assert.True(_sessions.Kept.Bytes > 2 * Block);
        Write(3, sequence: 13, durable: 11);
        Assert.Equal(2, _session.Kept);
        Write(4, sequence: 14, durable: 14);
        Assert.Equal((0, 0L), (_session.Kept, _sessions.Kept.Bytes));
    }

    [Fact(DisplayName = "An owner that lacks them gets the kept writes above its own end, in order, with the ids and bytes that they had; then the session goes on")]
    public void Presents()
    {
        var sent = new List<byte[]>();
        for (ulong sequence = 11; sequence <= 14; sequence++) sent.Add(Write((byte)sequence, sequence, durable: 10));
        Reconnect();
        Assert.True(SessionOpenBody.TryDecode(_link.Frames.Single().Body, out var open));
        Assert.Equal((1UL, 14UL), (open.SeenEpoch, open.SeenSequence));
        _link.Say(FrameKind.Present, IoStatus.Ok, new SequenceBody(12).Encode(new byte[8]), epoch: 2);
        var presented = _link.Of(FrameKind.Presented).ToList();
        Assert.Equal([13UL, 14UL], presented.Select(body => Decode(body).Sequence));
        foreach (var (body, index) in presented.Select((body, index) => (body, index + 2)))
        {
            var (was, now) = (Decode(sent[index]), Decode(body));
            Assert.Equal(was with { Sequence = now.Sequence }, now);
            Assert.Equal(sent[index][RecordHeader.SizeBytes..], body[RecordHeader.SizeBytes..]);
        }
        _link.Opened(IoStatus.Ok, epoch: 2);
        Assert.True(_session.IsReady);
        Assert.Equal((2L, 2L), (_session.Statistics.Presented, _sessions.Kept.Presented));
        // All of it is in the new owner's order now: the next owner is told so.
        Reconnect();
        Assert.True(SessionOpenBody.TryDecode(_link.Frames.Single().Body, out open));
        Assert.Equal((2UL, 14UL), (open.SeenEpoch, open.SeenSequence));
        Assert.Equal(4, _session.Kept);
    }

    [Fact(DisplayName = "A session that was told only that a replay was applied can't present, ends loudly, and asks for a flush before it comes to that")]
    public void Unplaced_replays()
    {
        Write(1, sequence: 11);
        Write(2, sequence: 0, committed: 12);
        Assert.Equal(1, _session.Statistics.ForcedFlushes);
        Reconnect();
        _link.Say(FrameKind.Present, IoStatus.Ok, new SequenceBody(10).Encode(new byte[8]), epoch: 2);
        Assert.Empty(_link.Of(FrameKind.Presented));
        Assert.Equal(IoStatus.DataLost, _session.EndStatus);
        Assert.Equal(0, _sessions.Kept.Bytes);
    }

    [Fact(DisplayName = "What was unplaced is no matter once a flush has covered it, or if it survived")]
    public void Unplaced_and_flushed()
    {
        Write(1, sequence: 0, committed: 12);
        Answer(_link.Asked(FrameKind.ClientFlush), sequence: 12, durable: 12, committed: 12);
        Write(2, sequence: 13, durable: 12);
        Write(3, sequence: 0, committed: 13, durable: 12);
        Reconnect();
        _link.Say(FrameKind.Present, IoStatus.Ok, new SequenceBody(13).Encode(new byte[8]), epoch: 2);
        Assert.NotEqual(IoStatus.DataLost, _session.EndStatus);
    }

    [Fact(DisplayName = "A write with FUA that is committed and not answered yet is kept at its place, and presented")]
    public void Forced_writes()
    {
        var first = Submit(1, forced: true);
        var second = Submit(2);
        _link.Say(FrameKind.ClientCommitted, IoStatus.Ok, new SequenceBody(11).Encode(new byte[8]), requestId: 1);
        Answer(2, sequence: 12, durable: 10, committed: 12);
        Assert.False(first.IsDone);
        Assert.True(second.IsDone);
        Reconnect();
        _link.Say(FrameKind.Present, IoStatus.Ok, new SequenceBody(10).Encode(new byte[8]), epoch: 2);
        Assert.Equal([11UL, 12UL], _link.Of(FrameKind.Presented).Select(body => Decode(body).Sequence));
        _link.Opened(IoStatus.Ok, epoch: 2);
        // It is asked again under its own id; what was presented answers it.
        Assert.Equal(1UL, Decode(_link.Of(FrameKind.ClientWrite).Single()).RequestId);
        Answer(1, sequence: 0, durable: 12, committed: 12);
        Assert.Equal(IoStatus.Ok, first.Status);
    }

    [Fact(DisplayName = "A write with FUA that is committed and not answered yet is claimed: an order that lacks it may not go on with another write at its place")]
    public void Forced_writes_are_claimed()
    {
        Submit(1);
        Submit(2, forced: true);
        Answer(1, sequence: 11, durable: 10, committed: 11);
        _link.Say(FrameKind.ClientCommitted, IoStatus.Ok, new SequenceBody(12).Encode(new byte[8]), requestId: 2);
        Reconnect();
        Assert.True(SessionOpenBody.TryDecode(_link.Frames.Single().Body, out var open));
        Assert.Equal((1UL, 12UL), (open.SeenEpoch, open.SeenSequence));
        _link.Opened(IoStatus.Ok, epoch: 2);
        Reconnect();
        Assert.True(SessionOpenBody.TryDecode(_link.Frames.Single().Body, out open));
        Assert.Equal((2UL, 12UL), (open.SeenEpoch, open.SeenSequence));
    }

    [Fact(DisplayName = "At half of the bound a flush is forced, one at a time; at the bound writes wait for it")]
    public void Bound()
    {
        ulong sequence = 0;
        while (_session.Kept < (Limits.KeptRecordsMax / 2) - 1) Write(1, ++sequence, operation: BlockOperation.Trim);
        Assert.Equal(0, _session.Statistics.ForcedFlushes);
        var half = sequence + 1;
        while (_session.Kept < Limits.KeptRecordsMax) Write(1, ++sequence, operation: BlockOperation.Trim);
        Assert.Equal(1, _session.Statistics.ForcedFlushes);
        var waiting = Submit(9);
        Assert.Empty(_link.Of(FrameKind.ClientWrite));
        Answer(_link.Asked(FrameKind.ClientFlush), half, durable: half, committed: sequence);
        Assert.Single(_link.Of(FrameKind.ClientWrite));
        Answer(_link.Asked(FrameKind.ClientWrite), ++sequence, half, sequence);
        Assert.True(waiting.IsDone);
        Assert.Equal(sequence - half, (ulong)_session.Kept);
    }

    [Fact(DisplayName = "What nobody flushes is flushed after a while, and an idle session that keeps nothing asks for nothing")]
    public void Old_writes()
    {
        Write(1, sequence: 11);
        _loop.Advance(ClientLimits.KeptMs);
        Assert.Equal(1, _session.Statistics.ForcedFlushes);
        Answer(_link.Asked(FrameKind.ClientFlush), 11, durable: 11, committed: 11);
        _loop.Advance(10 * ClientLimits.KeptMs);
        Assert.Equal((1L, 0), (_session.Statistics.ForcedFlushes, _session.Kept));
    }

    [Fact(DisplayName = "Sessions share a bound; who gets no share of it knows that it can't present")]
    public void Budget()
    {
        var budget = new KeptBudget(10_000);
        var (first, second) = (new KeptWrites(budget), new KeptWrites(budget));
        var record = BufferPool.Shared.Rent(8000);
        first.Add(1, 1, record);
        second.Add(2, 1, record);
        Assert.True(first.IsWholeAbove(0));
        Assert.False(second.IsWholeAbove(1));
        Assert.True(second.IsWholeAbove(2) && second.WantsFlush);
        second.OnDurable(2);
        Assert.True(second.IsWholeAbove(0) && second.IsEmpty);
        first.Clear();
        Assert.Equal(0, budget.Bytes);
        record.Release();
    }

    [Fact(DisplayName = "Closing gives back what is kept")]
    public void Closing()
    {
        Write(1, sequence: 11);
        _session.Close();
        Assert.Equal(0, _sessions.Kept.Bytes);
    }

    private ProbeRequest Submit(byte fill, bool forced = false, BlockOperation operation = BlockOperation.Write)
    {
        _link.Frames.RemoveAll(frame => frame.Header.Kind == FrameKind.ClientWrite);
        var bytes = new byte[Block];
        Random.Shared.NextBytes(bytes);
        var request = operation == BlockOperation.Write ? ProbeRequest.Write(fill * (ulong)Block, bytes, forced) : ProbeRequest.Of(operation, fill * (ulong)Block, Block);
        _session.Submit(request);
        return request;
    }

    /// <summary>Written and answered; the record as it was sent.</summary>
    private byte[] Write(byte fill, ulong sequence, ulong durable = 0, ulong committed = 0, BlockOperation operation = BlockOperation.Write)
    {
        var request = Submit(fill, operation: operation);
        var sent = _link.Of(FrameKind.ClientWrite).Single();
        Answer(_link.Asked(FrameKind.ClientWrite), sequence, durable, Math.Max(sequence, committed));
        Assert.True(request.IsDone);
        return sent;
    }

    private void Answer(ulong requestId, ulong sequence, ulong durable, ulong committed) =>
        _link.Say(FrameKind.ClientAck, IoStatus.Ok, new ClientAckBody(sequence, durable, committed).Encode(new byte[24]), requestId);

    private void Reconnect()
    {
        var old = _link;
        ((IOwnerEvents)_session).OnLinkLost(old, "the power went");
        _loop.Advance(ClientLimits.ReconnectMsMax);
        _loop.RunUntil(() => _link != old && _link.Frames.Count > 0);
    }

    private static RecordHeader Decode(byte[] body)
    {
        Assert.Equal(IoStatus.Ok, RecordHeader.TryDecode(body, out var record));
        return record;
    }

    /// <summary>Keeps what is sent; says what the test says.</summary>
    private sealed class HandLink(IOwnerEvents events) : IOwnerLink
    {
        public List<(FrameHeader Header, byte[] Body)> Frames { get; } = [];

        public NodeId Peer => default;

        public ulong Generation => 1;

        public bool IsUp => true;

        public long QueuedBytes => 0;

        public void Close()
        {
        }

        public void Send(FrameHeader header, ReadOnlySpan<byte> body) => Frames.Add((header, body.ToArray()));

        public void Send(FrameHeader header, IoBuffer body) => Frames.Add((header, body.Span.ToArray()));

        public IEnumerable<byte[]> Of(FrameKind kind) => Frames.Where(frame => frame.Header.Kind == kind).Select(frame => frame.Body);

        /// <summary>The newest request of that kind.</summary>
        public ulong Asked(FrameKind kind) => Frames.Last(frame => frame.Header.Kind == kind).Header.RequestId;

        public void Say(FrameKind kind, IoStatus status, ReadOnlySpan<byte> body, ulong requestId = 0, ulong epoch = 1) =>
            events.OnFrame(this, FrameHeader.Of(kind, new VolumeId(7), epoch, requestId, status: status), body, null);

        public void Opened(IoStatus status, ulong epoch) =>
            Say(FrameKind.SessionOpened, status, new SessionOpenedBody(1 << 30, epoch, 60_000, false, false).Encode(new byte[SessionOpenedBody.EncodedBytes]), epoch: epoch);
    }
}
