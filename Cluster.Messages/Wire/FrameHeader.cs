using System.Buffers.Binary;
using System.IO.Hashing;
using Cluster.Messages.Model;

namespace Cluster.Messages.Wire;

/// <summary>
/// The 64 bytes in front of each mesh frame, little-endian: magic u32 | version u8 | kind u8 | status u8 | flags u8 | volume u64 | epoch u64
/// | request id u64 | argument u64 | body length u32 | slice u32 | body hash u64 | header hash u64. The header is trusted only after its own
/// hash matches, before its length is used. Hashes are XxHash3-64.
/// </summary>
public struct FrameHeader
{
    public const int SizeBytes = 64;
    private const int HashedBytes = 56;

    /// <summary>"MYMF".</summary>
    public const uint Magic = 0x464D594D;

    public FrameKind Kind;
    public IoStatus Status;
    public FrameFlags Flags;
    public VolumeId Volume;
    public ulong Epoch;
    public ulong RequestId;
    public ulong Argument;
    public uint BodyLength;
    public uint Slice;
    public ulong BodyHash;

    public static FrameHeader Of(FrameKind kind, VolumeId volume, ulong epoch = 0, ulong requestId = 0, ulong argument = 0,
        IoStatus status = IoStatus.Unset) =>
        new() { Kind = kind, Volume = volume, Epoch = epoch, RequestId = requestId, Argument = argument, Status = status };

    /// <summary>Sets length and hash for <paramref name="body"/>. Records are checked by themselves (<see cref="FrameFlags.SelfChecked"/>).</summary>
    public void Seal(ReadOnlySpan<byte> body)
    {
        BodyLength = (uint)body.Length;
        BodyHash = (Flags & FrameFlags.SelfChecked) != 0 || body.IsEmpty ? 0 : XxHash3.HashToUInt64(body);
    }

    /// <summary>Whether the body is the one that was sent. A record's own checks are the receiver's to make.</summary>
    public readonly bool BodyMatches(ReadOnlySpan<byte> body) =>
        (Flags & FrameFlags.SelfChecked) != 0 || (body.IsEmpty ? BodyHash == 0 : XxHash3.HashToUInt64(body) == BodyHash);

    public readonly void Encode(Span<byte> to)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(to, Magic);
        to[4] = WireVersion.Current;
        to[5] = (byte)Kind;
        to[6] = (byte)Status;
        to[7] = (byte)Flags;
        BinaryPrimitives.WriteUInt64LittleEndian(to[8..], Volume.Value);
        BinaryPrimitives.WriteUInt64LittleEndian(to[16..], Epoch);
        BinaryPrimitives.WriteUInt64LittleEndian(to[24..], RequestId);
        BinaryPrimitives.WriteUInt64LittleEndian(to[32..], Argument);
        BinaryPrimitives.WriteUInt32LittleEndian(to[40..], BodyLength);
        BinaryPrimitives.WriteUInt32LittleEndian(to[44..], Slice);
        BinaryPrimitives.WriteUInt64LittleEndian(to[48..], BodyHash);
        BinaryPrimitives.WriteUInt64LittleEndian(to[56..], XxHash3.HashToUInt64(to[..HashedBytes]));
    }

    /// <summary>Hash first, then meaning: BadChecksum, Malformed (magic, kind, status), Unsupported (version) or OutOfRange (length).</summary>
    public static IoStatus TryDecode(ReadOnlySpan<byte> from, out FrameHeader header)
    {
        header = default;
        if (from.Length < SizeBytes) return IoStatus.Malformed;
        if (BinaryPrimitives.ReadUInt32LittleEndian(from) != Magic) return IoStatus.Malformed;
        if (XxHash3.HashToUInt64(from[..HashedBytes]) != BinaryPrimitives.ReadUInt64LittleEndian(from[56..])) return IoStatus.BadChecksum;
        if (from[4] != WireVersion.Current) return IoStatus.Unsupported;
        header.Kind = (FrameKind)from[5];
        header.Status = (IoStatus)from[6];
        header.Flags = (FrameFlags)from[7];
        header.Volume = new VolumeId(BinaryPrimitives.ReadUInt64LittleEndian(from[8..]));
        header.Epoch = BinaryPrimitives.ReadUInt64LittleEndian(from[16..]);
        header.RequestId = BinaryPrimitives.ReadUInt64LittleEndian(from[24..]);
        header.Argument = BinaryPrimitives.ReadUInt64LittleEndian(from[32..]);
        header.BodyLength = BinaryPrimitives.ReadUInt32LittleEndian(from[40..]);
        header.Slice = BinaryPrimitives.ReadUInt32LittleEndian(from[44..]);
        header.BodyHash = BinaryPrimitives.ReadUInt64LittleEndian(from[48..]);
        if (!Enum.IsDefined(header.Kind) || header.Kind == FrameKind.Invalid || header.Status > IoStatus.HoldExpired) return IoStatus.Malformed;
        return header.BodyLength > Limits.FrameBodyBytesMax ? IoStatus.OutOfRange : IoStatus.Ok;
    }
}
