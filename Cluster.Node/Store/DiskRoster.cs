using System.Buffers.Binary;
using System.Collections.Immutable;
using System.IO.Hashing;
using System.Text;
using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>One further disk that a store counts on.</summary>
/// <param name="Failed">A write or an fdatasync failed on it: it is not used again until it is forgotten.</param>
/// <param name="Without">An open has gone on without it, and what that means for each volume is in the checkpoint. Until then the log may go on there.</param>
/// <param name="ChangedAtMs">When the entry was changed last, for people.</param>
/// <param name="Path">Where it was seen last. A disk is known by its id.</param>
public sealed record RosterEntry(Guid Disk, bool Failed, bool Without, ulong ChangedAtMs, string Path)
{
    /// <summary>An operator wants it empty: no segment is made there.</summary>
    public bool Drained { get; init; }

    /// <summary>It was much slower than the others, or erred: as Drained, until it was well for long.</summary>
    public bool Suspect { get; init; }

    /// <summary>Of a disk that failed: only in that its file system was unmounted under the store. It is used again when it is there, like one that was missing.</summary>
    public bool Elsewhere { get; init; }

    /// <summary>Of a disk with one of these two: nothing of the store is on it, on media.</summary>
    public bool Empty { get; init; }
}

/// <summary>
/// Which further disks a store consists of, so that one that is not there is missed. 4096 bytes, little-endian, in one of two slots of the file "disks" of the
/// home (at 0 and 4096), written in turn; the valid one with the higher write count holds:
/// <code>
///   0 magic u64 "MYRDISKS"   8 version u16   10 entries u16   12 zero u32   16 store id (16)   32 write count u64   40 zero
/// 128 entries of 256 bytes, 15 at most:
///       0 disk id (16)   16 flags u8 (1 failed, 2 an open went on without it; from version 2 on: 4 drained by an operator, 8 suspect, 16 nothing is on it; from version 3 on: 32 beside 1, its path led elsewhere, and no call on it failed)   17 zero u8   18 length of the path u16   20 zero u32
///      24 changed at u64 (ms since 1970, UTC)   32 path, UTF-8, 224 bytes at most
/// 3968 zero   4088 hash u64 of bytes 0-4087
/// </code>
/// It is of the version that knows all flags that some disk has: an earlier program can use the store again once nothing is drained, and an open has gone on with or without a disk whose path led elsewhere.
/// </summary>
public sealed record DiskRoster(Guid Store, ulong WriteCount, ImmutableArray<RosterEntry> Entries)
{
    public const int SizeBytes = 4096;
    public const int EntriesMax = 15;
    public const int PathBytesMax = 224;

    /// <summary>"MYRDISKS".</summary>
    public const ulong Magic = 0x534B5349_4452594D;
    public const ushort VersionCurrent = 3;
    private const ushort VersionDrained = 2;
    private const ushort VersionOldest = 1;
    private const int EntriesAt = 128;
    private const int EntryBytes = 256;
    private const int PathAt = 32;
    private const int HashedBytes = 4088;
    private const byte FailedFlag = 1;
    private const byte WithoutFlag = 2;
    private const byte DrainedFlag = 4;
    private const byte SuspectFlag = 8;
    private const byte EmptyFlag = 16;
    private const byte ElsewhereFlag = 32;
    private const byte FlagsOfOldest = FailedFlag | WithoutFlag;
    private const byte FlagsOfDrained = FlagsOfOldest | DrainedFlag | SuspectFlag | EmptyFlag;
    private const byte FlagsKnown = FlagsOfDrained | ElsewhereFlag;

    public RosterEntry? Find(Guid disk) => Entries.FirstOrDefault(entry => entry.Disk == disk);

    /// <summary>With this entry in place of the one of the same disk, or behind the others.</summary>
    public DiskRoster With(RosterEntry entry)
    {
        var at = Entries.Select((known, index) => (known, index)).Where(each => each.known.Disk == entry.Disk).Select(each => each.index).FirstOrDefault(-1);
        return this with { Entries = at < 0 ? Entries.Add(entry) : Entries.SetItem(at, entry) };
    }

    public DiskRoster Without(Guid disk) => this with { Entries = Entries.RemoveAll(entry => entry.Disk == disk) };

    public void Encode(Span<byte> to)
    {
        Invariant.That(Entries.Length <= EntriesMax, "a roster has too many disks");
        to[..SizeBytes].Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(to, Magic);
        BinaryPrimitives.WriteUInt16LittleEndian(to[8..], VersionFor(Entries.Aggregate(0, (all, entry) => all | FlagsOf(entry))));
        BinaryPrimitives.WriteUInt16LittleEndian(to[10..], (ushort)Entries.Length);
        Store.TryWriteBytes(to[16..]);
        BinaryPrimitives.WriteUInt64LittleEndian(to[32..], WriteCount);
        for (var index = 0; index < Entries.Length; index++) EncodeEntry(Entries[index], to.Slice(EntriesAt + (index * EntryBytes), EntryBytes));
        BinaryPrimitives.WriteUInt64LittleEndian(to[HashedBytes..], XxHash3.HashToUInt64(to[..HashedBytes]));
    }

    /// <summary>Malformed: nothing was ever written there, or it makes no sense; BadChecksum; Unsupported: a version that this program does not know.</summary>
    public static IoStatus TryDecode(ReadOnlySpan<byte> from, out DiskRoster? roster)
    {
        roster = null;
        if (from.Length < SizeBytes || BinaryPrimitives.ReadUInt64LittleEndian(from) != Magic) return IoStatus.Malformed;
        if (BinaryPrimitives.ReadUInt64LittleEndian(from[HashedBytes..]) != XxHash3.HashToUInt64(from[..HashedBytes])) return IoStatus.BadChecksum;
        var version = BinaryPrimitives.ReadUInt16LittleEndian(from[8..]);
        if (version is < VersionOldest or > VersionCurrent) return IoStatus.Unsupported;
        var count = BinaryPrimitives.ReadUInt16LittleEndian(from[10..]);
        if (count > EntriesMax) return IoStatus.Malformed;
        var entries = ImmutableArray.CreateBuilder<RosterEntry>(count);
        for (var index = 0; index < count; index++)
        {
            if (DecodeEntry(from.Slice(EntriesAt + (index * EntryBytes), EntryBytes), version) is not { } entry || entries.Any(known => known.Disk == entry.Disk)) return IoStatus.Malformed;
            entries.Add(entry);
        }
        roster = new DiskRoster(new Guid(from[16..32]), BinaryPrimitives.ReadUInt64LittleEndian(from[32..]), entries.MoveToImmutable());
        return IoStatus.Ok;
    }

    private static void EncodeEntry(RosterEntry entry, Span<byte> to)
    {
        var path = Encoding.UTF8.GetBytes(entry.Path);
        Invariant.That(path.Length <= PathBytesMax, "a disk's path is too long for the roster");
        entry.Disk.TryWriteBytes(to);
        to[16] = FlagsOf(entry);
        BinaryPrimitives.WriteUInt16LittleEndian(to[18..], (ushort)path.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(to[24..], entry.ChangedAtMs);
        path.CopyTo(to[PathAt..]);
    }

    private static byte FlagsOf(RosterEntry entry) => (byte)((entry.Failed ? FailedFlag : 0) | (entry.Without ? WithoutFlag : 0) | (entry.Drained ? DrainedFlag : 0)
        | (entry.Suspect ? SuspectFlag : 0) | (entry.Empty ? EmptyFlag : 0) | (entry.Elsewhere ? ElsewhereFlag : 0));

    private static ushort VersionFor(int flags) => (flags & ~FlagsOfDrained) != 0 ? VersionCurrent : (flags & ~FlagsOfOldest) != 0 ? VersionDrained : VersionOldest;

    private static int FlagsIn(ushort version) => version switch { VersionOldest => FlagsOfOldest, VersionDrained => FlagsOfDrained, _ => FlagsKnown };

    private static RosterEntry? DecodeEntry(ReadOnlySpan<byte> from, ushort version)
    {
        var length = BinaryPrimitives.ReadUInt16LittleEndian(from[18..]);
        var disk = new Guid(from[..16]);
        var flags = from[16];
        if (length > PathBytesMax || disk == Guid.Empty || (flags & ~FlagsIn(version)) != 0) return null;
        return new RosterEntry(disk, (flags & FailedFlag) != 0, (flags & WithoutFlag) != 0, BinaryPrimitives.ReadUInt64LittleEndian(from[24..]), Encoding.UTF8.GetString(from.Slice(PathAt, length)))
        {
            Drained = (flags & DrainedFlag) != 0,
            Suspect = (flags & SuspectFlag) != 0,
            Empty = (flags & EmptyFlag) != 0,
            Elsewhere = (flags & ElsewhereFlag) != 0,
        };
    }
}
