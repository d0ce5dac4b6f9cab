using System.Buffers.Binary;
using System.IO.Hashing;

namespace Cluster.Node.Journal.Raft;

internal enum RaftRecordKind : byte
{
    Unset = 0,

    /// <summary>First in a file: cluster id and generation.</summary>
    Head = 1,

    /// <summary>Second in a file that was written by a compaction.</summary>
    Snapshot = 2,
    Vote = 3,
    Entry = 4,

    /// <summary>Just before a snapshot: the group's members as of it.</summary>
    Members = 5,
}

/// <summary>
/// Header of a record in the log file, 48 bytes, little-endian: magic u32 | version u8 | kind u8 | entry kind u8 | zero u8 | index i64
/// | term i64 | durable bytes i64 | length i32 | voted for i32 | hash u64. The payload follows, padded with zeroes to 8 bytes.
/// Durable bytes: how much of the file was known to be on media when the record was written; it tells a torn tail from rot.
/// The hash is XxHash3 over the 40 bytes before it and the payload, seeded with the file's generation.
/// </summary>
internal readonly record struct RaftRecord(
    RaftRecordKind Kind, RaftEntryKind EntryKind, long Index, long Term, long DurableBytes, int Length, int VotedFor)
{
    public const int HeaderBytes = 48;
    public const byte Version = 1;
    private const uint Magic = 0x314A594D;                   // "MYJ1"
    private const int HashedBytes = 40;

    public int TotalBytes => HeaderBytes + ((Length + 7) & ~7);

    /// <summary>Writes header, payload and padding to the front of <paramref name="to"/>.</summary>
    public void Encode(Span<byte> to, ReadOnlySpan<byte> payload, long generation)
    {
        to[..TotalBytes].Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(to, Magic);
        to[4] = Version;
        to[5] = (byte)Kind;
        to[6] = (byte)EntryKind;
        BinaryPrimitives.WriteInt64LittleEndian(to[8..], Index);
        BinaryPrimitives.WriteInt64LittleEndian(to[16..], Term);
        BinaryPrimitives.WriteInt64LittleEndian(to[24..], DurableBytes);
        BinaryPrimitives.WriteInt32LittleEndian(to[32..], Length);
        BinaryPrimitives.WriteInt32LittleEndian(to[36..], VotedFor);
        payload.CopyTo(to[HeaderBytes..]);
        BinaryPrimitives.WriteUInt64LittleEndian(to[HashedBytes..], Hash(to[..HashedBytes], payload, generation));
    }

    /// <summary>
    /// Reads the record at the front of <paramref name="from"/>. False unless all of it is there and its hash is right.
    /// </summary>
    public static bool TryDecode(ReadOnlySpan<byte> from, long generation, out RaftRecord record, out ReadOnlySpan<byte> payload)
    {
        record = default;
        payload = default;
        if (from.Length < HeaderBytes || BinaryPrimitives.ReadUInt32LittleEndian(from) != Magic) return false;
        var length = BinaryPrimitives.ReadInt32LittleEndian(from[32..]);
        if (length < 0 || length > from.Length - HeaderBytes) return false;
        payload = from.Slice(HeaderBytes, length);
        if (BinaryPrimitives.ReadUInt64LittleEndian(from[HashedBytes..]) != Hash(from[..HashedBytes], payload, generation)) return false;
        record = new RaftRecord(
            (RaftRecordKind)from[5], (RaftEntryKind)from[6], BinaryPrimitives.ReadInt64LittleEndian(from[8..]),
            BinaryPrimitives.ReadInt64LittleEndian(from[16..]), BinaryPrimitives.ReadInt64LittleEndian(from[24..]), length,
            BinaryPrimitives.ReadInt32LittleEndian(from[36..]));
        if (from[4] != Version) throw new Format.JournalFormatException($"log record version {from[4]} is not known to this program");
        return record.TotalBytes <= from.Length;
    }

    public static bool HasMagic(ReadOnlySpan<byte> from) => from.Length >= 4 && BinaryPrimitives.ReadUInt32LittleEndian(from) == Magic;

    private static ulong Hash(ReadOnlySpan<byte> header, ReadOnlySpan<byte> payload, long generation)
    {
        var hash = new XxHash3(generation);
        hash.Append(header);
        hash.Append(payload);
        return hash.GetCurrentHashAsUInt64();
    }
}
