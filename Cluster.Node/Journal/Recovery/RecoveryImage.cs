using System.Buffers.Binary;
using System.IO.Hashing;
using Cluster.Node.Journal.Format;
using Cluster.Node.Journal.Raft;

namespace Cluster.Node.Journal.Recovery;

/// <summary>The first events of one stream of a recovered journal.</summary>
public sealed record RecoveredStream(string PersistenceId, IReadOnlyList<MetaPayload> Events);

/// <summary>
/// All that a recovered journal begins with, on the disk of each node that was told ("recovery.bin" in the journal's directory) until the journal has it: magic u32 | version
/// u16 | zero u16 | length i32 | body | XxHash3 u64 over all before it. Body: era, time, streams (id, events (serializer i32, manifest, bytes)).
/// </summary>
/// <param name="TimestampTicks">UTC ticks of the recovery, for people; the same on every node.</param>
public sealed record RecoveryImage(Guid Era, long TimestampTicks, IReadOnlyList<RecoveredStream> Streams)
{
    /// <summary>Of an encoded image.</summary>
    public const int BytesMax = 64 << 20;

    private const uint Magic = 0x5652594D;                    // "MYRV"
    private const ushort Version = 1;
    private const int HeaderBytes = 12;
    private const int StreamsMax = 1 << 20;

    public byte[] Encode()
    {
        var body = new JournalWriter().Id(Era).I64(TimestampTicks).I32(Streams.Count);
        foreach (var stream in Streams)
        {
            body.Text(stream.PersistenceId).I32(stream.Events.Count);
            foreach (var e in stream.Events) body.I32(e.SerializerId).Text(e.Manifest).Bytes(e.Bytes);
        }
        var writer = new JournalWriter().I32(unchecked((int)Magic)).U16(Version).U16(0).Bytes(body.Written);
        return writer.I64(unchecked((long)XxHash3.HashToUInt64(writer.Written))).ToArray();
    }

    /// <summary>Throws <see cref="JournalFormatException"/> for anything else than <see cref="Encode"/> wrote.</summary>
    public static RecoveryImage Decode(ReadOnlySpan<byte> from)
    {
        if (from.Length < HeaderBytes + 8 || BinaryPrimitives.ReadUInt32LittleEndian(from) != Magic)
            throw new JournalFormatException("these bytes are no recovery image");
        if (BinaryPrimitives.ReadUInt64LittleEndian(from[^8..]) != XxHash3.HashToUInt64(from[..^8]))
            throw new JournalFormatException("the recovery image is damaged: its checksum is wrong");
        var version = BinaryPrimitives.ReadUInt16LittleEndian(from[4..]);
        if (version != Version) throw new JournalFormatException($"the recovery image has version {version}, which this program does not know");
        var framed = new JournalReader(from[8..^8]);
        var reader = new JournalReader(framed.Bytes());
        framed.End();
        var (era, ticks) = (reader.Id(), reader.I64());
        var streams = new RecoveredStream[reader.Count(8, StreamsMax)];
        for (var at = 0; at < streams.Length; at++)
        {
            var id = reader.Text();
            var events = new MetaPayload[reader.Count(12, StreamsMax)];
            for (var index = 0; index < events.Length; index++) events[index] = new MetaPayload(reader.I32(), reader.Text(), reader.Bytes());
            streams[at] = new RecoveredStream(id, events);
        }
        reader.End();
        return new RecoveryImage(era, ticks, streams);
    }

    /// <summary>Returns once it is on media.</summary>
    public static void Save(string directory, ReadOnlySpan<byte> encoded) => DurableFiles.ReplaceFile(PathIn(directory), encoded);

    /// <summary>The image that lies there, or null.</summary>
    public static RecoveryImage? Load(string directory) => File.Exists(PathIn(directory)) ? Decode(File.ReadAllBytes(PathIn(directory))) : null;

    public static void Delete(string directory) => File.Delete(PathIn(directory));

    private static string PathIn(string directory) => Path.Combine(directory, "recovery.bin");
}
