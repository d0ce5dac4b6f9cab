using System.Buffers.Binary;
using System.IO.Hashing;
using System.Reflection;
using System.Runtime.Serialization;
using Cluster.Csi.Client;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Chaos;
using Cluster.Node.Hosting.Serialization;
using Cluster.Tests.Unit.Hosting;

namespace Cluster.Tests.Unit.Fuzz;

/// <summary>Every decoder that there is: an architecture test compares this list with the program.</summary>
internal static partial class Decoders
{
    public static IReadOnlyList<Decoder> All { get; } = [.. Bodies(), .. Wire(), .. Disk(), .. Journal()];

    /// <summary>As the program declares them: static methods of these names with a span of bytes to read. Those that read from a reader are reached through them.</summary>
    public static IEnumerable<MethodInfo> Declared() =>
        from assembly in new[] { typeof(FrameHeader).Assembly, typeof(BlockCodec).Assembly, typeof(Node.Api.ApiServer).Assembly }
        from type in assembly.GetTypes()
        from method in type.GetMethods(BindingFlags.Static | BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly)
        where method.Name is "Decode" or "TryDecode" or "Read" or "TryRead" or "Load" or "FromBinary" or "Decrypt"
        where method.GetParameters().Any(parameter => parameter.ParameterType == typeof(ReadOnlySpan<byte>) || parameter.ParameterType == typeof(byte[]))
        select method;

    /// <summary>Lines "NAME HEX" or "NAME=HEX" of a golden file.</summary>
    private static Dictionary<string, byte[]> Golden(string file, char between) =>
        File.ReadAllLines(Path.Combine(AppContext.BaseDirectory, "Golden", file)).Where(line => line.Length > 0 && line[0] != '#')
            .Select(line => line.Split(between)).ToDictionary(parts => parts[0], parts => Convert.FromHexString(parts[1]), StringComparer.Ordinal);

    private static IEnumerable<Decoder> Bodies()
    {
        var golden = Golden("Mesh/wire-v1.txt", ' ');
        Decoder Of<T>(string name, Decode decode) => new(typeof(T), "TryDecode", [golden[name]], decode);
        yield return Of<SessionOpenBody>("session-open", input => SessionOpenBody.TryDecode(input, out _));
        yield return Of<SessionOpenedBody>("session-opened", input => SessionOpenedBody.TryDecode(input, out _));
        yield return Of<ClientReadBody>("client-read", input => ClientReadBody.TryDecode(input, out _));
        yield return Of<CachedReadBody>("client-read-cached", input => CachedReadBody.TryDecode(input, stackalloc ulong[Limits.RecordBlocksMax], out _));
        yield return Of<ClientFlushBody>("client-flush", input => ClientFlushBody.TryDecode(input, out _));
        yield return Of<ClientAckBody>("client-ack", input => ClientAckBody.TryDecode(input, out _));
        yield return Of<SequenceBody>("sequence", input => SequenceBody.TryDecode(input, out _));
        yield return Of<PromiseBody>("promise", input => PromiseBody.TryDecode(input, out _));
        yield return Of<PromisedBody>("promised", input => PromisedBody.TryDecode(input, out _));
        yield return Of<AppendAckBody>("append-ack", input => AppendAckBody.TryDecode(input, out _));
        yield return Of<FetchTailBody>("fetch-tail", input => FetchTailBody.TryDecode(input, out _));
        yield return Of<StampBody>("stamp", input => StampBody.TryDecode(input, out _));
        yield return Of<CatchUpBody>("catch-up", input => CatchUpBody.TryDecode(input, out _));
        yield return Of<BlockRangeBody>("block-range", input => BlockRangeBody.TryDecode(input, out _)) with { Samples = [golden["block-range"], golden["block-range-snapshot"]] };
        yield return Of<ScrubReportBody>("scrub-report", input => ScrubReportBody.TryDecode(input, out _));
        yield return Of<ScrubMark>("scrub-mark", input => ScrubMark.TryDecode(input, out _));
        yield return Of<SnapshotsBody>("snapshots", input => SnapshotsBody.TryDecode(input, out _));
        yield return Of<HelloBody>("hello", input => HelloBody.TryDecode(input, out _));
        yield return Of<RefuseBody>("refuse", input => RefuseBody.TryDecode(input, out _));
        yield return Of<SessionWindows>("session-windows", input => SessionWindows.TryDecode(input) is not null);
        yield return Of<FrameHeader>("frame-header", input => FrameHeader.TryDecode(input, out _) == IoStatus.Ok) with { Reseal = Decoder.SealAt(56) };
    }

    private static IEnumerable<Decoder> Wire()
    {
        var marker = new SnapshotMarker(true, 0, [0x31, 0x3233]).Build(new VolumeId(7), out var markerHeader);
        var markerBytes = marker.Span[..markerHeader.TotalBytes].ToArray();
        marker.Release();
        yield return new Decoder(typeof(SnapshotMarker), "TryDecode", [markerBytes[markerHeader.PayloadOffset..]], input => SnapshotMarker.TryDecode(input) is not null);
        yield return new Decoder(typeof(RecordHeader), "TryDecode", [TestFrames.Record(2, seed: 1), TestFrames.Record(1, seed: 2), markerBytes],
            input => RecordHeader.TryDecode(input, out _) == IoStatus.Ok)
        { Reseal = SealRecord };
        var read = new byte[ReadDescriptor.SizeBytes];
        new ReadDescriptor(new BlockDescriptor(BlockEncoding.Lz4, 300, 5), 6).Write(read);
        yield return new Decoder(typeof(ReadDescriptor), "Read", [read], input => ReadDescriptor.Read(input).Block.IsPlausible) { IsOfFixedLength = true };
        yield return new Decoder(typeof(BlockDescriptor), "Read", [read[..BlockDescriptor.SizeBytes]], input => BlockDescriptor.Read(input).IsPlausible) { IsOfFixedLength = true };
        var events = ContractSamples.Events.Select((e, index) => (byte[])[(byte)index, .. EventCodec.Encode(e)]).ToArray();
        var manifests = ContractSamples.Events.Select(EventCodec.ManifestOf).ToArray();
        yield return new Decoder(typeof(EventCodec), "Decode", events, input => input.Length > 0 && EventCodec.Decode(manifests[input[0] % manifests.Length], input[1..]) is not null)
        { Refusal = typeof(EventFormatException) };
        var control = new ControlSerializer(null!);
        yield return new Decoder(typeof(ControlSerializer), "FromBinary", [control.ToBinary(ContractSamples.ControlMessages[0])],
            input => control.FromBinary(input.ToArray(), control.Manifest(ContractSamples.ControlMessages[0])) is not null)
        { Refusal = typeof(SerializationException), BuiltBytesMax = 4 << 20 };
        yield return new Decoder(typeof(VolumeSpecCodec), "TryDecode", [VolumeSpecCodec.Encode(ContractSamples.Spec)], input => VolumeSpecCodec.TryDecode(input, out _));
        foreach (var decoder in Blocks()) yield return decoder;
        var cell = new byte[512];
        CellStamp.Write(cell, 1, 2, 3);
        yield return new Decoder(typeof(CellStamp), "Read", [cell], input => CellStamp.Read(input, 1, 2) == 3) { IsOfFixedLength = true };
    }

    /// <summary>The sample's first two bytes choose encoding and checksum: a right one half of the time.</summary>
    private static IEnumerable<Decoder> Blocks()
    {
        var key = new BlockKey(Guid.Empty, 1, new byte[BlockKey.SizeBytes]);
        var cipher = new BlockCipher(key);
        var samples = new List<byte[]>();
        foreach (var fill in new[] { 0, 7, 256 })
        {
            var block = new byte[Limits.BlockBytes];
            if (fill < 256) block.AsSpan().Fill((byte)fill);
            else new Random(3).NextBytes(block);
            foreach (var used in new[] { null, cipher })
            {
                var to = new byte[BlockCodec.RoomFor(used)];
                var descriptor = BlockCodec.Encode(new VolumeId(7), 0, 9, block, to, compress: true, used);
                samples.Add([(byte)descriptor.Encoding, .. to.AsSpan(0, descriptor.Length)]);
            }
        }
        var decoded = new byte[Limits.BlockBytes];
        yield return new Decoder(typeof(BlockCodec), "Decode", [.. samples], input =>
        {
            if (input.Length == 0) return false;
            var descriptor = BlockDescriptor.Of((BlockEncoding)input[0], new VolumeId(7), 0, 9, input[1..]);
            return BlockCodec.Decode(descriptor, new VolumeId(7), 0, 9, input[1..], decoded, cipher) == IoStatus.Ok;
        });
        byte[][] encrypted = [.. samples.Where(sample => sample[0] >= (byte)BlockEncoding.AesGcm).Select(sample => sample[1..])];
        yield return new Decoder(typeof(BlockCipher), "Decrypt", encrypted,
            input => cipher.Decrypt(input.Length > Limits.BlockBytes ? BlockEncoding.AesGcm : BlockEncoding.Lz4AesGcm, 9, input, out _) == IoStatus.Ok);
        yield return new Decoder(typeof(EncryptedBlock), "TryDecode", encrypted, input => EncryptedBlock.TryDecode(input, out _) == IoStatus.Ok);
    }

    private static void SealRecord(Span<byte> record)
    {
        if (record.Length < RecordHeader.SizeBytes) return;
        var end = RecordHeader.SizeBytes + (BinaryPrimitives.ReadUInt32LittleEndian(record[8..]) * (ulong)BlockDescriptor.SizeBytes);
        if (end > (ulong)record.Length) return;
        var hash = XxHash3.HashToUInt64(record[..120]);
        if (end > RecordHeader.SizeBytes) hash = XxHash3.HashToUInt64(record[RecordHeader.SizeBytes..(int)end], unchecked((long)hash));
        BinaryPrimitives.WriteUInt64LittleEndian(record[120..], hash);
    }
}
