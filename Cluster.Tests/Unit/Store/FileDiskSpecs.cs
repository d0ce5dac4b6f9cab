using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Unit.Store;

public sealed class FileDiskSpecs : IDisposable
{
    private readonly DirectoryInfo _root = Directory.CreateTempSubdirectory("myrmidon-disk-");

    public void Dispose() => _root.Delete(recursive: true);

    [Fact(DisplayName = "What a disk has free, and which file system it is of, is told of the one that was locked, not of another that has its path by now")]
    public void Another_file_system()
    {
        var (path, aside) = (Path.Combine(_root.FullName, "store"), Path.Combine(_root.FullName, "aside"));
        using var disk = new FileDisk(path);
        Assert.True(disk.TryLock().IsOk);
        var (fileSystem, free) = (disk.FileSystem, disk.FreeBytes);
        Assert.True(fileSystem != 0 && free > 0);
        Directory.Move(path, aside);
        // There nothing is ever free.
        Directory.CreateSymbolicLink(path, "/proc");
        using var other = new FileDisk(path);
        Assert.Equal(0, other.FreeBytes);
        Assert.Equal(fileSystem, disk.FileSystem);
        Assert.True(disk.FreeBytes > 0);
        disk.Dispose();
        Assert.Equal((0L, 0UL), (disk.FreeBytes, disk.FileSystem));
        Directory.Delete(path);
    }

    [Fact(DisplayName = "Nothing is made, found or deleted in another directory that has a disk's path later; open files go on, and with the directory back all does")]
    public void Another_directory()
    {
        var (path, aside) = (Path.Combine(_root.FullName, "store"), Path.Combine(_root.FullName, "aside"));
        using var disk = new FileDisk(path);
        Assert.True(disk.TryLock().IsOk);
        Assert.True(disk.Open("a", create: true, out var file).IsOk);
        Directory.Move(path, aside);
        Directory.CreateDirectory(path);
        File.WriteAllText(Path.Combine(path, "b"), "of somebody else");

        Assert.All(
            [disk.Open("a", create: true, out _), disk.Open("b", create: false, out _), disk.Delete("b"), disk.Rename("b", "c"), disk.List([]), disk.SyncDirectory()],
            result => Assert.Equal((IoStatus.DeviceError, true), (result.Status, result.Detail!.Contains("its file system was unmounted", StringComparison.Ordinal))));
        Assert.True(disk.Open("a", create: true, out _).IsElsewhere && disk.Delete("b").IsElsewhere);
        Assert.Equal(["b"], Directory.EnumerateFiles(path).Select(Path.GetFileName));
        Assert.True(file!.WriteAll(0, new byte[8]).IsOk && file!.Sync().IsOk);
        file!.Dispose();

        Directory.Delete(path, recursive: true);
        Directory.Move(aside, path);
        Assert.True(disk.Open("c", create: true, out var made).IsOk);
        made!.Dispose();
        Assert.Equal(8, new FileInfo(Path.Combine(path, "a")).Length);
    }
}
