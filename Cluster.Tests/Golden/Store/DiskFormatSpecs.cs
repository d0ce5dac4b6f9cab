using System.Buffers.Binary;
using System.IO.Hashing;
using System.Runtime.CompilerServices;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;
using Cluster.Tests.Simulation.Store;

namespace Cluster.Tests.Golden.Store;

/// <summary>The bytes of version 1 on disk. A difference here means that stores in the field can't be read any more.</summary>
public sealed class DiskFormatSpecs
{
    private static readonly Guid A = new("00112233-4455-6677-8899-aabbccddeeff");
    private static readonly Guid B = new("10112233-4455-6677-8899-aabbccddeeff");
    private static readonly Guid C = new("20112233-4455-6677-8899-aabbccddeeff");

    [Fact(DisplayName = "The superblock's bytes are those of version 2; one of version 1 knows no marks")]
    public void Superblock_bytes()
    {
        var superblock = new Superblock
        {
            CleanStop = true,
            SegmentBytes = 1 << 26,
            Compatible = 1,
            WriteCount = 7,
            Opens = new StoreOpens(5, [0x15, 0x14]),
            SuspectSince = 3,
            ClusterId = A,
            StoreId = B,
            DiskId = C,
            BootId = A,
            CleanEnd = new LogPosition(9, 4096),
        };
        var bytes = new byte[Superblock.SizeBytes];
        superblock.Encode(bytes);
        Check(bytes);
        Assert.Equal(IoStatus.Ok, Superblock.TryDecode(bytes, out var decoded));
        Assert.Equal(superblock, decoded);
        Assert.Equal(0, bytes[11]);
        (superblock with { SyncFailed = true }).Encode(bytes);
        Assert.Equal(1, bytes[11]);
        Assert.True(Superblock.TryDecode(bytes, out decoded) == IoStatus.Ok && decoded.SyncFailed);
        (superblock with { NodeId = C }).Encode(bytes);
        Assert.Equal(C, new Guid(bytes.AsSpan(400, 16)));
        Assert.True(Superblock.TryDecode(bytes, out decoded) == IoStatus.Ok && decoded == superblock with { NodeId = C });
        superblock.Encode(bytes);
        bytes[8] = 1;
        bytes.AsSpan(140, 504 - 140).Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(504), XxHash3.HashToUInt64(bytes.AsSpan(0, 504)));
        Assert.Equal(IoStatus.Ok, Superblock.TryDecode(bytes, out decoded));
        Assert.Equal(superblock with { Opens = new StoreOpens(5, []) }, decoded);
        new Superblock { StoreId = B, SegmentBytes = 1 << 26, Incompatible = 2 }.Encode(bytes);
        Assert.Equal(IoStatus.Unsupported, Superblock.TryDecode(bytes, out _));
    }

    [Fact(DisplayName = "The bytes of a block device's header are those of version 1; they are 4096, and end with their hash")]
    public void DeviceHeader_bytes()
    {
        var header = DeviceHeader.Of(A, 1L << 40);
        var bytes = new byte[DeviceHeader.SizeBytes];
        header.Encode(bytes);
        Check(bytes);
        Assert.Equal(IoStatus.Ok, DeviceHeader.TryDecode(bytes, out var decoded));
        Assert.Equal(header, decoded);
        bytes[40] ^= 1;
        Assert.Equal(IoStatus.BadChecksum, DeviceHeader.TryDecode(bytes, out _));
    }

    [Fact(DisplayName = "The bytes of a sector of a block device's table are those of version 1; another format's, or another pair's, are not believed")]
    public void DeviceSector_bytes()
    {
        var entries = new DeviceEntry?[DeviceSector.EntriesMax];
        entries[0] = new DeviceEntry(DiskLabel.FileName, 80, 1, 512);
        entries[3] = new DeviceEntry($"segment-{B:N}.log", 81, 1024, 64 << 20);
        var bytes = new byte[DeviceSector.SizeBytes];
        DeviceSector.Encode(bytes, A, 5, 9, entries);
        Check(bytes);
        var decoded = new DeviceEntry?[DeviceSector.EntriesMax];
        Assert.Equal(IoStatus.Ok, DeviceSector.TryDecode(bytes, A, 5, out var generation, decoded));
        Assert.Equal(9UL, generation);
        Assert.Equal(entries, decoded);
        Assert.Equal(IoStatus.BadChecksum, DeviceSector.TryDecode(bytes, B, 5, out _, decoded));
        Assert.Equal(IoStatus.BadChecksum, DeviceSector.TryDecode(bytes, A, 4, out _, decoded));
    }

    [Fact(DisplayName = "A disk's label's bytes are those of version 1")]
    public void Label_bytes()
    {
        var label = new DiskLabel(A, B, 1_700_000_000_000);
        var bytes = new byte[DiskLabel.SizeBytes];
        label.Encode(bytes);
        Check(bytes);
        Assert.Equal(IoStatus.Ok, DiskLabel.TryDecode(bytes, out var decoded));
        Assert.Equal(label, decoded);
    }

    [Fact(DisplayName = "The bytes of the list of disks are those of version 1")]
    public void Roster_bytes()
    {
        var roster = new DiskRoster(A, 9, [new RosterEntry(B, true, false, 1_700_000_000_000, "/disks/one"), new RosterEntry(C, false, true, 5, "/disks/zwölf")]);
        var bytes = new byte[DiskRoster.SizeBytes];
        roster.Encode(bytes);
        Check(bytes);
        Assert.Equal(IoStatus.Ok, DiskRoster.TryDecode(bytes, out var decoded));
        Assert.Equal((roster.Store, roster.WriteCount), (decoded!.Store, decoded.WriteCount));
        Assert.Equal(roster.Entries.AsEnumerable(), decoded.Entries);
    }

    [Fact(DisplayName = "A list of disks in which one is suspect, drained or empty is of version 2, with those bytes; its flags make no sense in version 1")]
    public void RosterDrained_bytes()
    {
        var roster = new DiskRoster(A, 9,
        [
            new RosterEntry(B, false, false, 1_700_000_000_000, "/disks/one") { Drained = true, Empty = true },
            new RosterEntry(C, false, true, 5, "/disks/two") { Suspect = true },
        ]);
        var bytes = new byte[DiskRoster.SizeBytes];
        roster.Encode(bytes);
        Check(bytes);
        Assert.Equal(IoStatus.Ok, DiskRoster.TryDecode(bytes, out var decoded));
        Assert.Equal(roster.Entries.AsEnumerable(), decoded!.Entries);
        bytes[8] = 1;
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(DiskRoster.SizeBytes - 8), XxHash3.HashToUInt64(bytes.AsSpan(0, DiskRoster.SizeBytes - 8)));
        Assert.Equal(IoStatus.Malformed, DiskRoster.TryDecode(bytes, out _));
        (roster with { Entries = [.. roster.Entries.Select(entry => entry with { Drained = false, Suspect = false, Empty = false })] }).Encode(bytes);
        Assert.Equal(1, bytes[8]);
    }

    [Fact(DisplayName = "A list of disks in which one's path led elsewhere is of version 3, with those bytes; its flag makes no sense in version 2")]
    public void RosterElsewhere_bytes()
    {
        var roster = new DiskRoster(A, 9, [new RosterEntry(B, true, false, 1_700_000_000_000, "/disks/one") { Elsewhere = true }, new RosterEntry(C, true, true, 5, "/disks/two")]);
        var bytes = new byte[DiskRoster.SizeBytes];
        roster.Encode(bytes);
        Check(bytes);
        Assert.Equal(IoStatus.Ok, DiskRoster.TryDecode(bytes, out var decoded));
        Assert.Equal(roster.Entries.AsEnumerable(), decoded!.Entries);
        bytes[8] = 2;
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(DiskRoster.SizeBytes - 8), XxHash3.HashToUInt64(bytes.AsSpan(0, DiskRoster.SizeBytes - 8)));
        Assert.Equal(IoStatus.Malformed, DiskRoster.TryDecode(bytes, out _));
    }

    [Fact(DisplayName = "The segment header's bytes are those of version 1")]
    public void Segment_bytes()
    {
        var header = new SegmentHeader(A, B, C, 12, new LogPosition(11, 8192), 1 << 26, 4);
        var bytes = new byte[SegmentHeader.SizeBytes];
        header.Encode(bytes);
        Check(bytes);
        Assert.Equal(IoStatus.Ok, SegmentHeader.TryDecode(bytes, out var decoded));
        Assert.Equal(header, decoded);
    }

    [Fact(DisplayName = "The entry prefix's bytes are those of version 1")]
    public void Prefix_bytes()
    {
        var place = new LogPosition(12, 512);
        var prefix = new EntryPrefix(EntryKind.Record, 4240, place, 7, new LogPosition(11, 8192), 0x0102030405060708);
        var bytes = new byte[EntryPrefix.SizeBytes];
        prefix.Encode(bytes, SegmentHeader.SeedOf(A));
        Check(bytes);
        Assert.True(EntryPrefix.TryDecode(bytes, SegmentHeader.SeedOf(A), place, out var decoded));
        Assert.Equal(prefix, decoded);
        Assert.False(EntryPrefix.TryDecode(bytes, SegmentHeader.SeedOf(B), place, out _));
        Assert.False(EntryPrefix.TryDecode(bytes, SegmentHeader.SeedOf(A), place with { Number = 13 }, out _));
    }

    [Fact(DisplayName = "A log with one record of each kind, and the checkpoint of it, are the bytes of version 1")]
    public void Log_bytes()
    {
        var rig = new StoreRig().Open();
        var volume = rig.Create();
        StoreRig.Append(volume, StoreRig.Write(volume.Volume, 1, 5, [[1, 2, 3], []]));
        StoreRig.Append(volume, StoreRig.Trim(volume.Volume, 2, new BlockRange(600, 100_000)));
        volume.Commit(2);
        StoreRig.Append(volume, StoreRig.Write(volume.Volume, 3, 9, [[4]], 2, 2));
        volume.Truncate(2);
        StoreRig.Append(volume, StoreRig.Write(volume.Volume, 2, 1, [[5, 6]], 0, 0, RecordFlags.Resync));
        volume.SetPosition(20, 2, discardAll: false);
        var windows = new SessionWindows();
        windows.Apply(StoreRig.Session, 3, 1, 20);
        volume.SetWindows(windows);
        var deleted = rig.Create(new VolumeId(9));
        rig.Store.Delete(deleted.Volume);
        rig.Sync(volume);
        StoreRig.Append(volume, StoreRig.Write(volume.Volume, 21, 9, [[7]], 2, 20));
        rig.Loop.Settle();
        var segment = rig.Store.Segments.All[0];
        Check(rig.Disk.Content(segment.Name).AsSpan(0, (int)segment.WrittenBytes), "Log");
        rig.StopClean();
        Check(rig.Disk.Content(CheckpointWriter.Name), "Checkpoint");
        rig.Open();
        Assert.Equal(21UL, rig.Find().LastSequence);
    }

    [Fact(DisplayName = "A store with a clone, a clone of a volume that is gone, a mask and a hidden snapshot: the log and the checkpoint are those bytes")]
    public void Clone_bytes()
    {
        var rig = new StoreRig().Open();
        var origin = rig.Create();
        StoreRig.Append(origin, StoreRig.Write(origin.Volume, 1, 5, [[1, 2, 3], [4]]));
        AppendMarker(origin, new SnapshotMarker(true, 0, []));
        origin.Commit(2);
        Assert.Equal(IoStatus.Ok, rig.Store.CreateClone(new VolumeId(8), new byte[] { 9 }, origin.Volume, 2).Status);
        var clone = rig.Find(new VolumeId(8));
        StoreRig.Append(clone, StoreRig.Trim(clone.Volume, 3, new BlockRange(6, 1)));
        AppendMarker(clone, new SnapshotMarker(true, 0, []));
        StoreRig.Append(clone, StoreRig.Write(clone.Volume, 5, 5, [[7]]));
        AppendMarker(clone, new SnapshotMarker(false, 4, [4]));
        clone.Commit(6);
        Assert.Equal(IoStatus.Ok, rig.Store.CreateClone(new VolumeId(10), new byte[] { 9 }, clone.Volume, 4).Status);
        AppendMarker(clone, new SnapshotMarker(false, 0, []));
        clone.Commit(7);
        rig.Store.Delete(origin.Volume);
        rig.Sync(clone);
        var segment = rig.Store.Segments.All[0];
        Check(rig.Disk.Content(segment.Name).AsSpan(0, (int)segment.WrittenBytes), "CloneLog");
        rig.StopClean();
        Check(rig.Disk.Content(CheckpointWriter.Name), "CloneCheckpoint");
        rig.Open();
        Assert.Equal([1, 2, 3], rig.Read(rig.Find(new VolumeId(10)), 5).Blocks[0].Bytes);
        Assert.Equal((6UL, 0), (rig.Read(rig.Find(new VolumeId(8)), 5).Blocks[0].Sequence, rig.Read(rig.Find(new VolumeId(8)), 6).Blocks[0].Bytes.Length));
    }

    private static void AppendMarker(IVolumeStore volume, SnapshotMarker marker)
    {
        var buffer = marker.Build(volume.Volume, out var header);
        (header.Sequence, header.Epoch) = (volume.LastSequence + 1, 1);
        header.Encode(buffer.Span);
        Assert.Equal(IoStatus.Ok, StoreRig.Append(volume, buffer));
    }

    /// <summary>Compares with Golden/Store/NAME.hex: 32 bytes a line, a run of whole zero lines as one line "zero N".</summary>
    private static void Check(ReadOnlySpan<byte> bytes, [CallerMemberName] string name = "")
    {
        var lines = new List<string>();
        var zeroes = 0;
        for (var at = 0; at < bytes.Length; at += 32)
        {
            var line = bytes.Slice(at, Math.Min(32, bytes.Length - at));
            if (line.Length == 32 && line.IndexOfAnyExcept((byte)0) < 0 && ++zeroes > 0) continue;
            if (zeroes > 0) lines.Add($"zero {zeroes}");
            zeroes = 0;
            lines.Add(Convert.ToHexStringLower(line));
        }
        if (zeroes > 0) lines.Add($"zero {zeroes}");
        var path = Path.Combine(AppContext.BaseDirectory, "Golden", "Store", $"{name}.hex");
        var expected = File.Exists(path) ? File.ReadAllLines(path) : [];
        // Beside the program, for the one who compares.
        if (!expected.SequenceEqual(lines)) File.WriteAllLines(Path.Combine(AppContext.BaseDirectory, $"{name}.hex.actual"), lines);
        Assert.Equal(expected, lines);
    }
}
