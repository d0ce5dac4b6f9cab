using Cluster.Csi.Client;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Tests.Unit.Fakes;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Unit.Client;

public partial class VolumeSessionSpecs
{
    private const int Block = Limits.BlockBytes;
    private readonly FakeLoop _loop = new();
    private readonly FakeGateway _gateway;
    private readonly VolumeSessions _sessions;
    private readonly VolumeSession _session;

    public VolumeSessionSpecs()
    {
        _gateway = new FakeGateway(_loop, 64UL << 20);
        _sessions = new VolumeSessions(_gateway, NullLoggerFactory.Instance);
        _session = Open().Session!;
    }

    private FakeOwner Owner => _gateway.Owner;

    private VolumeOpen Open(string name = "vol")
    {
        var open = _sessions.OpenAsync(name);
        _loop.RunUntil(() =>
        {
            Owner.Settle();
            return open.IsCompleted;
        });
        return open.Result;
    }

    private static byte[] Pattern(int length, byte value = 0x5a)
    {
        var bytes = new byte[length];
        bytes.AsSpan().Fill(value);
        return bytes;
    }

    private ProbeRequest Submit(ProbeRequest request)
    {
        _session.Submit(request);
        return request;
    }

    private ProbeRequest Do(ProbeRequest request)
    {
        Submit(request);
        Owner.Settle();
        Assert.True(request.IsDone);
        return request;
    }

    private byte[] ReadBack(ulong offset, int length)
    {
        var read = Do(ProbeRequest.Of(BlockOperation.Read, offset, (ulong)length));
        Assert.Equal(IoStatus.Ok, read.Status);
        return read.Data.ToArray();
    }

    private int Sent(FrameKind kind) => Owner.Arrived.Count(frame => frame.Header.Kind == kind);

    [Fact(DisplayName = "A volume that nobody has is refused with the reason of the look-up")]
    public void Unknown_volume()
    {
        var open = Open("nope");
        Assert.Null(open.Session);
        Assert.Equal("there is no volume nope", open.Reason);
    }

    [Fact(DisplayName = "All who open a volume share one session, which ends with the last of them")]
    public void Shared()
    {
        Assert.Same(_session, Open().Session);
        _session.Close();
        Assert.True(_session.IsReady);
        Assert.Equal(0, Sent(FrameKind.SessionClose));
        _session.Close();
        Owner.Settle();
        Assert.Equal(1, Sent(FrameKind.SessionClose));
        Assert.Empty(_sessions.Snapshot());
        Assert.NotSame(_session, Open().Session);
    }

    [Fact(DisplayName = "An exclusive attachment to another node is refused by name")]
    public void Attached_elsewhere()
    {
        var elsewhere = new Attachment(3, AttachmentMode.Exclusive, new NodeId(Guid.NewGuid()), "node-9");
        _gateway.Info = _gateway.Info with { Attachment = elsewhere };
        var open = Open();
        Assert.Equal(IoStatus.StaleSession, open.Status);
        Assert.Contains("node-9", open.Reason, StringComparison.Ordinal);
    }

    [Theory(DisplayName = "What is written at any offset and length is read back, and nothing beside it changes")]
    [InlineData(0, Block)]
    [InlineData(0, 512)]
    [InlineData(512, 512)]
    [InlineData(3584, 1024)]
    [InlineData(1, 1)]
    [InlineData(4095, 2)]
    [InlineData(4095, 8194)]
    [InlineData(100, 300_000)]
    [InlineData(0, 1 << 20)]
    public void Any_range(ulong offset, int length)
    {
        var before = Pattern(2 << 20, 0x11);
        Do(ProbeRequest.Write(0, before));
        Assert.Equal(IoStatus.Ok, Do(ProbeRequest.Write(offset, Pattern(length))).Status);
        Pattern(length).CopyTo(before, (int)offset);
        Assert.Equal(before, ReadBack(0, before.Length));
    }

    [Theory(DisplayName = "Trim and zeroes of any range read back as zeroes; whole blocks are one record without payload")]
    [InlineData(BlockOperation.Trim, 0, 1 << 20, 1)]
    [InlineData(BlockOperation.WriteZeroes, 0, 1 << 20, 1)]
    [InlineData(BlockOperation.Trim, 100, 200_000, 3)]
    [InlineData(BlockOperation.WriteZeroes, 4000, 200, 2)]
    public void Zeroing(BlockOperation operation, ulong offset, ulong length, int records)
    {
        var before = Pattern(2 << 20, 0x22);
        Do(ProbeRequest.Write(0, before));
        var writes = Sent(FrameKind.ClientWrite);
        Assert.Equal(IoStatus.Ok, Do(ProbeRequest.Of(operation, offset, length)).Status);
        Assert.Equal(records, Sent(FrameKind.ClientWrite) - writes);
        before.AsSpan((int)offset, (int)length).Clear();
        Assert.Equal(before, ReadBack(0, before.Length));
    }

    [Fact(DisplayName = "The flags of a request are on its records: FUA on whole blocks and on parts, NO_HOLE on zeroes")]
    public void Flags()
    {
        Do(ProbeRequest.Write(100, Pattern(8192), forced: true));
        var zeroes = ProbeRequest.Of(BlockOperation.WriteZeroes, 0, Block);
        zeroes.NoHole = true;
        Do(zeroes);
        var records = Owner.Arrived.Where(frame => frame.Header.Kind == FrameKind.ClientWrite).Select(frame =>
        {
            Assert.Equal(IoStatus.Ok, RecordHeader.TryDecode(frame.Body, out var record));
            return record;
        }).ToList();
        Assert.Equal(4, records.Count);
        Assert.All(records[..3], record => Assert.True((record.Flags & RecordFlags.ForceUnitAccess) != 0));
        Assert.Equal((RecordKind.Zeroes, RecordFlags.NoHole), (records[3].Kind, records[3].Flags));
    }

    [Fact(DisplayName = "Requests outside the volume, and of no length, are OutOfRange and never sent")]
    public void Out_of_range()
    {
        var before = Owner.Arrived.Count;
        Assert.Equal(IoStatus.OutOfRange, Do(ProbeRequest.Of(BlockOperation.Read, 64UL << 20, 1)).Status);
        Assert.Equal(IoStatus.OutOfRange, Do(ProbeRequest.Of(BlockOperation.Trim, ulong.MaxValue, 2)).Status);
        Assert.Equal(IoStatus.OutOfRange, Do(ProbeRequest.Of(BlockOperation.Trim, 0, 0)).Status);
        Assert.Equal(before, Owner.Arrived.Count);
    }

    [Fact(DisplayName = "Status tells what holds data, cut to the range asked for")]
    public void Status()
    {
        Do(ProbeRequest.Write(Block, Pattern(Block)));
        var status = Do(ProbeRequest.Of(BlockOperation.Status, 100, 8092));
        Assert.Equal([new AllocationExtent(100, 3996, false), new AllocationExtent(4096, 4096, true)], status.Extents!);
    }

    [Fact(DisplayName = "A lost owner is a pause: what is unanswered goes again under the same id, and is applied once")]
    public void Replay()
    {
        var write = Submit(ProbeRequest.Write(0, Pattern(Block)));
        Owner.Link!.StepIn();
        Owner.Kill(survive: 1);
        Assert.False(write.IsDone);
        Owner.Settle();
        Assert.Equal(IoStatus.Ok, write.Status);
        Assert.Equal(1, Owner.Replays);
        Assert.All(Owner.CommitsOfStamp, pair => Assert.Equal(1, pair.Value));
        Assert.Equal((1, 1), (_session.Statistics.Replayed, _session.Statistics.LinksLost));
    }

    [Fact(DisplayName = "A record is sent again from a copy, since its first receiver may still use the bytes")]
    public void Replay_from_a_copy()
    {
        var write = Submit(ProbeRequest.Write(0, Pattern(Block)));
        Owner.Kill(survive: 0);
        Owner.Settle();
        Assert.Equal(IoStatus.Ok, write.Status);
        Assert.Equal(0, Owner.Replays);
    }

    [Fact(DisplayName = "Reads, flushes and status queries in flight are asked again of the next owner")]
    public void Replay_of_the_others()
    {
        Do(ProbeRequest.Write(0, Pattern(Block)));
        var read = Submit(ProbeRequest.Of(BlockOperation.Read, 0, Block));
        var flush = Submit(ProbeRequest.Of(BlockOperation.Flush, 0, 0));
        var status = Submit(ProbeRequest.Of(BlockOperation.Status, 0, Block));
        Owner.Kill(survive: 0);
        Owner.Settle();
        Assert.All([read, flush, status], request => Assert.Equal(IoStatus.Ok, request.Status));
        Assert.Equal(Pattern(Block), read.Data.ToArray());
        Assert.Equal(1, Owner.Flushes);
    }

    [Theory(DisplayName = "Statuses of an owner that can't serve now hold the I/O until one can")]
    [InlineData(IoStatus.Offline)]
    [InlineData(IoStatus.NotOwner)]
    [InlineData(IoStatus.StaleEpoch)]
    [InlineData(IoStatus.Busy)]
    public void Transient(IoStatus status)
    {
        Owner.Refusal = status;
        var write = Submit(ProbeRequest.Write(0, Pattern(Block)));
        for (var round = 0; round < 20; round++)
        {
            Owner.Settle();
            _loop.Advance(ClientLimits.ReconnectMsMax);
        }
        Assert.False(write.IsDone);
        Owner.Refusal = null;
        _loop.Advance(ClientLimits.ReconnectMsMax);
        Owner.Settle();
        Assert.Equal(IoStatus.Ok, write.Status);
    }

    [Fact(DisplayName = "The owner is looked for at once, then with growing pauses of at most 250 ms")]
    public void Backoff()
    {
        _gateway.Absent = IoStatus.Offline;
        _gateway.Connects.Clear();
        Submit(ProbeRequest.Of(BlockOperation.Flush, 0, 0));
        var lostAt = _loop.NowMs;
        Owner.Kill(survive: 0);
        _loop.Run();
        for (var ms = 0; ms < 3000; ms++) _loop.Advance(1);
        Assert.Equal(lostAt, _gateway.Connects[0]);
        var pauses = _gateway.Connects.Zip(_gateway.Connects.Skip(1), (a, b) => b - a).ToList();
        Assert.InRange(pauses[0], 2, 5);
        Assert.All(pauses, pause => Assert.InRange(pause, 1, ClientLimits.ReconnectMsMax));
        Assert.All(pauses[8..], pause => Assert.InRange(pause, ClientLimits.ReconnectMsMax / 2, ClientLimits.ReconnectMsMax));
    }

    [Fact(DisplayName = "An owner that does not answer SessionOpen is looked for anew")]
    public void Silent_owner()
    {
        Submit(ProbeRequest.Of(BlockOperation.Flush, 0, 0));
        Owner.Kill(survive: 0);
        _loop.Run();
        var silent = Owner.Link;
        Assert.Equal(1, silent!.ToOwnerCount);
        _loop.Advance(ClientLimits.SessionOpenMs);
        _loop.Advance(ClientLimits.ReconnectMsMax);
        Assert.NotSame(silent, Owner.Link);
    }

    [Fact(DisplayName = "I/O fails with HoldExpired only after the volume's hold time, and later I/O works again")]
    public void Hold_time()
    {
        _gateway.Absent = IoStatus.Offline;
        var write = Submit(ProbeRequest.Write(0, Pattern(Block)));
        Owner.Kill(survive: 0);
        _loop.Advance(59_999);
        Assert.False(write.IsDone);
        _loop.Advance(1 + ClientLimits.HoldCheckMs);
        Assert.Equal(IoStatus.HoldExpired, write.Status);
        _gateway.Absent = null;
        _loop.Advance(ClientLimits.ReconnectMsMax);
        Assert.Equal(IoStatus.Ok, Do(ProbeRequest.Write(Block, Pattern(Block))).Status);
        Assert.False(Owner.Holds(0));
    }

    [Fact(DisplayName = "A fenced session fails its I/O, and a new open makes another session")]
    public void Fenced()
    {
        var write = Submit(ProbeRequest.Write(0, Pattern(Block)));
        Owner.Notice(IoStatus.StaleSession);
        Owner.Link!.StepOut();
        _loop.RunUntil(() => write.IsDone);
        Assert.Equal(IoStatus.StaleSession, write.Status);
        Assert.Equal(IoStatus.StaleSession, Do(ProbeRequest.Of(BlockOperation.Flush, 0, 0)).Status);
        var next = Open().Session!;
        Assert.NotSame(_session, next);
        Assert.NotEqual(_session.Session, next.Session);
    }

    [Fact(DisplayName = "When the attachment moved on and allows this node, unsent I/O goes on under its generation; sent writes fail")]
    public void New_generation()
    {
        var sent = Submit(ProbeRequest.Write(0, Pattern(Block)));
        var read = Submit(ProbeRequest.Of(BlockOperation.Read, 0, Block));
        _gateway.Info = _gateway.Info with { Attachment = new Attachment(1, AttachmentMode.Exclusive, _gateway.Node, "node-0") };
        Owner.Generation = 1;
        Owner.Notice(IoStatus.StaleSession);
        Owner.Link!.StepOut();
        var late = Submit(ProbeRequest.Write(Block, Pattern(Block)));
        _loop.RunUntil(() =>
        {
            Owner.Settle();
            return late.IsDone && read.IsDone;
        });
        Assert.Equal((IoStatus.StaleSession, IoStatus.Ok, IoStatus.Ok), (sent.Status, read.Status, late.Status));
        Assert.Equal(1UL, _session.Session.Generation);
    }

    [Theory(DisplayName = "A deleted volume fails its I/O for good, however it is told")]
    [InlineData(true)]
    [InlineData(false)]
    public void Deleted(bool byNotice)
    {
        var write = Submit(ProbeRequest.Write(0, Pattern(Block)));
        if (byNotice)
        {
            Owner.Notice(IoStatus.Deleted);
            Owner.Link!.StepOut();
        }
        else
        {
            _gateway.Absent = IoStatus.Deleted;
            Owner.Kill(survive: 0);
        }
        _loop.Run();
        Assert.Equal(IoStatus.Deleted, write.Status);
        Assert.True(_session.IsOver);
    }

    [Fact(DisplayName = "A notice of a new size is believed at once")]
    public void Resize()
    {
        Owner.Notice(IoStatus.Ok, 128UL << 20);
        Owner.Settle();
        Assert.Equal(128UL << 20, _session.SizeBytes);
        Assert.Equal(IoStatus.Ok, Do(ProbeRequest.Write(100UL << 20, Pattern(Block))).Status);
    }

    [Fact(DisplayName = "A block that fails its checksum is asked for again, and the read fails only when it stays bad")]
    public void Bad_checksum()
    {
        Do(ProbeRequest.Write(0, Pattern(Block)));
        var spoiled = 0;
        Owner.Spoil = bytes =>
        {
            if (++spoiled < ClientLimits.ReadAttemptsMax) bytes[^1] ^= 1;
        };
        Assert.Equal(Pattern(Block), ReadBack(0, Block));
        Owner.Spoil = bytes => bytes[^1] ^= 1;
        Assert.Equal(IoStatus.BadChecksum, Do(ProbeRequest.Of(BlockOperation.Read, 0, Block)).Status);
        Assert.Equal(IoStatus.BadChecksum, Do(ProbeRequest.Write(5, Pattern(5))).Status);
        Owner.Spoil = null;
        Assert.Equal(IoStatus.Ok, Do(ProbeRequest.Write(5, Pattern(5))).Status);
    }

    [Fact(DisplayName = "An answer that does not decode costs the link, not the I/O")]
    public void Malformed_answer()
    {
        Do(ProbeRequest.Write(0, Pattern(Block)));
        var link = Owner.Link;
        var once = true;
        Owner.Spoil = bytes =>
        {
            if (once) bytes[2] = 0xff;
            once = false;
        };
        Assert.Equal(Pattern(Block), ReadBack(0, Block));
        Assert.NotSame(link, Owner.Link);
    }

    [Fact(DisplayName = "Sectors of one block written together are merged, and all of them are there (R15)")]
    public void Sectors_of_one_block()
    {
        var writes = Enumerable.Range(0, 8)
            .Select(index => Submit(ProbeRequest.Write((ulong)index * 512, Pattern(512, (byte)(index + 1))))).ToList();
        Owner.Settle();
        Assert.All(writes, write => Assert.Equal(IoStatus.Ok, write.Status));
        var block = ReadBack(0, Block);
        for (var at = 0; at < Block; at++) Assert.Equal((at / 512) + 1, block[at]);
        Assert.Equal(0, Owner.Conflicts);
        Assert.InRange(Sent(FrameKind.ClientWrite), 1, 2);
    }

    [Fact(DisplayName = "A block that changed between the read and the write is read again: no update is lost (R15)")]
    public void Conflict()
    {
        var write = Submit(ProbeRequest.Write(0, Pattern(512, 0xaa)));
        Owner.Link!.StepIn();
        Owner.Overwrite(0, 0x33);
        Owner.Settle();
        Assert.Equal(IoStatus.Ok, write.Status);
        Assert.Equal(1, Owner.Conflicts);
        Assert.Equal([.. Pattern(512, 0xaa), .. Pattern(Block - 512, 0x33)], ReadBack(0, Block));
    }

    [Fact(DisplayName = "The tail of a log is read once: later partial writes of the block know its content, unless someone else wrote")]
    public void Known_content()
    {
        for (ulong sector = 0; sector < 4; sector++) Do(ProbeRequest.Write(sector * 512, Pattern(512, 1)));
        Assert.Equal(1, Sent(FrameKind.ClientRead));
        Owner.Overwrite(0, 0x44);
        Do(ProbeRequest.Write(4 * 512, Pattern(512, 2)));
        Assert.Equal(1, Owner.Conflicts);
        Assert.Equal([.. Pattern(2048, 0x44), .. Pattern(512, 2), .. Pattern(1536, 0x44)], ReadBack(0, Block));
    }

    [Fact(DisplayName = "A conditional write that was applied and whose answer was lost counts once")]
    public void Lost_answer_of_a_partial_write()
    {
        var write = Submit(ProbeRequest.Write(0, Pattern(512, 0xbb)));
        Owner.Link!.StepIn();
        Owner.Link.StepOut();
        Owner.Link.StepIn();
        Owner.Kill(survive: 1);
        Owner.Settle();
        Assert.Equal(IoStatus.Ok, write.Status);
        Assert.Equal((1, 0), (Owner.Replays, Owner.Conflicts));
        Do(ProbeRequest.Write(512, Pattern(512, 0xcc)));
        Assert.Equal([.. Pattern(512, 0xbb), .. Pattern(512, 0xcc), .. new byte[3072]], ReadBack(0, Block));
    }

    [Fact(DisplayName = "What is unanswered stays within the window and the bytes, and the rest follows in order")]
    public void Bounds()
    {
        var writes = Enumerable.Range(0, 1500)
            .Select(index => Submit(ProbeRequest.Of(BlockOperation.Trim, (ulong)index * Block, Block))).ToList();
        Assert.Equal(Limits.SessionWindowRequestsMax - 1, Owner.Link!.ToOwnerCount, 1.0);
        Owner.Settle();
        Assert.All(writes, write => Assert.Equal(IoStatus.Ok, write.Status));
        var large = Enumerable.Range(0, 200)
            .Select(index => Submit(ProbeRequest.Of(BlockOperation.Read, (ulong)index * 262_144, 262_144))).ToList();
        Assert.Equal(Limits.SessionBytesMax / 262_144, Owner.Link.ToOwnerCount);
        Owner.Settle();
        Assert.All(large, read => Assert.Equal(IoStatus.Ok, read.Status));
    }

    [Fact(DisplayName = "R21: trims pass writes that fill the session's bytes, or all ids that writes may have: one of them may make the room that those wait for. They have a bound, and neither writes nor flushes pass")]
    public void Trims_pass()
    {
        const int large = 1 << 20;
        var bytes = new byte[large];
        new Random(1).NextBytes(bytes);
        var requests = Enumerable.Range(0, 40).Select(index => Submit(ProbeRequest.Write((ulong)index * large, bytes))).ToList();
        var sent = Owner.Link!.ToOwnerCount;
        requests.Add(Submit(ProbeRequest.Write(50 * large, bytes[..Block])));
        requests.Add(Submit(ProbeRequest.Of(BlockOperation.Flush, 0, 0)));
        Assert.Equal(sent, Owner.Link.ToOwnerCount);
        requests.Add(Submit(ProbeRequest.Of(BlockOperation.Trim, 0, 2 * large)));
        requests.Add(Submit(ProbeRequest.Of(BlockOperation.WriteZeroes, 60 * large, Block)));
        Assert.Equal(sent + 2, Owner.Link.ToOwnerCount);
        Owner.Settle();
        Assert.All(requests, request => Assert.Equal(IoStatus.Ok, request.Status));
        Assert.Equal(new byte[Block], Owner.Content(0));
        Assert.Equal(bytes[..Block], Owner.Content(39 * large / Block));

        requests = [.. Enumerable.Range(0, 1200).Select(index => Submit(ProbeRequest.Write((ulong)index * Block, Pattern(Block))))];
        Assert.Equal(Limits.SessionWindowRequestsMax - ClientLimits.TrimsReserved, Owner.Link.ToOwnerCount);
        for (var number = 0; number < 2 * ClientLimits.TrimsReserved; number++) requests.Add(Submit(ProbeRequest.Of(BlockOperation.Trim, (ulong)(5000 + number) * Block, Block)));
        requests.Insert(1100, Submit(ProbeRequest.Of(BlockOperation.Trim, (9000UL * Block) + 512, 3 * Block)));
        requests[^1].Abandoned = true;
        Assert.Equal(Limits.SessionWindowRequestsMax, Owner.Link.ToOwnerCount);
        Owner.Settle();
        Assert.All(requests.SkipLast(1), request => Assert.Equal(IoStatus.Ok, request.Status));
        Assert.True(requests[^1].IsDone);
        Assert.Equal(0, _session.Pending);
    }

    [Fact(DisplayName = "What a client that is gone left unsent or unanswered is not sent again")]
    public void Abandoned()
    {
        var write = Submit(ProbeRequest.Write(0, Pattern(Block)));
        var part = Submit(ProbeRequest.Write(Block, Pattern(512)));
        write.Abandoned = part.Abandoned = true;
        Owner.Kill(survive: 0);
        Owner.Settle();
        Assert.True(write.IsDone && part.IsDone);
        Assert.False(Owner.Holds(0) || Owner.Holds(1));
        Assert.Equal(IoStatus.Ok, Do(ProbeRequest.Write(0, Pattern(Block, 9))).Status);
    }

    [Fact(DisplayName = "A session whose users are gone waits for what is in flight, then closes")]
    public void Close_with_io_in_flight()
    {
        var write = Submit(ProbeRequest.Write(0, Pattern(Block)));
        _session.Close();
        Assert.False(_session.IsOver);
        Owner.Settle();
        Assert.Equal(IoStatus.Ok, write.Status);
        Assert.True(_session.IsOver);
        Assert.Equal(1, Sent(FrameKind.SessionClose));
    }

    [Fact(DisplayName = "A session that ends while an owner opens it says so: the owner would count its node among the volume's users")]
    public void Close_while_it_opens()
    {
        Owner.Kill(survive: 0);
        _loop.Run();
        Assert.False(_session.IsReady);
        Assert.Equal(1, Owner.Link!.ToOwnerCount);
        _session.Close();
        Assert.True(_session.IsOver);
        Owner.Settle();
        Assert.Equal([FrameKind.SessionOpen, FrameKind.SessionClose], Owner.Arrived.TakeLast(2).Select(frame => frame.Header.Kind));
    }

    [Fact(DisplayName = "A request that the owner has no room for goes again after pauses that grow as long as nothing else is answered")]
    public void Busy_pauses()
    {
        Owner.Refusal = IoStatus.Busy;
        var write = Submit(ProbeRequest.Write(0, Pattern(Block)));
        var times = new List<long>();
        for (var seen = 0; times.Count < 9; _loop.Advance(1))
        {
            Owner.Settle();
            if (Sent(FrameKind.ClientWrite) == seen) continue;
            seen = Sent(FrameKind.ClientWrite);
            times.Add(_loop.NowMs);
        }
        long[] pauses = [.. times.Zip(times.Skip(1), (one, next) => next - one)];
        Assert.InRange(pauses[0], ClientLimits.BusyPauseMs, ClientLimits.BusyPauseMs + 1);
        Assert.Equal([.. pauses.Order()], pauses);
        Assert.InRange(pauses[^1], ClientLimits.BusyPauseMsMax, ClientLimits.BusyPauseMsMax + 1);
        Owner.Refusal = null;
        _loop.Advance(ClientLimits.BusyPauseMsMax);
        Owner.Settle();
        Assert.Equal(IoStatus.Ok, write.Status);
        Owner.Refusal = IoStatus.Busy;
        Submit(ProbeRequest.Write(0, Pattern(Block)));
        Owner.Settle();
        var before = Sent(FrameKind.ClientWrite);
        _loop.Advance(ClientLimits.BusyPauseMs);
        Owner.Settle();
        Assert.Equal(before + 1, Sent(FrameKind.ClientWrite));
        Owner.Refusal = null;
        _loop.Advance(ClientLimits.BusyPauseMsMax);
        Owner.Settle();
    }

    [Fact(DisplayName = "Of requests that the owner has no room for one goes again at a time; once it takes them what goes doubles with each answer")]
    public void Busy_window()
    {
        const int Writes = 64;
        Owner.Refusal = IoStatus.Busy;
        var writes = Enumerable.Range(0, Writes).Select(index => Submit(ProbeRequest.Write((ulong)index * Block, Pattern(Block)))).ToArray();
        Owner.Settle();
        Assert.Equal(Writes, Sent(FrameKind.ClientWrite));
        for (var round = 1; round <= 10; round++)
        {
            for (var before = Sent(FrameKind.ClientWrite); Sent(FrameKind.ClientWrite) == before; Owner.Settle()) _loop.Advance(1);
            Assert.Equal(Writes + round, Sent(FrameKind.ClientWrite));
        }
        Owner.Refusal = null;
        _loop.Advance(ClientLimits.BusyPauseMsMax);
        Owner.Settle();
        Assert.All(writes, write => Assert.Equal(IoStatus.Ok, write.Status));
        Assert.Equal(Writes + 10 + Writes, Sent(FrameKind.ClientWrite));
    }

    [Fact(DisplayName = "The longest gap is the pause that a waiting client saw, the one under way included")]
    public void Gap()
    {
        Do(ProbeRequest.Of(BlockOperation.Flush, 0, 0));
        _loop.Advance(10_000);
        Submit(ProbeRequest.Of(BlockOperation.Flush, 0, 0));
        _loop.Advance(1234);
        Assert.Equal(1234, _session.LongestGapMs);
        Owner.Settle();
        Assert.Equal(1234, _session.Statistics.LongestGapMs);
        _loop.Advance(5000);
        Assert.Equal(1234, _session.LongestGapMs);
        Assert.Equal(2, _session.Statistics.Count(BlockOperation.Flush));
    }

    [Fact(DisplayName = "Completing a request may submit the next one")]
    public void Reentrant()
    {
        var done = 0;
        void Next(ProbeRequest request)
        {
            if (++done == 100) return;
            Submit(new ProbeRequest { Operation = BlockOperation.Trim, LengthBytes = 512, OffsetBytes = (ulong)done * 512, Then = Next });
        }
        Submit(new ProbeRequest { Operation = BlockOperation.Trim, LengthBytes = 512, Then = Next });
        Owner.Settle();
        Assert.Equal(100, done);
    }
}
