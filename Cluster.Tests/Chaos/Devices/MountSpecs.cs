using System.Security.Cryptography;
using Cluster.Csi.Attach;
using Cluster.Tests.Chaos.Hosts;
using Cluster.Tests.Integration.EndToEnd;

namespace Cluster.Tests.Chaos.Devices;

/// <summary>File systems on devices: made only where there is nothing, checked, mounted, shown elsewhere, grown.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "Chaos")]
public class MountSpecs
{
    [Theory(DisplayName = "A blank device gets its file system, which is clean, is mounted where it is asked for, and is there the next time")]
    [InlineData(FileSystemKind.Ext4)]
    [InlineData(FileSystemKind.Xfs)]
    public async Task Format_and_mount(FileSystemKind kind)
    {
        await using var rig = new DeviceRig();
        var device = await rig.AttachAsync();
        Assert.Equal(DeviceContent.Blank, DeviceRig.Ok(await rig.Mounter.ProbeAsync(device, default)).Content);
        DeviceRig.Ok(await rig.Mounter.FormatAsync(device, kind, [], default));
        await AssertCleanAsync(kind, device.Path);
        var request = new MountRequest(device, Path.Combine(rig.Root, "mnt"), kind, ["noatime"]);
        var mounted = DeviceRig.Ok(await rig.Mounter.MountAsync(request, default));
        Assert.Contains("noatime", mounted.Options, StringComparison.Ordinal);
        await File.WriteAllTextAsync(Path.Combine(mounted.Path, "hello"), "world");
        Assert.Equal(mounted, DeviceRig.Ok(await rig.Mounter.MountAsync(request, default)));
        Assert.True((await rig.Mounter.FormatAsync(device, kind, [], default)).IsOk);
        var stats = DeviceRig.Ok(rig.Mounter.Stats(mounted.Path));
        Assert.InRange(stats.TotalBytes, DeviceRig.SizeBytes / 2, DeviceRig.SizeBytes);
        Assert.True(stats.TotalInodes > 0 && stats.UsedInodes > 0 && stats.AvailableInodes + stats.UsedInodes == stats.TotalInodes);
        Assert.True((await rig.Mounter.UnmountAsync(mounted.Path, force: false, default)).IsOk);
        Assert.True((await rig.Mounter.UnmountAsync(mounted.Path, force: false, default)).IsOk);
        Assert.Equal(AttachStatus.NotFound, rig.Mounter.MountedAt(mounted.Path).Status);
        DeviceRig.Ok(await rig.Mounter.FormatAsync(device, kind, [], default));
        DeviceRig.Ok(await rig.Mounter.MountAsync(request with { ReadOnly = true }, default));
        Assert.Equal("world", await File.ReadAllTextAsync(Path.Combine(mounted.Path, "hello")));
        Assert.Throws<IOException>(() => File.WriteAllText(Path.Combine(mounted.Path, "no"), ""));
        Assert.Equal(AttachStatus.Conflict, (await rig.Mounter.MountAsync(request, default)).Status);
    }

    [Theory(DisplayName = "A device that holds anything is never formatted: not one byte of it changes, and what it holds is named")]
    [InlineData("ext4", "ext4")]
    [InlineData("xfs", "xfs")]
    [InlineData("swap", "swap")]
    [InlineData("partitions", "dos")]
    [InlineData("lvm", "LVM2_member")]
    [InlineData("byte", "no format")]
    [InlineData("tail", "no format")]
    public async Task Never_formats(string content, string named)
    {
        await using var rig = new DeviceRig();
        var device = await rig.AttachAsync();
        await FillAsync(device.Path, content);
        var before = await HashAsync(device.Path);
        foreach (var kind in new[] { FileSystemKind.Ext4, FileSystemKind.Xfs })
        {
            if (FileSystems.NameOf(kind) == content) continue;
            var refused = await rig.Mounter.FormatAsync(device, kind, [], default);
            Assert.Equal(AttachStatus.NotBlank, refused.Status);
            Assert.Contains(named, refused.Reason, StringComparison.Ordinal);
        }
        Assert.Equal(before, await HashAsync(device.Path));
    }

    [Theory(DisplayName = "A format that was cut off is done anew, whatever it has left behind its mark")]
    [InlineData(FileSystemKind.Ext4)]
    [InlineData(FileSystemKind.Xfs)]
    public async Task Unfinished_format(FileSystemKind kind)
    {
        await using var rig = new DeviceRig();
        var device = await rig.AttachAsync();
        await using (var file = new FileStream(device.Path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
        {
            var garbage = new byte[16 << 20];
            new Random(3).NextBytes(garbage);
            await file.WriteAsync(garbage);
            file.Position = 0;
            await file.WriteAsync(FormatMarker.Encode(kind));
            file.Flush(flushToDisk: true);
        }
        Assert.Equal(DeviceContent.UnfinishedFormat, DeviceRig.Ok(await rig.Mounter.ProbeAsync(device, default)).Content);
        DeviceRig.Ok(await rig.Mounter.FormatAsync(device, kind, [], default));
        await AssertCleanAsync(kind, device.Path);
        Assert.Equal(kind, DeviceRig.Ok(await rig.Mounter.ProbeAsync(device, default)).FileSystem);
    }

    [Fact(DisplayName = "A format that stops at any of its writes leaves a device that the next one formats")]
    public async Task Format_stops_anywhere()
    {
        await using var rig = new DeviceRig();
        var device = await rig.AttachAsync();
        var found = new HashSet<DeviceContent>();
        for (var writes = 0; ; writes++)
        {
            using var stop = new CancellationTokenSource();
            var left = writes;
            // Stopped by the device, which takes so many writes and no more.
            rig.Volume.Performs = request => request.Operation == Cluster.Messages.Model.BlockOperation.Write && left-- <= 0 ? 0 : request.LengthBytes;
            await rig.Mounter.FormatAsync(device, FileSystemKind.Ext4, [], default);
            rig.Volume.Performs = null;
            await RootTools.RunAsync("blockdev", "--flushbufs", device.Path);
            var content = DeviceRig.Ok(await rig.Mounter.ProbeAsync(device, default)).Content;
            found.Add(content);
            Assert.NotEqual(DeviceContent.Other, content);
            if (left > 0) break;
            DeviceRig.Ok(await rig.Mounter.FormatAsync(device, FileSystemKind.Ext4, [], default));
            await AssertCleanAsync(FileSystemKind.Ext4, device.Path);
            await RootTools.RunAsync("blkdiscard", "--zeroout", device.Path);
        }
        Assert.Equal([DeviceContent.Blank, DeviceContent.UnfinishedFormat, DeviceContent.FileSystem], found.Order());
    }

    [Fact(DisplayName = "A mounted device is in use: it is neither probed nor formatted")]
    public async Task Mounted_is_in_use()
    {
        await using var rig = new DeviceRig();
        var device = await rig.AttachAsync();
        DeviceRig.Ok(await rig.Mounter.FormatAsync(device, FileSystemKind.Ext4, [], default));
        DeviceRig.Ok(await rig.Mounter.MountAsync(new MountRequest(device, Path.Combine(rig.Root, "mnt"), FileSystemKind.Ext4, []), default));
        Assert.Equal(AttachStatus.InUse, (await rig.Mounter.ProbeAsync(device, default)).Status);
        Assert.Equal(AttachStatus.NotBlank, (await rig.Mounter.FormatAsync(device, FileSystemKind.Xfs, [], default)).Status);
    }

    [Fact(DisplayName = "A damaged file system is not mounted, and not changed")]
    public async Task Damaged()
    {
        await using var rig = new DeviceRig();
        var device = await rig.AttachAsync();
        DeviceRig.Ok(await rig.Mounter.FormatAsync(device, FileSystemKind.Ext4, [], default));
        // Without its root directory, and known to have errors, as after one that the kernel met.
        await RootTools.RunAsync("debugfs", "-w", "-R", "clri <2>", device.Path);
        await RootTools.RunAsync("debugfs", "-w", "-R", "set_super_value state 2", device.Path);
        var mounted = await rig.Mounter.MountAsync(new MountRequest(device, Path.Combine(rig.Root, "mnt"), FileSystemKind.Ext4, []), default);
        Assert.Equal(AttachStatus.Damaged, mounted.Status);
        Assert.Contains($"e2fsck {device.Path}", mounted.Reason, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "A damaged xfs is not mounted, and the program that mends it is named; once that has run it is mounted")]
    public async Task Damaged_xfs()
    {
        await using var rig = new DeviceRig();
        var device = await rig.AttachAsync();
        DeviceRig.Ok(await rig.Mounter.FormatAsync(device, FileSystemKind.Xfs, [], default));
        // The root directory's inode, which is in the first chunk of inodes: block 16 where blocks have 4 KiB and inodes 512 bytes.
        await RootTools.RunAsync("dd", "if=/dev/zero", $"of={device.Path}", "bs=512", "seek=128", "count=8", "conv=notrunc,fsync");
        var request = new MountRequest(device, Path.Combine(rig.Root, "mnt"), FileSystemKind.Xfs, []);
        var mounted = await rig.Mounter.MountAsync(request, default);
        Assert.Equal(AttachStatus.Damaged, mounted.Status);
        Assert.Contains($"needs a decision: run xfs_repair {device.Path}", mounted.Reason, StringComparison.Ordinal);
        await RootTools.RunAsync("xfs_repair", device.Path);
        DeviceRig.Ok(await rig.Mounter.MountAsync(request, default));
    }

    [Theory(DisplayName = "A file system that was not unmounted cleanly is not mounted from a read-only device unless it is asked for without its journal; what to do is said, and mounted for writing once it is well")]
    [InlineData(FileSystemKind.Ext4, "noload")]
    [InlineData(FileSystemKind.Xfs, "norecovery")]
    public async Task Unclean_and_read_only(FileSystemKind kind, string option)
    {
        await using var rig = new DeviceRig(1, 2, 3, 4);
        var device = await rig.AttachAsync();
        DeviceRig.Ok(await rig.Mounter.FormatAsync(device, kind, [], default));
        var path = Path.Combine(rig.Root, "mnt");
        DeviceRig.Ok(await rig.Mounter.MountAsync(new MountRequest(device, path, kind, []), default));
        await File.WriteAllTextAsync(Path.Combine(path, "kept"), "kept");
        await RootTools.RunAsync("sync", "-f", path);
        // As a snapshot of it would be now: nothing more is written back.
        rig.Kill();
        await DeviceRig.UntilAsync(() => DaemonProcess.Find(rig.MarkOf()).Count == 0, "the process did not end");
        Assert.True((await rig.Mounter.UnmountAsync(path, force: true, default)).IsOk);
        Assert.True((await rig.Attacher.DetachAsync(device.Identity.Volume, force: true, default)).IsOk);

        var reader = await rig.AttachAsync(2, readOnly: true);
        DeviceRig.Ok(await rig.Mounter.FormatAsync(reader, kind, [], default));
        var refused = await rig.Mounter.MountAsync(new MountRequest(reader, path, kind, []), default);
        Assert.Equal(AttachStatus.Damaged, refused.Status);
        Assert.Contains("was not unmounted cleanly", refused.Reason, StringComparison.Ordinal);
        Assert.Contains(option, refused.Reason, StringComparison.Ordinal);
        Assert.True(DeviceRig.Ok(await rig.Mounter.MountAsync(new MountRequest(reader, path, kind, [option]), default)).IsReadOnly);
        await MovedOnAsync(rig, path);

        // Once for writing, which replays the journal; then it is clean.
        DeviceRig.Ok(await rig.Mounter.MountAsync(new MountRequest(await rig.AttachAsync(3), path, kind, []), default));
        await MovedOnAsync(rig, path);
        DeviceRig.Ok(await rig.Mounter.MountAsync(new MountRequest(await rig.AttachAsync(4, readOnly: true), path, kind, []), default));
        Assert.Equal("kept", await File.ReadAllTextAsync(Path.Combine(path, "kept")));
    }

    private static async Task MovedOnAsync(DeviceRig rig, string path)
    {
        Assert.True((await rig.Mounter.UnmountAsync(path, force: false, default)).IsOk);
        Assert.True((await rig.Attacher.DetachAsync(DeviceRig.Identity().Volume, force: false, default)).IsOk);
    }

    [Fact(DisplayName = "A mount is shown elsewhere, for reading only if asked; cut off between its two steps it is finished; a device is shown as a file")]
    public async Task Bind_mounts()
    {
        await using var rig = new DeviceRig();
        var device = await rig.AttachAsync();
        DeviceRig.Ok(await rig.Mounter.FormatAsync(device, FileSystemKind.Ext4, [], default));
        var staged = DeviceRig.Ok(await rig.Mounter.MountAsync(new MountRequest(device, Path.Combine(rig.Root, "mnt", "staged"), FileSystemKind.Ext4, []), default));
        var (pod, second, raw) = (Path.Combine(rig.Root, "mnt", "a pod"), Path.Combine(rig.Root, "mnt", "ro"), Path.Combine(rig.Root, "mnt", "raw"));
        var bound = DeviceRig.Ok(await rig.Mounter.BindAsync(staged.Path, pod, readOnly: false, default));
        Assert.Equal((staged.Minor, false), (bound.Minor, bound.IsReadOnly));
        Assert.Equal(bound, DeviceRig.Ok(await rig.Mounter.BindAsync(staged.Path, pod, readOnly: false, default)));
        Directory.CreateDirectory(second);
        await RootTools.RunAsync("mount", "--bind", staged.Path, second);
        Assert.True(DeviceRig.Ok(await rig.Mounter.BindAsync(staged.Path, second, readOnly: true, default)).IsReadOnly);
        await File.WriteAllTextAsync(Path.Combine(pod, "f"), "x");
        Assert.Throws<IOException>(() => File.WriteAllText(Path.Combine(second, "g"), ""));
        Assert.Equal(AttachStatus.Conflict, (await rig.Mounter.BindAsync(staged.Path, second, readOnly: false, default)).Status);
        DeviceRig.Ok(await rig.Mounter.BindAsync(device.Path, raw, readOnly: false, default));
        Assert.Equal(3, DeviceRig.Ok(rig.Mounter.MountsOf(device.Path)).Count);
        foreach (var path in new[] { raw, second, pod }) Assert.True((await rig.Mounter.UnmountAsync(path, force: false, default)).IsOk);
        Assert.Equal([staged], DeviceRig.Ok(rig.Mounter.MountsOf(device.Path)));
    }

    [Fact(DisplayName = "A mounted xfs grows with its device while it is written to; an ext4 too, if the process may")]
    public async Task Grows()
    {
        foreach (var kind in new[] { FileSystemKind.Xfs, FileSystemKind.Ext4 })
        {
            await using var rig = new DeviceRig();
            var device = await rig.AttachAsync();
            DeviceRig.Ok(await rig.Mounter.FormatAsync(device, kind, [], default));
            var mount = DeviceRig.Ok(await rig.Mounter.MountAsync(new MountRequest(device, Path.Combine(rig.Root, "mnt"), kind, []), default));
            rig.Volume.SizeBytes = 2 * DeviceRig.SizeBytes;
            DeviceRig.Ok(await rig.Attacher.ResizeAsync(device.Identity.Volume, 2 * DeviceRig.SizeBytes, default));
            var grown = await rig.Mounter.GrowAsync(mount, default);
            if (kind == FileSystemKind.Ext4 && !MayUseResources())
            {
                Assert.Contains("CAP_SYS_RESOURCE", grown.Reason, StringComparison.Ordinal);
                continue;
            }
            DeviceRig.Ok(grown);
            Assert.True(DeviceRig.Ok(rig.Mounter.Stats(mount.Path)).TotalBytes > DeviceRig.SizeBytes);
            Assert.True((await rig.Mounter.GrowAsync(mount, default)).IsOk);
        }
    }

    /// <summary>CAP_SYS_RESOURCE is bit 24 of the effective capabilities.</summary>
    private static bool MayUseResources() =>
        (Convert.ToUInt64(File.ReadLines("/proc/self/status").First(line => line.StartsWith("CapEff:", StringComparison.Ordinal))[7..].Trim(), 16) & (1UL << 24)) != 0;

    private static Task AssertCleanAsync(FileSystemKind kind, string device) => kind == FileSystemKind.Ext4
        ? RootTools.RunAsync("e2fsck", "-f", "-n", device) : RootTools.RunAsync("xfs_repair", "-n", device);

    private static async Task FillAsync(string device, string content)
    {
        switch (content)
        {
            case "ext4": await RootTools.RunAsync("mkfs.ext4", "-q", "-E", "nodiscard", device); break;
            case "xfs": await RootTools.RunAsync("mkfs.xfs", "-q", "-K", device); break;
            case "swap": await RootTools.RunAsync("mkswap", device); break;
            case "partitions": await WriteAsync(device, 446, [0, 0, 33, 3, 0x83, 0, 0, 0, 0, 8, 0, 0, 0xe8, 3, 0, 0, .. new byte[48], 0x55, 0xaa]); break;
            case "lvm": await RootTools.RunAsync("pvcreate", "--quiet", "--yes", device); break;
            case "byte": await WriteAsync(device, 300L << 20, [1]); break;
            default: await WriteAsync(device, (long)DeviceRig.SizeBytes - 1, [1]); break;
        }
    }

    private static async Task WriteAsync(string device, long offset, byte[] bytes)
    {
        await using var file = new FileStream(device, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
        file.Position = offset;
        await file.WriteAsync(bytes);
        file.Flush(flushToDisk: true);
    }

    private static async Task<string> HashAsync(string device)
    {
        await using var file = new FileStream(device, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        return Convert.ToHexString(await SHA256.HashDataAsync(file));
    }
}
