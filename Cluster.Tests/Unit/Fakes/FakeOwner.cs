using System.Buffers.Binary;
using Cluster.Csi.Client;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Messages.Wire;

namespace Cluster.Tests.Unit.Fakes;

/// <summary>
/// A volume's owner in memory: the frame protocol, exactly-once windows, conditional writes, takeover. Frames move only when the test
/// steps, so
/// that it decides what is lost. Committed state and windows survive <see cref="Kill"/>; what is pending survives as far as the test
/// says.
/// </summary>
internal sealed class FakeOwner(ILoop loop, VolumeId volume, ulong sizeBytes)
{
    private readonly Dictionary<ulong, (byte[] Plain, ulong Sequence)> _blocks = [];
    private readonly List<Pending> _pending = [];
    private readonly Dictionary<SessionId, FakeLink> _sessions = [];
    private SessionWindows _windows = new();
    private ulong _sequence;
    private ulong _committed;
    private bool _woken;

    private sealed record Pending(RecordHeader Header, byte[][] Blocks, FakeLink Link)
    {
        public FakeLink Link { get; set; } = Link;
    }

    public ulong Epoch { get; set; } = 1;

    public ulong SizeBytes { get; private set; } = sizeBytes;

    public FakeLink? Link { get; private set; }

    /// <summary>Frames that arrived, for scenarios that count them.</summary>
    public List<(FrameHeader Header, byte[] Body)> Arrived { get; } = [];

    /// <summary>Records committed, by the first 8 bytes of each block that they wrote: what was applied twice shows here.</summary>
    public Dictionary<ulong, int> CommitsOfStamp { get; } = [];

    public int Flushes { get; private set; }

    public int Conflicts { get; private set; }

    public int Replays { get; private set; }

    /// <summary>Answer every request with this instead of doing it.</summary>
    public IoStatus? Refusal { get; set; }

    public IoStatus OpenStatus { get; set; } = IoStatus.Ok;

    /// <summary>Changes a read's answer on its way.</summary>
    public Action<byte[]>? Spoil { get; set; }

    public ulong Generation { get; set; }

    /// <summary>The volume has the label cache, and this owner takes such reads.</summary>
    public bool Caches { get; set; }

    /// <summary>Where the owner is.</summary>
    public NodeId Node { get; set; }

    public ulong CommittedSequence => _committed;

    public FakeLink Connect(IOwnerEvents events) => Link = new FakeLink(this, events);

    public byte[] Content(ulong block) => _blocks.TryGetValue(block, out var known) ? known.Plain : new byte[Limits.BlockBytes];

    public bool Holds(ulong block) => _blocks.ContainsKey(block);

    /// <summary>Another writer, by its own session.</summary>
    public void Overwrite(ulong block, byte value)
    {
        var plain = new byte[Limits.BlockBytes];
        plain.AsSpan().Fill(value);
        _blocks[block] = (plain, ++_sequence);
        _committed = _sequence;
    }

    /// <summary>
    /// The owner dies: the link is cut, of what is pending the first <paramref name="survive"/> are committed by its successor.
    /// </summary>
    public void Kill(int survive)
    {
        while (_pending.Count > survive) _pending.RemoveAt(_pending.Count - 1);
        while (_pending.Count > 0) Commit(answer: false);
        _sequence = _committed;
        Epoch++;
        _sessions.Clear();
        var dead = Link;
        Link = null;
        dead?.Cut();
        _windows = SessionWindows.TryDecode(Encoded(_windows))!;
    }

    public bool CommitNext()
    {
        if (_pending.Count == 0) return false;
        Commit(answer: true);
        Committed?.Invoke();
        return true;
    }

    public void Notice(IoStatus status, ulong? sizeBytes = null)
    {
        SizeBytes = sizeBytes ?? SizeBytes;
        Link!.ToClient(FrameHeader.Of(FrameKind.SessionNotice, volume, Epoch, status: status), Opened());
    }

    /// <summary>On a loop that turns by itself: frames are handled as they come.</summary>
    public bool Automatic { get; init; }

    /// <summary>Called after each record committed.</summary>
    public Action? Committed { get; set; }

    public int PendingCount => _pending.Count;

    /// <summary>Everything moves until nothing does.</summary>
    public void Settle()
    {
        do (loop as FakeLoop)?.Run();
        while ((Link?.StepIn() ?? false) || CommitNext() || (Link?.StepOut() ?? false));
    }

    internal void Woken()
    {
        if (!Automatic || _woken) return;
        _woken = true;
        loop.Post(() =>
        {
            _woken = false;
            Settle();
        });
    }

    internal void Handle(FakeLink link, FrameHeader header, byte[] body)
    {
        if (!Automatic) Arrived.Add((header, body));
        Assert.Equal(volume, header.Volume);
        Assert.True(header.BodyMatches(body));
        switch (header.Kind)
        {
            case FrameKind.SessionOpen:
                Open(link, body);
                break;
            case FrameKind.SessionClose:
                Assert.True(SessionOpenBody.TryDecode(body, out var close));
                _sessions.Remove(close.Session);
                break;
            case FrameKind.ClientWrite:
                Write(link, header, body);
                break;
            case FrameKind.ClientRead:
                Read(link, header, body);
                break;
            case FrameKind.ClientReadCached:
                ReadCached(link, header, body);
                break;
            case FrameKind.ClientFlush:
                Assert.True(ClientFlushBody.TryDecode(body, out var flush));
                if (!Refused(link, header, FrameKind.ClientAck, flush.Session)) Flush(link, header.RequestId);
                break;
            case FrameKind.ClientStatus:
                Status(link, header, body);
                break;
            default:
                Assert.Fail($"a front end sent {header.Kind}");
                break;
        }
    }

    private void Open(FakeLink link, byte[] body)
    {
        Assert.True(SessionOpenBody.TryDecode(body, out var open));
        Assert.True(open.AnsweredBelow >= _windows.AnsweredBelow(open.Session));
        var status = OpenStatus == IoStatus.Ok && open.Session.Generation != Generation ? IoStatus.StaleSession : OpenStatus;
        if (status == IoStatus.Ok) _sessions[open.Session] = link;
        link.ToClient(FrameHeader.Of(FrameKind.SessionOpened, volume, Epoch, status: status), Opened());
    }

    private byte[] Opened()
    {
        var body = new byte[SessionOpenedBody.EncodedBytes];
        new SessionOpenedBody(SizeBytes, Epoch, 0, true, false, Caches).Encode(body);
        return body;
    }

    private bool Refused(FakeLink link, FrameHeader header, FrameKind answer, SessionId session)
    {
        Assert.True(_sessions.TryGetValue(session, out var open) && open == link, "I/O before the session was opened on this link");
        if (Refusal is not { } refusal) return false;
        link.ToClient(FrameHeader.Of(answer, volume, Epoch, header.RequestId, status: refusal), []);
        return true;
    }

    private void Write(FakeLink link, FrameHeader frame, byte[] body)
    {
        Assert.Equal(IoStatus.Ok, RecordHeader.TryDecode(body, out var record));
        Assert.Equal((0UL, 0UL, 0UL), (record.Epoch, record.Sequence, record.CommitWatermark));
        Assert.Equal(frame.RequestId, record.RequestId);
        Assert.True(SessionWindows.Admits(record.RequestId, record.AnsweredBelow));
        if (Refused(link, frame, FrameKind.ClientAck, record.Session)) return;
        if (_windows.Contains(record.Session, record.RequestId))
        {
            Replays++;
            Ack(link, record.RequestId, IoStatus.Ok, _committed);
            return;
        }
        if (_pending.Find(known => known.Header.Session == record.Session && known.Header.RequestId == record.RequestId) is { } same)
        {
            same.Link = link;
            return;
        }
        if ((record.Flags & RecordFlags.Conditional) != 0 && Newest(record.Range.First) != record.ExpectedSequence)
        {
            Conflicts++;
            Ack(link, record.RequestId, IoStatus.Conflict, 0);
            return;
        }
        record.Sequence = ++_sequence;
        _pending.Add(new Pending(record, Decode(in record, body), link));
    }

    /// <summary>Of an encrypted volume: a test's owner looks into the blocks, a real one can't.</summary>
    public BlockCipher? Cipher { get; set; }

    private byte[][] Decode(in RecordHeader record, byte[] body)
    {
        var blocks = new byte[record.DescriptorCount][];
        var at = record.PayloadOffset;
        for (var index = 0; index < blocks.Length; index++)
        {
            var descriptor = BlockDescriptor.Read(body.AsSpan(RecordHeader.SizeBytes + (index * BlockDescriptor.SizeBytes)));
            blocks[index] = new byte[Limits.BlockBytes];
            var encoded = body.AsSpan(at, descriptor.Length);
            Assert.Equal(IoStatus.Ok, BlockCodec.Decode(descriptor, volume, 0, record.Range.First + (uint)index, encoded, blocks[index], Cipher));
            at += descriptor.Length;
        }
        return blocks;
    }

    private ulong Newest(ulong block)
    {
        var pending = _pending.FindLast(known => known.Header.Range.Contains(block));
        return pending?.Header.Sequence ?? (_blocks.TryGetValue(block, out var known) ? known.Sequence : 0);
    }

    private void Commit(bool answer)
    {
        var next = _pending[0];
        _pending.RemoveAt(0);
        var record = next.Header;
        _windows.Apply(record.Session, record.RequestId, record.AnsweredBelow, record.Sequence);
        _committed = record.Sequence;
        for (uint index = 0; index < record.Range.Count; index++)
        {
            var plain = record.Kind == RecordKind.Write ? next.Blocks[index] : new byte[Limits.BlockBytes];
            _blocks[record.Range.First + index] = (plain, record.Sequence);
            var stamp = BinaryPrimitives.ReadUInt64LittleEndian(plain);
            if (stamp != 0) CommitsOfStamp[stamp] = CommitsOfStamp.GetValueOrDefault(stamp) + 1;
        }
        if (answer) Ack(next.Link, record.RequestId, IoStatus.Ok, record.Sequence);
    }

    private void Flush(FakeLink link, ulong requestId)
    {
        Flushes++;
        Ack(link, requestId, IoStatus.Ok, _committed);
    }

    private void Ack(FakeLink link, ulong requestId, IoStatus status, ulong sequence)
    {
        var body = new byte[24];
        new ClientAckBody(sequence, sequence, sequence).Encode(body);
        link.ToClient(FrameHeader.Of(FrameKind.ClientAck, volume, Epoch, requestId, status: status), body);
    }

    private void Read(FakeLink link, FrameHeader header, byte[] body)
    {
        Assert.True(ClientReadBody.TryDecode(body, out var read));
        Read(link, header, read, FrameKind.ClientReadReply, []);
    }

    private void ReadCached(FakeLink link, FrameHeader header, byte[] body)
    {
        var sequences = new ulong[Limits.RecordBlocksMax];
        Assert.True(CachedReadBody.TryDecode(body, sequences, out var cached));
        Read(link, header, cached.Read, FrameKind.ClientReadCachedReply, header.Epoch == Epoch ? sequences : []);
    }

    private void Read(FakeLink link, FrameHeader header, ClientReadBody read, FrameKind reply, ulong[] sequences)
    {
        Assert.InRange(read.Range.Count, 1u, (uint)Limits.RecordBlocksMax);
        if (Refused(link, header, reply, read.Session)) return;
        var count = (int)read.Range.Count;
        var answer = new byte[count * (ReadDescriptor.SizeBytes + BlockCodec.RoomFor(Cipher))];
        var at = count * ReadDescriptor.SizeBytes;
        for (var index = 0; index < count; index++)
        {
            var block = read.Range.First + (uint)index;
            var sequence = _blocks.TryGetValue(block, out var known) ? known.Sequence : 0;
            if (sequence != 0 && index < sequences.Length && sequences[index] == sequence)
            {
                ReadDescriptor.Same(sequence).Write(answer.AsSpan(index * ReadDescriptor.SizeBytes));
                continue;
            }
            var descriptor = BlockCodec.Encode(volume, 0, block, Content(block), answer.AsSpan(at, BlockCodec.RoomFor(Cipher)), true, Cipher);
            new ReadDescriptor(descriptor, sequence).Write(answer.AsSpan(index * ReadDescriptor.SizeBytes));
            at += descriptor.Length;
        }
        answer = answer[..at];
        Spoil?.Invoke(answer);
        link.ToClient(FrameHeader.Of(reply, volume, Epoch, header.RequestId, status: IoStatus.Ok), answer);
    }

    private void Status(FakeLink link, FrameHeader header, byte[] body)
    {
        Assert.True(ClientReadBody.TryDecode(body, out var query));
        if (Refused(link, header, FrameKind.ClientStatusReply, query.Session)) return;
        var answer = new byte[4 + (16 * (int)query.Range.Count)];
        var writer = new BodyWriter(answer);
        writer.U32(query.Range.Count);
        for (var block = query.Range.First; block < query.Range.End; block++)
        {
            writer.U64(block);
            writer.U32(1);
            writer.U32(_blocks.ContainsKey(block) ? 1u : 0);
        }
        link.ToClient(FrameHeader.Of(FrameKind.ClientStatusReply, volume, Epoch, header.RequestId, status: IoStatus.Ok), answer);
    }

    private static byte[] Encoded(SessionWindows windows)
    {
        var bytes = new byte[windows.EncodedBytes];
        return bytes[..windows.Encode(bytes)];
    }
}

/// <summary>One connection between a session and the fake owner, both directions in order, until it is cut.</summary>
internal sealed class FakeLink(FakeOwner owner, IOwnerEvents events) : IOwnerLink
{
    private static ulong _generations;
    private readonly Queue<(FrameHeader Header, byte[] Body)> _in = new();
    private readonly Queue<(FrameHeader Header, byte[] Body)> _out = new();

    public NodeId Peer => owner.Node;

    public ulong Generation { get; } = ++_generations;

    public bool IsUp { get; private set; } = true;

    public long QueuedBytes => 0;

    public int ToOwnerCount => _in.Count;

    public void Send(FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (!IsUp) return;
        header.Seal(body);
        _in.Enqueue((header, body.ToArray()));
        owner.Woken();
    }

    /// <summary>As within a process: the receiver gets the very buffer, and an owner writes epoch and sequence into it.</summary>
    public void Send(FrameHeader header, IoBuffer body)
    {
        if (!IsUp) return;
        if (!FrameKinds.CarriesRecord(header.Kind))
        {
            Send(header, body.Span);
            return;
        }
        header.Flags |= FrameFlags.SelfChecked;
        header.Seal(body.Span);
        _in.Enqueue((header, body.Span.ToArray()));
        Assert.Equal(IoStatus.Ok, RecordHeader.TryDecode(body.Span, out var record));
        (record.Epoch, record.Sequence) = (owner.Epoch, 77);
        record.Encode(body.Span);
        owner.Woken();
    }

    public void Close() => IsUp = false;

    /// <summary>Both directions lose what is under way; the session is told.</summary>
    public void Cut()
    {
        _in.Clear();
        _out.Clear();
        if (!IsUp) return;
        IsUp = false;
        events.OnLinkLost(this, "cut by the test");
    }

    public bool StepIn()
    {
        if (!_in.TryDequeue(out var frame)) return false;
        owner.Handle(this, frame.Header, frame.Body);
        return true;
    }

    public bool StepOut()
    {
        if (!_out.TryDequeue(out var frame)) return false;
        if (IsUp) events.OnFrame(this, in frame.Header, frame.Body, null);
        return true;
    }

    /// <summary>The first answer under way arrives twice.</summary>
    public void Duplicate()
    {
        if (_out.TryPeek(out var frame)) _out.Enqueue(frame);
    }

    public void ToClient(FrameHeader header, byte[] body)
    {
        if (!IsUp) return;
        header.Seal(body);
        _out.Enqueue((header, body));
    }
}
