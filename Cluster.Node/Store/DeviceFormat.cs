using System.Buffers.Binary;
using System.IO.Hashing;
using System.Text;
using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>
/// The first bytes of a block device that is a disk of a store: 4096 of them, little-endian, at 0 and the same at 4096, written once.
/// <code>
///   0 magic u64 "MYRBLOCK"   8 version u16   10 zero u16   12 bytes of a unit u32
///  16 format id (16)   32 bytes of the device u64   40 pairs of the table u32   44 zero   4088 hash u64 of bytes 0-4087
/// </code>
/// Behind it, at 65536, the table: pairs of sectors of 4096 bytes, each pair written in turn (<see cref="DeviceSector"/>). Then, from the next whole unit on, the files, each in units that follow one another.
/// </summary>
/// <param name="Format">Random, of this taking into use: a table that an earlier one left is not believed.</param>
public readonly record struct DeviceHeader(Guid Format, uint UnitBytes, long DeviceBytes, int Pairs)
{
    public const int SizeBytes = 4096;

    /// <summary>"MYRBLOCK".</summary>
    public const ulong Magic = 0x4B434F4C_4252594D;
    public const ushort VersionCurrent = 1;
    public const int UnitBytesOfNew = 64 << 10;
    public const long TableAtBytes = 64 << 10;

    /// <summary>A limit of the format; files of 4 MiB on more than 25 PiB.</summary>
    public const int PairsMax = 1 << 27;
    private const int HashedBytes = 4088;

    /// <summary>For a new device: a table that has room for so many files; from 256 GiB on for files of 4 MiB, and some more. At most 0.07 % of the device.</summary>
    private const int FilesOfNew = 1 << 16;
    private const long FileBytesMin = 256 << 10;
    private const long FileBytesMax = 4L << 20;

    public long FirstUnit => (TableAtBytes + (2L * DeviceSector.SizeBytes * Pairs) + UnitBytes - 1) / UnitBytes;

    public static DeviceHeader Of(Guid format, long deviceBytes) =>
        new(format, UnitBytesOfNew, deviceBytes, (int)Math.Min(PairsMax, (deviceBytes / Math.Clamp(deviceBytes / FilesOfNew, FileBytesMin, FileBytesMax) / DeviceSector.EntriesMax) + 2));

    public void Encode(Span<byte> to)
    {
        to[..SizeBytes].Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(to, Magic);
        BinaryPrimitives.WriteUInt16LittleEndian(to[8..], VersionCurrent);
        BinaryPrimitives.WriteUInt32LittleEndian(to[12..], UnitBytes);
        Format.TryWriteBytes(to[16..]);
        BinaryPrimitives.WriteInt64LittleEndian(to[32..], DeviceBytes);
        BinaryPrimitives.WriteInt32LittleEndian(to[40..], Pairs);
        BinaryPrimitives.WriteUInt64LittleEndian(to[HashedBytes..], XxHash3.HashToUInt64(to[..HashedBytes]));
    }

    /// <summary>Malformed: not a header; BadChecksum; Unsupported: a version that this program does not know.</summary>
    public static IoStatus TryDecode(ReadOnlySpan<byte> from, out DeviceHeader header)
    {
        header = default;
        if (from.Length < SizeBytes || BinaryPrimitives.ReadUInt64LittleEndian(from) != Magic) return IoStatus.Malformed;
        if (BinaryPrimitives.ReadUInt64LittleEndian(from[HashedBytes..]) != XxHash3.HashToUInt64(from[..HashedBytes])) return IoStatus.BadChecksum;
        if (BinaryPrimitives.ReadUInt16LittleEndian(from[8..]) != VersionCurrent) return IoStatus.Unsupported;
        var read = new DeviceHeader(new Guid(from[16..32]), BinaryPrimitives.ReadUInt32LittleEndian(from[12..]), BinaryPrimitives.ReadInt64LittleEndian(from[32..]), BinaryPrimitives.ReadInt32LittleEndian(from[40..]));
        var isRight = read.Format != Guid.Empty && read.UnitBytes is >= 4096 and <= 1 << 24 && uint.IsPow2(read.UnitBytes) && read.Pairs is > 0 and <= PairsMax && read.FirstUnit * read.UnitBytes < read.DeviceBytes;
        if (!isRight) return IoStatus.Malformed;
        header = read;
        return IoStatus.Ok;
    }
}

/// <summary>One file of a device.</summary>
/// <param name="Start">Its first unit.</param>
/// <param name="Units">0: it has no bytes.</param>
public readonly record struct DeviceEntry(string Name, uint Start, uint Units, long LengthBytes)
{
    public const int SizeBytes = 80;
    public const int NameBytesMax = 47;

    public static bool IsName(string name) => name.Length is > 0 and <= NameBytesMax && Ascii.IsValid(name) && !name.AsSpan().ContainsAnyInRange('\0', ' ');
}

/// <summary>
/// A piece of the table of a device, 4096 bytes, little-endian. Of the two sectors of a pair the valid one with the higher generation holds; two of zeroes hold nothing.
/// <code>
///   0 magic u64 "MYRTABLE"   8 pair u32   12 zero u32   16 generation u64   24 hash u64 of all other bytes, behind the format id and the pair
///  32 entries, 50 of 80 bytes: 0 length of the name u8 (0: none)   1 name (47)   48 first unit u32   52 units u32   56 bytes of the file u64   64 zero   4032 zero
/// </code>
/// </summary>
public static class DeviceSector
{
    public const int SizeBytes = 4096;
    public const int EntriesMax = 50;

    /// <summary>"MYRTABLE".</summary>
    public const ulong Magic = 0x454C4241_5452594D;
    private const int HashAt = 24;
    private const int EntriesAt = 32;

    public static long OffsetOf(int pair, int copy) => DeviceHeader.TableAtBytes + ((((long)pair * 2) + copy) * SizeBytes);

    public static void Encode(Span<byte> to, Guid format, int pair, ulong generation, ReadOnlySpan<DeviceEntry?> entries)
    {
        to[..SizeBytes].Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(to, Magic);
        BinaryPrimitives.WriteInt32LittleEndian(to[8..], pair);
        BinaryPrimitives.WriteUInt64LittleEndian(to[16..], generation);
        for (var index = 0; index < entries.Length; index++)
        {
            if (entries[index] is not { } entry) continue;
            var at = to[(EntriesAt + (index * DeviceEntry.SizeBytes))..];
            at[0] = (byte)Encoding.ASCII.GetBytes(entry.Name, at[1..]);
            BinaryPrimitives.WriteUInt32LittleEndian(at[48..], entry.Start);
            BinaryPrimitives.WriteUInt32LittleEndian(at[52..], entry.Units);
            BinaryPrimitives.WriteInt64LittleEndian(at[56..], entry.LengthBytes);
        }
        BinaryPrimitives.WriteUInt64LittleEndian(to[HashAt..], HashOf(to, format, pair));
    }

    /// <summary>Missing: all zeroes; BadChecksum: torn, damaged, or of another format; Malformed: what it says can't be.</summary>
    public static IoStatus TryDecode(ReadOnlySpan<byte> from, Guid format, int pair, out ulong generation, Span<DeviceEntry?> entries)
    {
        generation = 0;
        entries[..EntriesMax].Clear();
        if (from.Length < SizeBytes) return IoStatus.Malformed;
        if (!from[..SizeBytes].ContainsAnyExcept((byte)0)) return IoStatus.Missing;
        if (BinaryPrimitives.ReadUInt64LittleEndian(from[HashAt..]) != HashOf(from, format, pair)) return IoStatus.BadChecksum;
        if (BinaryPrimitives.ReadUInt64LittleEndian(from) != Magic || BinaryPrimitives.ReadInt32LittleEndian(from[8..]) != pair) return IoStatus.Malformed;
        for (var index = 0; index < EntriesMax; index++)
        {
            var at = from[(EntriesAt + (index * DeviceEntry.SizeBytes))..];
            if (at[0] == 0) continue;
            if (at[0] > DeviceEntry.NameBytesMax) return IoStatus.Malformed;
            var entry = new DeviceEntry(Encoding.ASCII.GetString(at.Slice(1, at[0])), BinaryPrimitives.ReadUInt32LittleEndian(at[48..]), BinaryPrimitives.ReadUInt32LittleEndian(at[52..]), BinaryPrimitives.ReadInt64LittleEndian(at[56..]));
            if (!DeviceEntry.IsName(entry.Name) || entry.LengthBytes < 0) return IoStatus.Malformed;
            entries[index] = entry;
        }
        generation = BinaryPrimitives.ReadUInt64LittleEndian(from[16..]);
        return IoStatus.Ok;
    }

    internal static ulong HashOf(ReadOnlySpan<byte> sector, Guid format, int pair)
    {
        Span<byte> seed = stackalloc byte[20];
        format.TryWriteBytes(seed);
        BinaryPrimitives.WriteInt32LittleEndian(seed[16..], pair);
        var hash = new XxHash3();
        hash.Append(seed);
        hash.Append(sector[..HashAt]);
        hash.Append(sector[(HashAt + 8)..SizeBytes]);
        return hash.GetCurrentHashAsUInt64();
    }
}
