using System.Buffers.Binary;
using System.IO.Hashing;
using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>
/// Who a further disk of a store is, whatever path it is found at. The file "disk" in its directory: 512 bytes, little-endian, written once:
/// <code>
///   0 magic u64 "MYRLABEL"   8 version u16   10 zero u16   12 length of this label u32
///  16 disk id (16)   32 store id (16)   48 made at u64 (ms since 1970, UTC)   56 zero   504 hash u64 of bytes 0-503
/// </code>
/// The store's first disk, its home, has a superblock instead.
/// </summary>
public readonly record struct DiskLabel(Guid Disk, Guid Store, ulong MadeAtMs)
{
    public const string FileName = "disk";
    public const int SizeBytes = 512;

    /// <summary>"MYRLABEL".</summary>
    public const ulong Magic = 0x4C454241_4C52594D;
    public const ushort VersionCurrent = 1;
    private const int HashedBytes = 504;

    public void Encode(Span<byte> to)
    {
        to[..SizeBytes].Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(to, Magic);
        BinaryPrimitives.WriteUInt16LittleEndian(to[8..], VersionCurrent);
        BinaryPrimitives.WriteUInt32LittleEndian(to[12..], SizeBytes);
        Disk.TryWriteBytes(to[16..]);
        Store.TryWriteBytes(to[32..]);
        BinaryPrimitives.WriteUInt64LittleEndian(to[48..], MadeAtMs);
        BinaryPrimitives.WriteUInt64LittleEndian(to[HashedBytes..], XxHash3.HashToUInt64(to[..HashedBytes]));
    }

    /// <summary>Malformed: not a label; BadChecksum; Unsupported: a version that this program does not know.</summary>
    public static IoStatus TryDecode(ReadOnlySpan<byte> from, out DiskLabel label)
    {
        label = default;
        if (from.Length < SizeBytes || BinaryPrimitives.ReadUInt64LittleEndian(from) != Magic) return IoStatus.Malformed;
        if (BinaryPrimitives.ReadUInt64LittleEndian(from[HashedBytes..]) != XxHash3.HashToUInt64(from[..HashedBytes])) return IoStatus.BadChecksum;
        if (BinaryPrimitives.ReadUInt16LittleEndian(from[8..]) != VersionCurrent) return IoStatus.Unsupported;
        label = new DiskLabel(new Guid(from[16..32]), new Guid(from[32..48]), BinaryPrimitives.ReadUInt64LittleEndian(from[48..]));
        return label.Disk != Guid.Empty && label.Store != Guid.Empty ? IoStatus.Ok : IoStatus.Malformed;
    }

    /// <summary>Missing: none was ever completed there. Any other status than Ok comes with a reason.</summary>
    public static IoStatus TryRead(IDisk disk, out DiskLabel label, out string reason)
    {
        (label, reason) = (default, "");
        var result = disk.Open(FileName, create: false, out var file);
        Span<byte> bytes = stackalloc byte[SizeBytes];
        bytes.Clear();
        if (result.IsOk)
        {
            result = file!.Read(0, bytes);
            file.Dispose();
        }
        if (!result.IsOk)
        {
            reason = result.Detail ?? "";
            return result.Status;
        }
        if (!bytes.ContainsAnyExcept((byte)0)) return IoStatus.Missing;
        var status = TryDecode(bytes, out label);
        reason = status == IoStatus.Unsupported ? "its label was written by a newer version" : "its label is damaged";
        return status;
    }

    /// <summary>On media, with its name, when it answers Ok.</summary>
    public DiskResult Write(IDisk disk)
    {
        var result = disk.Open(FileName, create: true, out var file);
        if (!result.IsOk) return result;
        Span<byte> bytes = stackalloc byte[SizeBytes];
        Encode(bytes);
        result = file!.WriteAll(0, bytes);
        if (result.IsOk) result = file!.Sync();
        file!.Dispose();
        return result.IsOk ? disk.SyncDirectory() : result;
    }
}
