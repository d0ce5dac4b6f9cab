using System.Buffers.Binary;
using System.IO.Hashing;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Ingress;

namespace Cluster.Tests.Unit.Mesh;

/// <summary>
/// The stream decoder against hostile input: each frame comes out sound, or the stream ends with an error; nothing is
/// thrown, nothing is kept.
/// </summary>
public class FrameFuzzSpecs
{
    private const int StreamsPerSeed = 260_000;

    [Theory(DisplayName = "A million mutated frames: each is refused or was sound, memory stays bounded")]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void Mutated_frames(int seed)
    {
        var random = new Random(seed);
        var pool = new BufferPool();
        var sink = new CheckingSink(pool);
        var all = Enumerable.Range(0, 64).Select(_ => FrameReaderSpecs.RandomFrame(random));
        byte[][] originals = [.. all.Where(frame => frame.Length < 6000)];
        var reader = new FrameReader(pool);
        var refused = 0;
        for (var count = 0; count < StreamsPerSeed; count++)
        {
            var frame = originals[random.Next(originals.Length)];
            var bytes = Mutate(random, frame);
            var cut = random.Next(bytes.Length + 1);
            if (reader.Feed(bytes.AsSpan(0, cut), sink) && reader.Feed(bytes.AsSpan(cut), sink)) continue;
            Assert.NotNull(reader.Error);
            refused++;
            reader.Dispose();
            reader = new FrameReader(pool);
        }
        reader.Dispose();
        Assert.Equal(0, pool.RentedBytes);
        Assert.True(refused > StreamsPerSeed / 4, $"only {refused} were refused: the mutations do not bite");
        Assert.True(sink.Frames > StreamsPerSeed / 100, $"only {sink.Frames} were sound: nothing gets past the first check");
    }

    /// <summary>Half of the time checksums are made right again, so that the checks behind them are reached.</summary>
    private static byte[] Mutate(Random random, byte[] frame)
    {
        var bytes = (byte[])frame.Clone();
        for (var changes = random.Next(4); changes > 0; changes--) ChangeOne(random, bytes);
        if (random.Next(2) == 0)
        {
            if (random.Next(2) == 0) RepairRecord(bytes);
            RepairHeader(bytes);
        }
        return random.Next(20) == 0 ? bytes[..random.Next(bytes.Length)] : bytes;
    }

    private static void ChangeOne(Random random, byte[] bytes)
    {
        // Mostly where the meaning is.
        var at = random.Next(Math.Min(bytes.Length, random.Next(3) == 0 ? bytes.Length : 220));
        switch (random.Next(4))
        {
            case 0:
                bytes[at] ^= (byte)(1 << random.Next(8));
                break;
            case 1:
                bytes[at] = (byte)random.Next(256);
                break;
            case 2:
                bytes[at] = random.Next(2) == 0 ? (byte)0 : (byte)255;
                break;
            default:
                bytes.AsSpan(at, Math.Min(8, bytes.Length - at)).Fill((byte)random.Next(256));
                break;
        }
    }

    private static void RepairHeader(byte[] bytes) =>
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(56), XxHash3.HashToUInt64(bytes.AsSpan(0, 56)));

    private static void RepairRecord(byte[] bytes)
    {
        if (bytes.Length < FrameHeader.SizeBytes + RecordHeader.SizeBytes) return;
        var record = bytes.AsSpan(FrameHeader.SizeBytes);
        var count = BinaryPrimitives.ReadUInt32LittleEndian(record[8..]);
        var end = RecordHeader.SizeBytes + (count * (ulong)BlockDescriptor.SizeBytes);
        if (end > (ulong)record.Length) return;
        var hash = XxHash3.HashToUInt64(record[..120]);
        if (count > 0) hash = XxHash3.HashToUInt64(record[RecordHeader.SizeBytes..(int)end], unchecked((long)hash));
        BinaryPrimitives.WriteUInt64LittleEndian(record[120..], hash);
    }

    private sealed class CheckingSink(BufferPool pool) : IFrameSink
    {
        public int Frames { get; private set; }

        public bool OnFrame(in FrameHeader header, ReadOnlySpan<byte> body, IoBuffer? buffer)
        {
            Frames++;
            var record = FrameKinds.CarriesRecord(header.Kind);
            if (!Enum.IsDefined(header.Kind) || body.Length != header.BodyLength || !header.BodyMatches(body))
                Assert.Fail("an unsound frame came out");
            if (record && (RecordHeader.TryDecode(body, out var found) != IoStatus.Ok || found.TotalBytes != body.Length || buffer is null))
                Assert.Fail("an unsound record came out");
            // The staging buffer and one body, each in its size class.
            if (pool.RentedBytes > 2 * 278528) Assert.Fail($"{pool.RentedBytes} B are held");
            return true;
        }
    }
}
