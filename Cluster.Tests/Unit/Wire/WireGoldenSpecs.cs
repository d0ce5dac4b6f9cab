using Cluster.Csi.Client;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Tests.Unit.Wire;

/// <summary>
/// Bytes of version 1, pinned in Golden/Mesh/wire-v1.txt: "name hex" per line. A line never changes; a new layout gets
/// a new version and new lines.
/// </summary>
public class WireGoldenSpecs
{
    private delegate bool Decoder<T>(ReadOnlySpan<byte> from, out T body);

    private static readonly Guid One = new("01020304-0506-0708-090a-0b0c0d0e0f10");
    private static readonly Guid Two = new("11121314-1516-1718-191a-1b1c1d1e1f20");
    private static readonly Guid Three = new("21222324-2526-2728-292a-2b2c2d2e2f30");
    /// <summary>Of a marker's payload with two sequences.</summary>
    private const int MarkerBytes = 32;

    private static readonly SessionId Session = new(0x1112131415161718, 0x2122232425262728);

    private static readonly IReadOnlyDictionary<string, string> Golden =
        File.ReadAllLines(Path.Combine(AppContext.BaseDirectory, "Golden/Mesh/wire-v1.txt"))
            .Where(line => line.Length > 0 && line[0] != '#').Select(line => line.Split(' '))
            .ToDictionary(parts => parts[0], parts => parts[1]);

    [Fact(DisplayName = "Bodies between front end and owner")]
    public void Client_bodies()
    {
        Pin("session-open", new SessionOpenBody(Session, 0x31, 0x32, 0x33), (body, to) => body.Encode(to), SessionOpenBody.TryDecode);
        var opened = new SessionOpenedBody(1UL << 40, 0x41, 300_000, true, false);
        Pin("session-opened", opened, (body, to) => body.Encode(to), SessionOpenedBody.TryDecode);
        Pin("session-opened-caches", opened with { Caches = true }, (body, to) => body.Encode(to), SessionOpenedBody.TryDecode);
        var read = new ClientReadBody(Session, new BlockRange(0x515253545556, 64));
        Pin("client-read", read, (body, to) => body.Encode(to), ClientReadBody.TryDecode);
        Pin("client-flush", new ClientFlushBody(Session, 0x61), (body, to) => body.Encode(to), ClientFlushBody.TryDecode);
        Pin("client-ack", new ClientAckBody(0x71, 0x70, 0x72), (body, to) => body.Encode(to), ClientAckBody.TryDecode);
        Pin("sequence", new SequenceBody(0x81), (body, to) => body.Encode(to), SequenceBody.TryDecode);
    }

    [Fact(DisplayName = "A read by a front end that has the first of two blocks; any other length, and a range of none or too many blocks, is refused")]
    public void Cached_read()
    {
        var range = new BlockRange(0x515253545556, 2);
        var known = new KnownBlocks();
        var block = BufferPool.Shared.Rent(1);
        known.Add(0, new ReadDescriptor(default, 0x61), block);
        var encoded = known.Encode(Session, range);
        Check("client-read-cached", encoded.Span.ToArray());
        encoded.Release();
        known.Release();
        var golden = Convert.FromHexString(Golden["client-read-cached"]);
        var sequences = new ulong[Limits.RecordBlocksMax];
        Assert.True(CachedReadBody.TryDecode(golden, sequences, out var body));
        Assert.Equal((new ClientReadBody(Session, range), 0x61UL, 0UL), (body.Read, sequences[0], sequences[1]));
        for (var length = 0; length < golden.Length; length++) Assert.False(CachedReadBody.TryDecode(golden.AsSpan(0, length), sequences, out _), $"cut to {length} B");
        Assert.False(CachedReadBody.TryDecode([.. golden, 0], sequences, out _));
        foreach (var count in new uint[] { 0, Limits.RecordBlocksMax + 1 })
        {
            var bytes = new byte[CachedReadBody.EncodedBytes(count)];
            new ClientReadBody(Session, range with { Count = count }).Encode(bytes);
            Assert.False(CachedReadBody.TryDecode(bytes, sequences, out _), $"of {count} blocks");
        }
    }

    [Fact(DisplayName = "A block that the front end has: no descriptor but its mark, and the sequence")]
    public void Same_block()
    {
        var bytes = new byte[ReadDescriptor.SizeBytes];
        ReadDescriptor.Same(0x62).Write(bytes);
        Check("read-same", bytes);
        Assert.Equal(ReadDescriptor.Same(0x62), ReadDescriptor.Read(bytes));
    }

    [Fact(DisplayName = "Bodies between owner and replica")]
    public void Replica_bodies()
    {
        var promised = new PromisedBody(One, Two, new StoreOpens(1, [0x51, 0x52]), 2, 3, 4, 5, 6, 7, 8, true, 1010, 9, 10, 11, new StoreOpenStamp(0x53, 0x54));
        Pin("promised", promised, (body, to) => body.Encode(to), PromisedBody.TryDecode);
        Pin("append-ack", new AppendAckBody(0x11, 0x10, 0x12, 0x1300), (body, to) => body.Encode(to), AppendAckBody.TryDecode);
        Pin("fetch-tail", new FetchTailBody(0x21, 0x22), (body, to) => body.Encode(to), FetchTailBody.TryDecode);
        Pin("catch-up", new CatchUpBody(0x31, 0x32, 0x33, false, 0x34, 0x35, 0x36), (body, to) => body.Encode(to), CatchUpBody.TryDecode);
        Pin("block-range", new BlockRangeBody(new BlockRange(0x515253545556, 64)), (body, to) => body.Encode(to), BlockRangeBody.TryDecode);
        Pin("block-range-snapshot", new BlockRangeBody(new BlockRange(0x515253545556, 64), 0x57), (body, to) => body.Encode(to), BlockRangeBody.TryDecode);
        Pin("scrub-report", new ScrubReportBody(0x61, 0x62, 0x63, 0x64), (body, to) => body.Encode(to), ScrubReportBody.TryDecode);
        var mark = new ScrubMark(new ScrubTally(1, 2, 3, 4, 5), 6, new ScrubTally(7, 8, 9, 10, 11), 12);
        Pin("scrub-mark", mark, (body, to) => body.Encode(to), ScrubMark.TryDecode);
        var promise = new PromiseBody(new NodeId(One), new ReplicaId(0x0102, 3), Two, true, [0xAA, 0xBB]);
        Pin("promise", promise, (body, to) => body.Encode(to), PromiseBody.TryDecode,
            (left, right) => left with { Spec = right.Spec } == right && left.Spec.SequenceEqual(right.Spec));
        var member = new StampedMember(new ReplicaPlacement(new ReplicaId(0x0102, 3), new NodeId(Two), "n1", Three), One, 0x44, true, 0x45);
        var stamp = new StampBody(One, 0x41, 0x43, 0x42, true, [0xCC], [member]);
        Pin("stamp", stamp, (body, to) => body.Encode(to), StampBody.TryDecode,
            (left, right) => left with { Spec = right.Spec, Members = right.Members } == right && left.Spec.SequenceEqual(right.Spec)
                && left.Members.SequenceEqual(right.Members));
    }

    [Fact(DisplayName = "Bodies of the handshake")]
    public void Handshake_bodies()
    {
        var hello = new HelloBody(1, 2, true, new MeshFeatures(0x11, 0x12, 0x13), One, Two, new NodeId(Three), new NodeId(One), "node-0");
        Pin("hello", hello, (body, to) => body.Encode(to), HelloBody.TryDecode);
        Pin("refuse", new RefuseBody(RefuseReason.OtherCluster, "no"), (body, to) => body.Encode(to), RefuseBody.TryDecode);
    }

    [Fact(DisplayName = "What an owner tells all nodes: that it serves, has ended, or has left the volume to them")]
    public void Owner_frames()
    {
        CheckFrame("owner-serves", FrameHeader.Of(FrameKind.OwnerServes, new VolumeId(0x21), 0x22));
        CheckFrame("owner-ended", FrameHeader.Of(FrameKind.OwnerEnded, new VolumeId(0x21), 0x22, argument: (ulong)OwnerEnding.Ended));
        CheckFrame("owner-released", FrameHeader.Of(FrameKind.OwnerEnded, new VolumeId(0x21), 0x22, argument: (ulong)OwnerEnding.Released));
    }

    private static void CheckFrame(string name, FrameHeader header)
    {
        header.Seal([]);
        var bytes = new byte[FrameHeader.SizeBytes];
        header.Encode(bytes);
        Check(name, bytes);
    }

    [Fact(DisplayName = "The frame header")]
    public void Frame_header()
    {
        var header = FrameHeader.Of(FrameKind.AppendAck, new VolumeId(0x0102030405060708), 0x11, 0x12, 0x13, IoStatus.StaleEpoch);
        header.Slice = 0x14151617;
        header.Seal([1, 2, 3]);
        var bytes = new byte[FrameHeader.SizeBytes];
        header.Encode(bytes);
        Check("frame-header", bytes);
        Assert.Equal(IoStatus.Ok, FrameHeader.TryDecode(Convert.FromHexString(Golden["frame-header"]), out var back));
        Assert.Equal(header, back);
        Assert.StartsWith("4D594D46" + "01" + "21" + "03" + "00" + "0807060504030201" + "1100000000000000" + "1200000000000000"
            + "1300000000000000" + "03000000" + "17161514", Convert.ToHexString(bytes));
    }

    [Fact(DisplayName = "Snapshots: a marker in the order, and the list that a catch-up begins with")]
    public void Snapshots()
    {
        Pin("snapshots", new SnapshotsBody([0x31, 0x3233]), (body, to) => body.Encode(to), SnapshotsBody.TryDecode, (left, right) => left.Sequences.SequenceEqual(right.Sequences));
        var record = new SnapshotMarker(true, 0x31, [0x31, 0x3233]).Build(new VolumeId(0x0102030405060708), out var header);
        (header.Epoch, header.Sequence, header.CommitWatermark) = (0x11, 0x4142, 0x4140);
        header.Encode(record.Span);
        Assert.Equal(IoStatus.Ok, RecordHeader.TryDecode(record.Span, out _));
        Assert.True(record.Span[(header.PayloadOffset + MarkerBytes)..].IndexOfAnyExcept((byte)0) < 0, "what follows the sequences is zero");
        // The checksum in the descriptor is of the whole chunk.
        Check("snapshot-marker", record.Span[..(header.PayloadOffset + MarkerBytes)].ToArray());
        record.Release();
        record = new SnapshotMarker(false, 0x31, new BlockSpan(0x4142, 0x51525354), [0x31, 0x3233]).Build(new VolumeId(0x0102030405060708), out header);
        Check("snapshot-marker-part", record.Span.Slice(header.PayloadOffset, MarkerBytes + 16).ToArray());
        record.Release();
    }

    [Fact(DisplayName = "The record header and its descriptors")]
    public void Record_header()
    {
        var record = TestFrames.Record(2, seed: 1)[..(RecordHeader.SizeBytes + (2 * BlockDescriptor.SizeBytes))];
        // The payload comes from a generator that may change; two fixed blocks stand for it.
        var block = new byte[Limits.BlockBytes];
        for (var index = 0; index < 2; index++)
        {
            block.AsSpan().Fill((byte)(index + 1));
            BlockDescriptor.Of(BlockEncoding.Raw, TestFrames.Volume, 0, 0x616263646566 + (ulong)index, block)
                .Write(record.AsSpan(RecordHeader.SizeBytes + (index * BlockDescriptor.SizeBytes)));
        }
        TestFrames.RecordHeaderOf(2).Encode(record);
        Check("record-header", record);
        Assert.Equal(IoStatus.Ok, RecordHeader.TryDecode(Convert.FromHexString(Golden["record-header"]), out var back));
        Assert.Equal(TestFrames.RecordHeaderOf(2), back);
        Assert.StartsWith("4D595252" + "01010101" + "02000000" + "00200000" + "0807060504030201" + "0000000000000000" + "1817161514131211"
            + "2827262524232221" + "3837363534333231" + "4847464544434241" + "5857565554535251" + "0057565554535251" + "6665646362610C07"
            + "02000000" + "74737271", Convert.ToHexString(record));
    }

    [Fact(DisplayName = "A block's descriptor in a read's answer")]
    public void Read_descriptor()
    {
        var descriptor = new ReadDescriptor(new BlockDescriptor(BlockEncoding.Lz4, 0x0123, 0x1112131415161718), 0x2122232425262728);
        var bytes = new byte[ReadDescriptor.SizeBytes];
        descriptor.Write(bytes);
        Check("read-descriptor", bytes);
        Assert.Equal(descriptor, ReadDescriptor.Read(bytes));
    }

    [Fact(DisplayName = "The session windows")]
    public void Session_windows()
    {
        var windows = new SessionWindows();
        windows.Apply(Session, requestId: 0x1003, answeredBelow: 0x1001, sequence: 0x31);
        windows.Apply(new SessionId(1, 1), requestId: 0, answeredBelow: 0, sequence: 0x32);
        var bytes = new byte[windows.EncodedBytes];
        Assert.Equal(bytes.Length, windows.Encode(bytes));
        Check("session-windows", bytes);
    }

    [Fact(DisplayName = "Every line of the golden file is checked by a test")]
    public void No_stale_lines() => Assert.Equal(
        "append-ack block-range block-range-snapshot catch-up client-ack client-flush client-read client-read-cached fetch-tail frame-header hello owner-ended owner-released owner-serves promise promised read-descriptor read-same "
        + "record-header refuse scrub-mark scrub-report sequence session-open session-opened session-opened-caches session-windows snapshot-marker snapshot-marker-part snapshots stamp",
        string.Join(' ', Golden.Keys.Order(StringComparer.Ordinal)));

    private static void Pin<T>(string name, T body, Func<T, byte[], ReadOnlySpan<byte>> encode, Decoder<T> decode,
        Func<T, T, bool>? same = null)
    {
        var bytes = encode(body, new byte[1024]).ToArray();
        Check(name, bytes);
        Assert.True(decode(Convert.FromHexString(Golden[name]), out var back), name);
        Assert.True(same?.Invoke(body, back) ?? Equals(body, back), $"{name}: {body} came back as {back}");
        for (var length = 0; length < bytes.Length; length++)
            Assert.False(decode(bytes.AsSpan(0, length), out _), $"{name} cut to {length} B");
        Assert.False(decode([.. bytes, 0], out _), $"{name} with a byte more");
    }

    private static void Check(string name, byte[] bytes) =>
        Assert.Equal($"{name} {Golden.GetValueOrDefault(name)}", $"{name} {Convert.ToHexString(bytes)}");
}
