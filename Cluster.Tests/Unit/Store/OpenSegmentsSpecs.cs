using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Unit.Store;

public sealed class OpenSegmentsSpecs : IDisposable
{
    private const int Max = 4;

    private readonly DirectoryInfo _root = Directory.CreateTempSubdirectory("myrmidon-segments-");
    private readonly OpenSegments _segments = new(Max);
    private readonly FileDisk _disk;

    public OpenSegmentsSpecs()
    {
        _disk = new FileDisk(Path.Combine(_root.FullName, "store"), segments: _segments);
        Assert.True(_disk.TryLock().IsOk);
    }

    /// <summary>As the kernel has it: how many handles of this process lead to the segments. One of another test's may be gone by now, and leads nowhere.</summary>
    private int OpenCount => Directory.GetFiles("/proc/self/fd").Count(link => new FileInfo(link).LinkTarget?.StartsWith(Path.Combine(_root.FullName, "store", SegmentTable.Prefix), StringComparison.Ordinal) == true);

    public void Dispose()
    {
        _disk.Dispose();
        _root.Delete(recursive: true);
    }

    [Fact(DisplayName = "A read for which the process could not open the file, for want of open files, is no error of the disk's; one that the disk failed is")]
    public void Not_the_disks_fault()
    {
        using var files = new FileDisk(_root.FullName);
        var disk = new StoreDisk(files, isHome: true, TimeProvider.System);
        var failed = DiskResult.Failed(IoStatus.DeviceError, "too many open files");
        disk.NoteRead(failed with { IsOfProcess = true }, "a", 0);
        Assert.Equal(0, disk.Errors);
        disk.NoteRead(failed, "a", 0);
        Assert.Equal(1, disk.Errors);
    }

    [Fact(DisplayName = "Of many segments no more are open than the limit says; those that were closed are opened again to be read and written, and say how long they are without that")]
    public void Bounded()
    {
        var files = Enumerable.Range(0, 40).Select(number => Make((byte)number)).ToArray();
        Assert.InRange(_segments.Count, 1, Max);
        Assert.Equal(_segments.Count, OpenCount);
        Assert.All(files, file => Assert.Equal(8, file.LengthBytes));
        var bytes = new byte[8];
        for (var number = 0; number < files.Length; number++)
        {
            Assert.Equal(8, files[number].Read(0, bytes).Count);
            Assert.Equal((byte)number, bytes[0]);
            Assert.True(files[number].WriteAll(8, bytes).IsOk && files[number].Sync().IsOk);
            Assert.Equal(16, files[number].LengthBytes);
        }
        Assert.InRange(OpenCount, 1, Max);
        foreach (var file in files) file.Dispose();
        Assert.Equal((0, 0), (_segments.Count, OpenCount));
    }

    [Fact(DisplayName = "A segment with bytes that are not on media stays open, so that a failure to write them is told to its fdatasync; after that it may go")]
    public void Unsynced()
    {
        var dirty = Enumerable.Range(0, 10).Select(number => Make((byte)number, syncs: false)).ToArray();
        Assert.Equal(10, OpenCount);
        foreach (var file in dirty) Assert.True(file.Sync().IsOk);
        var more = Enumerable.Range(0, 3).Select(number => Make((byte)number)).ToArray();
        Assert.InRange(OpenCount, 1, Max);
        foreach (var file in dirty.Concat(more)) file.Dispose();
    }

    [Fact(DisplayName = "A closed segment is not read from the page cache alone, which would have to open it: the disk's thread does it; a segment that is gone is an error")]
    public void Closed()
    {
        var first = Make(1);
        var others = Enumerable.Range(0, 10).Select(number => Make((byte)number)).ToArray();
        Assert.Equal(IoStatus.Busy, first.TryReadCached(0, new byte[8]).Status);
        foreach (var path in _root.GetFiles("segment-*", SearchOption.AllDirectories)) path.Delete();
        Assert.Equal(IoStatus.Missing, first.Read(0, new byte[8]).Status);
        foreach (var file in others.Append(first)) file.Dispose();
    }

    [Fact(DisplayName = "Many threads that read and write more segments than may be open find in each what belongs there")]
    public void Together()
    {
        var files = Enumerable.Range(0, 24).Select(number => Make((byte)number)).ToArray();
        Parallel.For(0, 8, new ParallelOptions { MaxDegreeOfParallelism = 8 }, thread =>
        {
            var bytes = new byte[8];
            for (var turn = 0; turn < 400; turn++)
            {
                var number = ((turn * 7) + (thread * 5)) % files.Length;
                Assert.Equal(8, files[number].Read(0, bytes).Count);
                Assert.Equal((byte)number, bytes[0]);
                Assert.True(files[number].WriteAll(8L * (1 + thread), bytes).IsOk);
                if (turn % 3 == 0) Assert.True(files[number].Sync().IsOk);
            }
        });
        foreach (var file in files) Assert.True(file.Sync().IsOk);
        Make(99).Dispose();
        foreach (var file in files) file.Dispose();
        Assert.Equal((0, 0), (_segments.Count, OpenCount));
    }

    [Fact(DisplayName = "Other files of a disk, which are replaced by others of their name, stay open")]
    public void Others()
    {
        Assert.True(_disk.Open("superblock", create: true, out var other).IsOk);
        Assert.True(other!.WriteAll(0, new byte[8]).IsOk && other!.Sync().IsOk);
        Assert.True(_disk.Rename("superblock", "aside").IsOk);
        var segments = Enumerable.Range(0, 10).Select(number => Make((byte)number)).ToArray();
        Assert.Equal(8, other!.Read(0, new byte[8]).Count);
        foreach (var file in segments.Append(other!)) file.Dispose();
    }

    private IDiskFile Make(byte content, bool syncs = true)
    {
        Assert.True(_disk.Open(SegmentTable.NameOf(Guid.NewGuid()), create: true, out var file).IsOk);
        var bytes = new byte[8];
        bytes.AsSpan().Fill(content);
        Assert.True(file!.WriteAll(0, bytes).IsOk);
        if (syncs) Assert.True(file!.Sync().IsOk);
        return file!;
    }
}
