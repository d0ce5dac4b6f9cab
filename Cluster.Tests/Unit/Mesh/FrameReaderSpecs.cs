using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Ingress;

namespace Cluster.Tests.Unit.Mesh;

public sealed class FrameReaderSpecs : IDisposable
{
    private readonly BufferPool _pool = new();
    private readonly Sink _sink = new();
    private FrameReader _reader;

    public FrameReaderSpecs() => _reader = new FrameReader(_pool);

    public void Dispose()
    {
        _reader.Dispose();
        Assert.Equal(0, _pool.RentedBytes);
    }

    [Theory(DisplayName = "Frames come out as they went in, however the stream is cut")]
    [InlineData(1)]
    [InlineData(63)]
    [InlineData(64)]
    [InlineData(577)]
    [InlineData(5000)]
    [InlineData(1 << 20)]
    public void Any_cut(int pieceBytesMax)
    {
        var random = new Random(pieceBytesMax);
        var (stream, expected) = RandomStream(random, pieceBytesMax == 1 ? 40 : 400);
        for (var at = 0; at < stream.Length;)
        {
            var count = Math.Min(stream.Length - at, random.Next(1, pieceBytesMax + 1));
            Assert.True(_reader.Feed(stream.AsSpan(at, count), _sink), _reader.Error);
            at += count;
        }
        Assert.Equal(expected.Count, _sink.Frames.Count);
        for (var index = 0; index < expected.Count; index++)
            Assert.True(expected[index].AsSpan().SequenceEqual(_sink.Frames[index]), $"frame {index}");
    }

    [Fact(DisplayName = "Small bodies are spans of the staging buffer, large ones and records have a buffer that starts with them")]
    public void Where_bodies_lie()
    {
        var (small, large) = (new byte[Limits.SmallBodyBytesMax], new byte[Limits.SmallBodyBytesMax + 1]);
        _reader.Feed(TestFrames.Frame(FrameHeader.Of(FrameKind.ClientFlush, TestFrames.Volume), small), _sink);
        _reader.Feed(TestFrames.Frame(FrameHeader.Of(FrameKind.ClientReadReply, TestFrames.Volume), large), _sink);
        _reader.Feed(TestFrames.Frame(FrameHeader.Of(FrameKind.Append, TestFrames.Volume), TestFrames.Record(0, 1)), _sink);
        Assert.Equal([false, true, true], _sink.HadBuffer);
    }

    [Fact(DisplayName = "A body longer than what was staged is received in place: the space is exactly its rest")]
    public void Large_body_in_place()
    {
        var frame = TestFrames.Frame(FrameHeader.Of(FrameKind.Append, TestFrames.Volume), TestFrames.Record(64, 1));
        Assert.True(_reader.Feed(frame.AsSpan(0, 1000), _sink));
        Assert.Equal(frame.Length - 1000, _reader.Space.Length);
        Assert.True(_reader.Feed(frame.AsSpan(1000), _sink));
        Assert.Single(_sink.Frames);
    }

    [Fact(DisplayName = "Every single flipped bit of a frame's header is refused")]
    public void Header_bit_flips()
    {
        var frame = TestFrames.Frame(FrameHeader.Of(FrameKind.ClientFlush, TestFrames.Volume, 1, 2, 3), [1, 2, 3]);
        for (var bit = 0; bit < FrameHeader.SizeBytes * 8; bit++) RefusedWithBit(frame, bit);
    }

    [Fact(DisplayName = "Every single flipped bit of a record's header and descriptors is refused")]
    public void Record_bit_flips()
    {
        var record = TestFrames.Record(2, 1);
        var frame = TestFrames.Frame(FrameHeader.Of(FrameKind.Append, TestFrames.Volume), record);
        var checkedBytes = RecordHeader.SizeBytes + (2 * BlockDescriptor.SizeBytes);
        for (var bit = 0; bit < checkedBytes * 8; bit++) RefusedWithBit(frame, (FrameHeader.SizeBytes * 8) + bit);
    }

    [Fact(DisplayName = "Every single flipped bit of a body that is not a record is refused")]
    public void Body_bit_flips()
    {
        var frame = TestFrames.Frame(FrameHeader.Of(FrameKind.ClientReadReply, TestFrames.Volume), TestFrames.Record(0, 1));
        for (var bit = FrameHeader.SizeBytes * 8; bit < frame.Length * 8; bit++) RefusedWithBit(frame, bit);
    }

    [Fact(DisplayName = "Kinds that carry records must be self-checked, and others must not be")]
    public void Checksum_kind()
    {
        var header = FrameHeader.Of(FrameKind.ClientRead, TestFrames.Volume);
        header.Flags = FrameFlags.SelfChecked;
        Refused(Raw(header, new byte[32]), "wrong kind of checksum");
        var append = FrameHeader.Of(FrameKind.Append, TestFrames.Volume);
        append.Seal(TestFrames.Record(1, 1));
        Refused(Raw(append, TestFrames.Record(1, 1)), "wrong kind of checksum");
        append.Flags = FrameFlags.SelfChecked;
        Refused(Raw(append, TestFrames.Record(1, 1)), "two checksums");
        header.Flags = (FrameFlags)0x80;
        Refused(Raw(header, []), "unknown flags");
    }

    [Fact(DisplayName = "Lengths beyond the kind's bound are refused before anything is received for them")]
    public void Lengths()
    {
        Refused(Length(FrameKind.Ping, 1), "has a body of 1 B");
        Refused(Length(FrameKind.Hello, HelloBody.EncodedBytesMax + 1), "has a body of");
        Refused(Length(FrameKind.Append, Limits.RecordBytesMax + 1), "has a body of");
        Refused(Length(FrameKind.Append, RecordHeader.SizeBytes - 1), "holds no whole record");
        Refused(Length(FrameKind.ClientReadReply, Limits.FrameBodyBytesMax + 1), "a frame header is refused: OutOfRange");
        Refused(Length(FrameKind.ClientReadReply, -1), "a frame header is refused: OutOfRange");
    }

    [Fact(DisplayName = "Records of the store's own, of another volume or of another length than the frame's are refused")]
    public void Records_out_of_place()
    {
        var header = TestFrames.RecordHeaderOf(0);
        header.Kind = RecordKind.StoreFirst;
        Refused(Of(header, RecordHeader.SizeBytes), "record of the store's own");
        header = TestFrames.RecordHeaderOf(0);
        header.Volume = new VolumeId(3);
        Refused(Of(header, RecordHeader.SizeBytes), "holds a record of volume v3");
        header = TestFrames.RecordHeaderOf(0);
        header.Slice = 1;
        Refused(Of(header, RecordHeader.SizeBytes), "holds a record of volume");
        Refused(Of(TestFrames.RecordHeaderOf(0), RecordHeader.SizeBytes + 1), "of 129 B holds a record of 128 B");
        header = TestFrames.RecordHeaderOf(0);
        header.Kind = RecordKind.Marker;
        Refused(Of(header, RecordHeader.SizeBytes), "is refused: Malformed");
    }

    [Fact(DisplayName = "Another protocol is refused with its fourth byte")]
    public void Not_our_protocol()
    {
        Assert.True(_reader.Feed("GET"u8, _sink));
        Assert.False(_reader.Feed(" "u8, _sink));
        Assert.Equal("this is not the mesh protocol", _reader.Error);
    }

    [Fact(DisplayName = "A sink that has had enough ends the reading without an error")]
    public void Sink_stops()
    {
        _sink.FramesMax = 1;
        var frame = TestFrames.Frame(FrameHeader.Of(FrameKind.Ping, default), []);
        Assert.False(_reader.Feed([.. frame, .. frame], _sink));
        Assert.Null(_reader.Error);
        Assert.Single(_sink.Frames);
    }

    private void RefusedWithBit(byte[] frame, int bit)
    {
        frame[bit / 8] ^= (byte)(1 << (bit % 8));
        // Without the true length's bytes a frame that claims to be longer would only wait; zeroes follow.
        Refused([.. frame, .. new byte[FrameHeader.SizeBytes]], "");
        frame[bit / 8] ^= (byte)(1 << (bit % 8));
    }

    private void Refused(byte[] stream, string reason)
    {
        Assert.False(_reader.Feed(stream, _sink));
        Assert.Contains(reason, _reader.Error);
        Assert.Empty(_sink.Frames);
        _reader.Dispose();
        _reader = new FrameReader(_pool);
    }

    private static byte[] Raw(FrameHeader header, byte[] body)
    {
        header.BodyLength = (uint)body.Length;
        var bytes = new byte[FrameHeader.SizeBytes + body.Length];
        header.Encode(bytes);
        body.CopyTo(bytes, FrameHeader.SizeBytes);
        return bytes;
    }

    private static byte[] Length(FrameKind kind, int length)
    {
        var header = FrameHeader.Of(kind, TestFrames.Volume);
        if (FrameKinds.CarriesRecord(kind)) header.Flags = FrameFlags.SelfChecked;
        header.BodyLength = (uint)length;
        var bytes = new byte[FrameHeader.SizeBytes];
        header.Encode(bytes);
        return bytes;
    }

    private static byte[] Of(RecordHeader record, int length)
    {
        var body = new byte[length];
        record.Encode(body);
        return TestFrames.Frame(FrameHeader.Of(FrameKind.Append, TestFrames.Volume), body);
    }

    internal static (byte[] Stream, List<byte[]> Frames) RandomStream(Random random, int count)
    {
        var frames = new List<byte[]>();
        for (var index = 0; index < count; index++) frames.Add(RandomFrame(random));
        return ([.. frames.SelectMany(frame => frame)], frames);
    }

    internal static byte[] RandomFrame(Random random)
    {
        var volume = TestFrames.Volume;
        switch (random.Next(5))
        {
            case 0:
                var record = TestFrames.Record(random.Next(4), random.Next());
                return TestFrames.Frame(FrameHeader.Of(FrameKind.Append, volume, 1, (ulong)random.Next()), record);
            case 1:
                var large = new byte[random.Next(Limits.SmallBodyBytesMax, 10_000)];
                random.NextBytes(large);
                return TestFrames.Frame(FrameHeader.Of(FrameKind.ClientReadReply, volume, 0, (ulong)random.Next(), 0, IoStatus.Ok), large);
            default:
                var small = new byte[random.Next(60)];
                random.NextBytes(small);
                return TestFrames.Frame(FrameHeader.Of(FrameKind.ClientFlush, volume, 0, (ulong)random.Next()), small);
        }
    }

    /// <summary>Keeps each frame as the bytes it came from.</summary>
    private sealed class Sink : IFrameSink
    {
        public List<byte[]> Frames { get; } = [];

        public List<bool> HadBuffer { get; } = [];

        public int FramesMax { get; set; } = int.MaxValue;

        public bool OnFrame(in FrameHeader header, ReadOnlySpan<byte> body, IoBuffer? buffer)
        {
            if (buffer is not null) Assert.True(buffer.Span.SequenceEqual(body));
            HadBuffer.Add(buffer is not null);
            Frames.Add(TestFrames.Frame(header, body));
            return Frames.Count < FramesMax;
        }
    }
}
