using Cluster.Csi.Attach;
using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Unit.Store;

public sealed class FileDiskSpecs : IDisposable
{
    private readonly DirectoryInfo _root = Directory.CreateTempSubdirectory("myrmidon-disk-");

    public void Dispose() => _root.Delete(recursive: true);

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
        Assert.Equal(["b"], Directory.EnumerateFiles(path).Select(Path.GetFileName));
        Assert.True(file!.WriteAll(0, new byte[8]).IsOk && file!.Sync().IsOk);
        file!.Dispose();

        Directory.Delete(path, recursive: true);
        Directory.Move(aside, path);
        Assert.True(disk.Open("c", create: true, out var made).IsOk);
        made!.Dispose();
        Assert.Equal(8, new FileInfo(Path.Combine(path, "a")).Length);
    }

    [Fact(DisplayName = "A log of small groups has written zeroes behind its end; a log of large groups, a file that was there before and one that is no log have not")]
    public void Zeroes_behind_a_log()
    {
        const int Small = 4096;
        using var disk = new FileDisk(_root.FullName);
        Assert.Equal(((2 * Small) + WrittenAhead.AheadBytes, (2 * Small) + WrittenAhead.AheadBytes), (Written("small", Small, file => file.PreallocateLog(4 << 20)), Written("small", Small, _ => DiskResult.Done())));
        Assert.Equal(3 * (WrittenAhead.GroupBytesMax + Small), Written("large", WrittenAhead.GroupBytesMax + Small, file => file.PreallocateLog(4 << 20)));
        Assert.Equal(3 * Small, Written("pages", Small, file => file.Preallocate(4 << 20)));
        Assert.Equal(3 * Small, Written("pages", Small, file => file.PreallocateLog(4 << 20)));

        long Written(string name, int groupBytes, Func<IDiskFile, DiskResult> prepare)
        {
            Assert.True(disk.Open(name, create: true, out var file).IsOk);
            using (file)
            {
                Assert.True(prepare(file!).IsOk);
                for (var group = 0; group < 3; group++) Assert.True(file!.WriteAll(group * groupBytes, new byte[groupBytes]).IsOk && file!.Sync().IsOk);
                Assert.Equal(4 << 20, file!.LengthBytes);
            }
            using var handle = File.OpenHandle(Path.Combine(_root.FullName, name));
            return Native.Seek(handle, 0, Native.SeekHole, out _);
        }
    }
}
