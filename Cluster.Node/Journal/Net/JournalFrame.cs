using System.Buffers.Binary;
using System.IO.Hashing;
using Cluster.Node.Journal.Format;

namespace Cluster.Node.Journal.Net;

/// <summary>What a frame on the journal port carries. Frozen: add, never renumber.</summary>
public enum JournalFrameKind : byte
{
    Unset = 0,
    Hello = 1,
    HelloAnswer = 2,

    /// <summary>A Raft message, one way, only between control members.</summary>
    Raft = 3,
    Propose = 4,
    ProposeAnswer = 5,
    Read = 6,
    ReadAnswer = 7,
    Formation = 8,
    FormationAnswer = 9,

    /// <summary>
    /// First on a peer connection, and again when they changed: the newest members of the group that the sender knows to be
    /// committed. A node that finds itself among them is a member from then on.
    /// </summary>
    Members = 10,
}

public readonly record struct JournalFrame(JournalFrameKind Kind, long RequestId, byte[] Body);

/// <summary>
/// A frame's header, 32 bytes, little-endian: magic u32 | length of the body i32 | request id i64 | kind u8 | zero u24
/// | header hash u32 (low half of XxHash3 over the 20 bytes before it) | body hash u64 (XxHash3). The header's hash is checked before
/// the length is believed, the body's hash before the body is read.
/// </summary>
internal readonly record struct JournalFrameHeader(JournalFrameKind Kind, long RequestId, int Length, ulong BodyHash)
{
    public const int Bytes = 32;
    private const uint Magic = 0x464A594D;                    // "MYJF"
    private const int HashedBytes = 20;

    /// <summary>Header and body as one buffer, ready to send.</summary>
    public static byte[] Encode(JournalFrameKind kind, long requestId, ReadOnlySpan<byte> body)
    {
        var frame = new byte[Bytes + body.Length];
        var to = frame.AsSpan();
        BinaryPrimitives.WriteUInt32LittleEndian(to, Magic);
        BinaryPrimitives.WriteInt32LittleEndian(to[4..], body.Length);
        BinaryPrimitives.WriteInt64LittleEndian(to[8..], requestId);
        to[16] = (byte)kind;
        BinaryPrimitives.WriteUInt32LittleEndian(to[HashedBytes..], (uint)XxHash3.HashToUInt64(to[..HashedBytes]));
        BinaryPrimitives.WriteUInt64LittleEndian(to[24..], XxHash3.HashToUInt64(body));
        body.CopyTo(to[Bytes..]);
        return frame;
    }

    /// <summary>Throws <see cref="JournalFormatException"/> on anything that is not a header of this format within the limit.</summary>
    public static JournalFrameHeader Decode(ReadOnlySpan<byte> from, int bodyBytesMax)
    {
        if (from.Length < Bytes || BinaryPrimitives.ReadUInt32LittleEndian(from) != Magic) throw new JournalFormatException("not a frame of the journal protocol");
        if (BinaryPrimitives.ReadUInt32LittleEndian(from[HashedBytes..]) != (uint)XxHash3.HashToUInt64(from[..HashedBytes]))
            throw new JournalFormatException("the frame header's checksum is wrong");
        var length = BinaryPrimitives.ReadInt32LittleEndian(from[4..]);
        if (length < 0 || length > bodyBytesMax)
            throw new JournalFormatException($"a frame of {length} bytes is over the limit of {bodyBytesMax}");
        return new JournalFrameHeader(
            (JournalFrameKind)from[16], BinaryPrimitives.ReadInt64LittleEndian(from[8..]), length,
            BinaryPrimitives.ReadUInt64LittleEndian(from[24..]));
    }

    public void CheckBody(ReadOnlySpan<byte> body)
    {
        if (XxHash3.HashToUInt64(body) != BodyHash) throw new JournalFormatException("the frame body's checksum is wrong");
    }
}
