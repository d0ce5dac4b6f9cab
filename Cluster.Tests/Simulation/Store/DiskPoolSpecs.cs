using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>Which directories are a store's disks, and what goes where.</summary>
public sealed class DiskPoolSpecs
{
    private const long SegmentBytes = StoreOptions.SegmentBytesMin;

    [Fact(DisplayName = "A store over three disks puts segments on all of them, and reads back what it wrote after it was opened anew with the disks in another order")]
    public void All_are_used()
    {
        var rig = Filled(3);
        Assert.All(rig.Store.Disks, disk => Assert.True(disk.Segments >= 2, $"{disk.Path} has {disk.Segments} segments"));
        Assert.Equal(rig.Store.Segments.Count, rig.Store.Disks.Sum(disk => disk.Segments));
        var ids = rig.Store.Disks.ToDictionary(disk => disk.Path, disk => disk.Id);
        rig.StopClean();
        rig.Directories = [rig.Directories[0], rig.Directories[2], rig.Directories[1]];
        rig.Open();
        Assert.Equal(ids, rig.Store.Disks.ToDictionary(disk => disk.Path, disk => disk.Id));
        CheckAll(rig);
    }

    [Fact(DisplayName = "The header of each segment names the disk where it lies")]
    public void Headers_name_disks()
    {
        var rig = Filled(2);
        rig.StopClean();
        foreach (var directory in rig.Directories)
        {
            var id = rig.Store.Disks.Single(disk => disk.Path == directory.Description).Id;
            var names = new List<string>();
            Assert.True(directory.List(names).IsOk);
            var headers = names.Where(name => SegmentTable.IdOf(name) is not null).Select(name => HeaderOf(directory, name)).OfType<SegmentHeader>().ToArray();
            Assert.NotEmpty(headers);
            Assert.All(headers, header => Assert.Equal(id, header.Disk));
        }
    }

    [Fact(DisplayName = "A disk is known by its label: two that have changed places are both found")]
    public void Paths_swap()
    {
        var rig = Filled(3);
        rig.StopClean();
        SwapDirectories(rig.Disk);
        rig.Open();
        Assert.All(rig.Store.Disks, disk => Assert.Equal(DiskState.InUse, disk.State));
        CheckAll(rig);
    }

    [Fact(DisplayName = "A disk of twice the size gets twice the segments, and a full one gets none")]
    public void By_room()
    {
        var rig = new StoreRig(3, new StoreOptions { CapacityBytes = 44 * SegmentBytes }, disks: 3);
        (rig.Directories[0].FreeLimit, rig.Directories[1].FreeLimit, rig.Directories[2].FreeLimit) = (20 * SegmentBytes, 40 * SegmentBytes, SegmentBytes / 2);
        Fill(rig.Open(), 2000);
        var segments = rig.Store.Disks.Select(disk => disk.Segments).ToArray();
        Assert.Equal(0, segments[2]);
        Assert.InRange(segments[1], (2 * segments[0]) - 2, (2 * segments[0]) + 2);
        Assert.True(segments[0] > 5);
    }

    [Fact(DisplayName = "Room is counted by file system, and what can be used is that of all disks together")]
    public void Capacity()
    {
        var rig = new StoreRig(4, new StoreOptions { FileSystemReservePercent = 0 }, disks: 2);
        (rig.Directories[0].FreeLimit, rig.Directories[1].FreeLimit) = (10 * SegmentBytes, 30 * SegmentBytes);
        rig.Open();
        Assert.InRange(rig.Store.Segments.SegmentsMax, 38, 40);
        Fill(rig, 400);
        Assert.Null(rig.Store.FailureReason);
        CheckAll(rig, 400);
    }

    [Theory(DisplayName = "The segments of a new store are as large as all of its disks together allow, whatever the home has; file systems count once")]
    [InlineData(1, false, 4)]
    [InlineData(3, false, 16)]
    [InlineData(3, true, 4)]
    public void Segment_size(int disks, bool isOneFileSystem, int expectedMiB)
    {
        var rig = new StoreRig(5, new StoreOptions { SegmentBytes = 32 << 20 }, disks: Math.Max(2, disks));
        rig.Directories = [.. rig.Directories.Take(disks)];
        foreach (var directory in rig.Directories)
        {
            directory.FreeLimit = 3L << 30;
            if (isOneFileSystem) directory.FileSystem = 1;
        }
        rig.Open();
        Assert.Equal(expectedMiB << 20, rig.Store.Segments.SegmentBytes);
    }

    [Fact(DisplayName = "A directory of another store is refused with both stores named, and so are one with other files and disks without their store; nothing is changed")]
    public void Refusals()
    {
        var (rig, other) = (Filled(2), new StoreRig(77, disks: 2));
        other.Options = other.Options with { NewId = Guid.NewGuid };
        other.Open();
        var (own, foreign) = (rig.Store.StoreId, other.Store.StoreId);
        rig.StopClean();
        other.StopClean();
        var operations = (rig.Disk.Operations, other.Disk.Operations);
        var directories = rig.Directories;
        rig.Directories = [directories[0], directories[1], other.Directories[1]];
        Refused(rig, $"is a disk of store {foreign}, and the store in home is {own}");
        rig.Directories = [new SimulatedDirectory(rig.Disk, "elsewhere/"), directories[1]];
        Refused(rig, $"d1/ is a disk of store {own}, and there is no store in elsewhere/");
        rig.Directories = [directories[0], directories[1], directories[1]];
        Refused(rig, "are one disk by their labels");
        Assert.Equal(operations, (rig.Disk.Operations, other.Disk.Operations));
        Assert.True(new SimulatedDirectory(rig.Disk, "d9/").Open("notes.txt", create: true, out _).IsOk);
        rig.Directories = [.. directories, new SimulatedDirectory(rig.Disk, "d9/")];
        Refused(rig, "d9/ is named as a disk of the store, and holds other files (notes.txt)");
        rig.Directories = directories;
        Assert.Equal(0UL, rig.Open().Store.SuspectSince);
        CheckAll(rig);
    }

    [Fact(DisplayName = "A program that knows one disk only refuses a store that has several")]
    public void Feature()
    {
        var rig = new StoreRig(disks: 2).Open();
        rig.StopClean();
        Assert.Equal(IoStatus.Ok, SuperblockFile.TryOpen(rig.Directories[0], out var file, out _));
        Assert.Equal(Superblock.SeveralDisks, file!.Current.Incompatible & Superblock.SeveralDisks);
        var alone = new StoreRig().Open();
        alone.StopClean();
        Assert.Equal(IoStatus.Ok, SuperblockFile.TryOpen(alone.Disk, out file, out _));
        Assert.Equal(0UL, file!.Current.Incompatible);
        Assert.DoesNotContain(DiskRosterFile.Name, alone.Disk.Names);
    }

    [Fact(DisplayName = "A disk is added while there are some, and wherever the power goes while it is, the next open has it or can take it")]
    public void Added_through_a_crash()
    {
        var steps = 0;
        for (var operation = 1L; ; operation++, steps++)
        {
            var rig = Filled(2);
            rig.StopClean();
            rig.Directories = [.. rig.Directories, new SimulatedDirectory(rig.Disk, "d2/")];
            rig.Disk.PowerOffAt = rig.Disk.Operations + operation;
            var opened = rig.TryOpen();
            if (!rig.Disk.IsOff) break;
            if (opened.Store is null) Assert.NotEqual("", opened.Reason);
            rig.Restart(PowerLoss.Torn);
            Assert.All(rig.Store.Disks, disk => Assert.Equal(DiskState.InUse, disk.State));
            Assert.Equal(3, rig.Store.Disks.Count);
            CheckAll(rig);
        }
        Assert.InRange(steps, 8, 100);
    }

    /// <summary>Two volumes with so many blocks each, flushed.</summary>
    internal static StoreRig Filled(int disks, int blocks = 300)
    {
        var rig = new StoreRig(2, new StoreOptions { CapacityBytes = 64 * SegmentBytes }, disks: disks).Open();
        return Fill(rig, blocks);
    }

    /// <summary>The same with the volume in the checkpoint: it is known whatever is lost of the log.</summary>
    internal static StoreRig FilledBehindCheckpoint(int disks, int blocks = 300)
    {
        var rig = new StoreRig(2, new StoreOptions { CapacityBytes = 64 * SegmentBytes }, disks: disks).Open();
        rig.Sync(rig.Create());
        rig.StopClean();
        return Fill(rig.Open(), blocks);
    }

    internal static StoreRig Fill(StoreRig rig, int blocks)
    {
        var volume = rig.Store.Find(StoreRig.Volume) ?? rig.Create();
        for (var block = 0UL; block < (ulong)blocks; block++)
        {
            Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, block, StoreRig.Bytes(block)));
            if (block % 20 == 19) rig.Loop.Settle();
        }
        volume.Commit(volume.LastSequence);
        rig.Sync(volume);
        return rig;
    }

    internal static void CheckAll(StoreRig rig, int blocks = 300)
    {
        for (var block = 0UL; block < (ulong)blocks; block++)
        {
            var (status, read) = rig.Read(rig.Find(), block);
            Assert.Equal((IoStatus.Ok, block), (status, block));
            Assert.Equal(StoreRig.Bytes(block), read[0].Bytes);
        }
    }

    private static void Refused(StoreRig rig, string part)
    {
        var opened = rig.TryOpen();
        Assert.Equal((IoStatus.Conflict, null), (opened.Status, opened.Store));
        Assert.Contains(part, opened.Reason, StringComparison.Ordinal);
    }

    /// <summary>Null: never in use.</summary>
    private static SegmentHeader? HeaderOf(SimulatedDirectory directory, string name)
    {
        Assert.True(directory.Open(name, create: false, out var file).IsOk);
        var bytes = new byte[SegmentHeader.SizeBytes];
        Assert.True(file!.ReadExactly(0, bytes).IsOk);
        return SegmentHeader.TryDecode(bytes, out var header) == IoStatus.Ok ? header : null;
    }

    private static void SwapDirectories(SimulatedDisk disk)
    {
        foreach (var name in disk.Names.Where(name => name.StartsWith("d1/", StringComparison.Ordinal)).ToArray()) disk.Rename(name, "tmp/" + name[3..]);
        foreach (var name in disk.Names.Where(name => name.StartsWith("d2/", StringComparison.Ordinal)).ToArray()) disk.Rename(name, "d1/" + name[3..]);
        foreach (var name in disk.Names.Where(name => name.StartsWith("tmp/", StringComparison.Ordinal)).ToArray()) disk.Rename(name, "d2/" + name[4..]);
        disk.SyncDirectory();
    }
}
