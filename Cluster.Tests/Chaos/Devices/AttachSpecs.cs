using System.Diagnostics;
using Cluster.Csi.Attach;
using Cluster.Tests.Chaos.Hosts;
using Cluster.Tests.Integration.EndToEnd;

namespace Cluster.Tests.Chaos.Devices;

/// <summary>Devices of this host by FUSE and loop: made, found again, fenced, grown and taken away, whatever was killed in between.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "Chaos")]
public class AttachSpecs
{
    private const int Continue = 18;

    /// <summary>LOOP_CTL_GET_FREE and LOOP_SET_FD of linux/loop.h.</summary>
    private const string MakesLoop = """
        open(my $file, '+<', $ARGV[0]) or die $!;
        kill 'STOP', $$;
        open(my $control, '+<', '/dev/loop-control') or die $!;
        my $number = ioctl($control, 0x4C82, 0) or die $!;
        open(my $loop, '+<', '/dev/loop' . int($number)) or die $!;
        ioctl($loop, 0x4C00, fileno($file)) or die $!;
        """;

    [Fact(DisplayName = "A volume is a device: many writes of all sizes at once are read back, a flush reaches the volume, zeroed ranges give their space back, and nothing is left of it")]
    public async Task Device_works()
    {
        await using var rig = new DeviceRig();
        var device = await rig.AttachAsync();
        Assert.Equal((DeviceRig.SizeBytes, AttacherKind.FuseLoop, true, "vol"), (device.SizeBytes, device.Kind, device.IsServed, device.FullName));
        await DeviceRig.VerifyAsync(device.Path);
        Assert.True(rig.Volume.FlushCount > 0, "no flush reached the volume");
        Assert.True(rig.Volume.AllocatedBlocks > 0);
        Assert.True(DeviceRig.Ok(await rig.Attacher.HoldsDataAsync(device, default)));
        await RootTools.RunAsync("blkdiscard", "--zeroout", device.Path);
        Assert.Equal(0, rig.Volume.AllocatedBlocks);
        Assert.False(DeviceRig.Ok(await rig.Attacher.HoldsDataAsync(device, default)));
        Assert.True((await rig.Attacher.DetachAsync(device.Identity.Volume, force: false, default)).IsOk);
        Assert.Equal("", rig.Leftovers());
        Assert.True((await rig.Attacher.DetachAsync(device.Identity.Volume, force: false, default)).IsOk);
    }

    [Fact(DisplayName = "Attached twice, at once or after a restart of the process, it is one device")]
    public async Task Idempotent()
    {
        await using var rig = new DeviceRig();
        var both = await Task.WhenAll(rig.Attacher.AttachAsync(DeviceRig.Target(), default), rig.Attacher.AttachAsync(DeviceRig.Target(), default));
        var again = DeviceRig.Ok(await rig.NewAttacher().AttachAsync(DeviceRig.Target(), default));
        Assert.All(both, one => Assert.Equal(again, DeviceRig.Ok(one)));
        Assert.Equal([again], DeviceRig.Ok(await rig.NewAttacher().ListAsync(default)));
        Assert.Equal(again, DeviceRig.Ok(await rig.NewAttacher().FindAsync(again.Identity.Volume, default)));
    }

    public static TheoryData<string> Steps => new("directory", "note", "export", "daemon", "dead daemon", "loop", "loop over dead daemon", "all");

    [Theory(DisplayName = "An attach that was killed after any of its steps is finished by the next one, and undone by a detach")]
    [MemberData(nameof(Steps))]
    public async Task Killed_between_steps(string step)
    {
        await using var rig = new DeviceRig();
        await LeaveAsync(rig, step);
        var device = DeviceRig.Ok(await rig.NewAttacher().AttachAsync(DeviceRig.Target(), default));
        await DeviceRig.VerifyAsync(device.Path, "8m");
        Assert.True((await rig.NewAttacher().DetachAsync(device.Identity.Volume, force: false, default)).IsOk);
        Assert.Equal("", rig.Leftovers());
        await LeaveAsync(rig, step);
        Assert.True((await rig.NewAttacher().DetachAsync(device.Identity.Volume, force: false, default)).IsOk);
        Assert.Equal("", rig.Leftovers());
    }

    [Theory(DisplayName = "At the start of a node, what nothing serves and nobody uses is taken away; what is served stays as it is")]
    [MemberData(nameof(Steps))]
    public async Task Recovered(string step)
    {
        await using var rig = new DeviceRig();
        await LeaveAsync(rig, step);
        Assert.True((await rig.NewAttacher().RecoverAsync(default)).IsOk);
        var left = DeviceRig.Ok(await rig.NewAttacher().ListAsync(default));
        if (step is "loop" or "all") Assert.True(Assert.Single(left).IsServed);
        else Assert.Equal("", rig.Leftovers());
    }

    [Theory(DisplayName = "A program that a killed node left in the middle of making the loop device makes none after all is taken away")]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Program_left_behind(bool attachesAgain)
    {
        await using var rig = new DeviceRig();
        var before = Loops(rig);
        await LeaveAsync(rig, "daemon");
        var export = new DeviceDirectory(rig.Attach, DeviceRig.Identity()).Export;
        // As losetup does it: the file is open before a device is made of it. It is stopped there.
        using var program = Process.Start("perl", ["-e", MakesLoop, export]);
        await DeviceRig.UntilAsync(() => File.ReadAllText($"/proc/{program.Id}/stat").Contains(") T ", StringComparison.Ordinal), "the program did not stop");
        if (attachesAgain)
        {
            var device = DeviceRig.Ok(await rig.NewAttacher().AttachAsync(DeviceRig.Target(), default));
            DaemonProcess.Signal(export, Continue);
            await program.WaitForExitAsync();
            Assert.Equal(before.Length + 1, Loops(rig).Length);
        }
        var detached = rig.NewAttacher().DetachAsync(DeviceRig.Identity().Volume, force: false, default);
        await DeviceRig.UntilAsync(() => MountTable.At(MountTable.Read(), export) is null, "the file was not unmounted");
        // The daemon serves the file as long as somebody has it open, lazily unmounted too.
        DaemonProcess.Signal(export, Continue);
        Assert.True((await detached).IsOk);
        await program.WaitForExitAsync();
        Assert.Equal(before, Loops(rig));
        Assert.Equal("", rig.Leftovers());
    }

    /// <summary>The rig's, and those whose file has no path any more.</summary>
    private static LoopDevice[] Loops(DeviceRig rig) => [.. LoopDevices.Read().Where(loop => loop.BackingFile == "/" || loop.BackingFile.StartsWith(rig.Root, StringComparison.Ordinal))];

    [Fact(DisplayName = "While the node is away I/O waits; all that was unanswered is sent again, and no application sees more than a pause")]
    public async Task Server_restarts()
    {
        await using var rig = new DeviceRig();
        var device = await rig.AttachAsync();
        var verify = DeviceRig.VerifyAsync(device.Path, "192m");
        for (var round = 0; round < 5 && !verify.IsCompleted; round++)
        {
            await Task.Delay(150);
            await rig.StopServerAsync();
            await Task.Delay(150);
            rig.StartServer();
        }
        await verify;
        Assert.Equal(device, DeviceRig.Ok(await rig.Attacher.FindAsync(device.Identity.Volume, default)));
        Assert.Contains("has the node again", await File.ReadAllTextAsync(Path.Combine(rig.Attach, "v7.1", "daemon.log")), StringComparison.Ordinal);
    }

    [Fact(DisplayName = "Requests that were on their way when the connection was lost are answered once, after it is had again")]
    public async Task Held_requests_are_sent_again()
    {
        await using var rig = new DeviceRig();
        var device = await rig.AttachAsync();
        rig.Volume.Held = [];
        var pattern = new byte[64 << 10];
        new Random(1).NextBytes(pattern);
        var write = Task.Run(() => WriteThrough(device.Path, 1 << 20, pattern));
        await DeviceRig.UntilAsync(() => rig.Volume.Held.Count > 0, "no request arrived");
        await rig.StopServerAsync();
        // What this server had is lost with it.
        rig.Volume.Held = null;
        Assert.False(write.IsCompleted);
        rig.StartServer();
        await write;
        Assert.Equal(pattern, ReadBack(device.Path, 1 << 20, pattern.Length));
    }

    [Fact(DisplayName = "When the hold time is over I/O fails, and works again when the node is back")]
    public async Task Hold_time_ends()
    {
        await using var rig = new DeviceRig();
        var device = await rig.AttachAsync(holdMs: 300);
        await rig.StopServerAsync();
        Assert.Throws<IOException>(() => WriteThrough(device.Path, 0, new byte[4096]));
        rig.StartServer();
        var log = Path.Combine(rig.Attach, "v7.1", "daemon.log");
        await DeviceRig.UntilAsync(() => File.ReadAllText(log).Contains("has the node again", StringComparison.Ordinal), "the node was not had again");
        await DeviceRig.VerifyAsync(device.Path, "8m");
    }

    [Fact(DisplayName = "A device whose attachment is gone for good fails its I/O and is known as dead; the next generation takes its place")]
    public async Task Export_is_gone()
    {
        await using var rig = new DeviceRig(1, 2);
        var device = await rig.AttachAsync();
        await rig.StopServerAsync();
        rig.Generations.Remove(1);
        rig.StartServer();
        await DeviceRig.UntilAsync(() => DaemonProcess.Find(rig.MarkOf()).Count == 0, "the daemon did not end");
        Assert.Throws<IOException>(() => WriteThrough(device.Path, 0, new byte[4096]));
        Assert.False(DeviceRig.Ok(await rig.Attacher.FindAsync(device.Identity.Volume, default)).IsServed);
        var next = await rig.AttachAsync(2);
        Assert.Equal(DeviceRig.Identity(2), next.Identity);
        Assert.False(Directory.Exists(Path.GetDirectoryName(rig.ExportOf(1))));
        await DeviceRig.VerifyAsync(next.Path, "8m");
    }

    [Fact(DisplayName = "An unused device of an older generation gives way to a newer one; a mounted one is named; an older one never comes back")]
    public async Task Generations()
    {
        await using var rig = new DeviceRig(1, 2, 3);
        await rig.AttachAsync(1);
        var second = await rig.AttachAsync(2);
        Assert.Equal([second], DeviceRig.Ok(await rig.Attacher.ListAsync(default)));
        Assert.Equal(AttachStatus.Refused, (await rig.Attacher.AttachAsync(DeviceRig.Target(1), default)).Status);
        var mount = Path.Combine(rig.Root, "mnt");
        DeviceRig.Ok(await rig.Mounter.FormatAsync(second, FileSystemKind.Ext4, [], default));
        DeviceRig.Ok(await rig.Mounter.MountAsync(new MountRequest(second, mount, FileSystemKind.Ext4, []), default));
        var third = await rig.Attacher.AttachAsync(DeviceRig.Target(3), default);
        Assert.Equal(AttachStatus.InUse, third.Status);
        Assert.Contains(mount, third.Reason, StringComparison.Ordinal);
        Assert.Equal(AttachStatus.InUse, (await rig.Attacher.DetachAsync(second.Identity.Volume, force: false, default)).Status);
        Assert.True((await rig.Mounter.UnmountAsync(mount, force: false, default)).IsOk);
        await rig.AttachAsync(3);
    }

    [Fact(DisplayName = "A mounted device that does not answer is taken away by force soon: what its file system has not written back is given seconds, then fails")]
    public async Task Forced_while_it_is_silent()
    {
        await using var rig = new DeviceRig();
        var device = await rig.AttachAsync();
        DeviceRig.Ok(await rig.Mounter.FormatAsync(device, FileSystemKind.Ext4, [], default));
        var mount = Path.Combine(rig.Root, "mnt");
        DeviceRig.Ok(await rig.Mounter.MountAsync(new MountRequest(device, mount, FileSystemKind.Ext4, []), default));
        using (var file = new FileStream(Path.Combine(mount, "file"), FileMode.Create))
        {
            file.Write(new byte[4096]);
            file.Flush(flushToDisk: true);
            rig.Volume.Held = [];
            // Stays in the host's memory until somebody writes it back.
            file.Write(new byte[1 << 20]);
        }
        // Less than what a program that hangs is given.
        var detached = await rig.Attacher.DetachAsync(device.Identity.Volume, force: true, default).WaitAsync(TimeSpan.FromMilliseconds(AttachLimits.ProgramMs / 2));
        Assert.True(detached.IsOk, detached.Reason);
        Assert.Equal(AttachStatus.NotFound, rig.Mounter.MountedAt(mount).Status);
        rig.AnswerAgain();
    }

    [Fact(DisplayName = "A device that somebody has open is not taken away under him, unless by force: then his I/O fails")]
    public async Task Open_device()
    {
        await using var rig = new DeviceRig();
        var device = await rig.AttachAsync();
        DeviceRig.Ok(await rig.Mounter.FormatAsync(device, FileSystemKind.Ext4, [], default));
        var mount = Path.Combine(rig.Root, "mnt");
        DeviceRig.Ok(await rig.Mounter.MountAsync(new MountRequest(device, mount, FileSystemKind.Ext4, []), default));
        await using (var file = new FileStream(Path.Combine(mount, "f"), FileMode.Create, FileAccess.Write, FileShare.None, 0))
        {
            await file.WriteAsync(new byte[4096]);
            Sync(file);
            Assert.Equal(AttachStatus.InUse, (await rig.Mounter.UnmountAsync(mount, force: false, default)).Status);
            Assert.Equal(AttachStatus.InUse, (await rig.Attacher.DetachAsync(device.Identity.Volume, force: false, default)).Status);
            await rig.Attacher.DetachAsync(device.Identity.Volume, force: true, default);
            Assert.Equal("", string.Join(' ', MountTable.Read().Where(entry => entry.Path == mount).Select(entry => entry.Path)));
            await file.WriteAsync(new byte[4096]);
            Assert.Throws<IOException>(() => Sync(file));
        }
        Assert.True((await rig.Attacher.DetachAsync(device.Identity.Volume, force: false, default)).IsOk);
        Assert.Equal("", rig.Leftovers());
    }

    [Fact(DisplayName = "A device that is mounted in another mount namespace still, as in a container that was started while it was mounted here, is not taken away, and who has it is named")]
    public async Task Mounted_elsewhere()
    {
        await using var rig = new DeviceRig();
        var device = await rig.AttachAsync();
        DeviceRig.Ok(await rig.Mounter.FormatAsync(device, FileSystemKind.Ext4, [], default));
        var mount = Path.Combine(rig.Root, "mnt");
        DeviceRig.Ok(await rig.Mounter.MountAsync(new MountRequest(device, mount, FileSystemKind.Ext4, []), default));
        // It ends when its input does.
        using var container = Process.Start(new ProcessStartInfo("unshare", ["--mount", "--propagation", "private", "cat"]) { RedirectStandardInput = true, RedirectStandardOutput = true })!;
        try
        {
            await container.StandardInput.WriteLineAsync("ready");
            await container.StandardInput.FlushAsync();
            Assert.Equal("ready", await container.StandardOutput.ReadLineAsync());
            DeviceRig.Ok(await rig.Mounter.UnmountAsync(mount, force: false, default));
            var named = $"{device.Path} is in use by process {container.Id} (cat), which has it mounted at {mount} in a mount namespace of its own";
            var detached = await rig.Attacher.DetachAsync(device.Identity.Volume, force: false, default);
            Assert.Equal((AttachStatus.InUse, named), (detached.Status, detached.Reason));
            var formatted = await rig.Mounter.FormatAsync(device, FileSystemKind.Ext4, [], default);
            Assert.Equal((AttachStatus.InUse, named), (formatted.Status, formatted.Reason));
        }
        finally
        {
            container.StandardInput.Close();
            await container.WaitForExitAsync();
        }
        // The kernel takes its namespace down after it.
        await DeviceRig.UntilAsync(() => rig.Attacher.DetachAsync(device.Identity.Volume, force: false, default).GetAwaiter().GetResult().IsOk, "the device stayed in use");
        Assert.Equal("", rig.Leftovers());
    }

    [Fact(DisplayName = "A read-only device takes no writes")]
    public async Task Read_only()
    {
        await using var rig = new DeviceRig();
        var device = await rig.AttachAsync(readOnly: true);
        Assert.True(device.ReadOnly);
        Assert.ThrowsAny<Exception>(() => WriteThrough(device.Path, 0, new byte[4096]));
        Assert.Equal(0, rig.Volume.AllocatedBlocks);
    }

    [Fact(DisplayName = "A device grows with its volume while it is in use")]
    public async Task Grows()
    {
        await using var rig = new DeviceRig();
        var device = await rig.AttachAsync();
        var verify = DeviceRig.VerifyAsync(device.Path, "128m");
        rig.Volume.SizeBytes = 2 * DeviceRig.SizeBytes;
        var grown = DeviceRig.Ok(await rig.Attacher.ResizeAsync(device.Identity.Volume, 2 * DeviceRig.SizeBytes, default));
        Assert.Equal((device.Path, 2 * DeviceRig.SizeBytes), (grown.Path, grown.SizeBytes));
        await verify;
        var pattern = new byte[4096];
        pattern.AsSpan().Fill(7);
        WriteThrough(device.Path, (long)(2 * DeviceRig.SizeBytes) - 4096, pattern);
        Assert.Equal(pattern, ReadBack(device.Path, (long)(2 * DeviceRig.SizeBytes) - 4096, 4096));
        Assert.Equal(grown, DeviceRig.Ok(await rig.Attacher.ResizeAsync(device.Identity.Volume, DeviceRig.SizeBytes, default)));
    }

    [Fact(DisplayName = "An attach without a node to serve it, or of an export that is refused, says so and leaves nothing that matters")]
    public async Task Refused()
    {
        await using var rig = new DeviceRig();
        var refused = await rig.Attacher.AttachAsync(DeviceRig.Target(9), default);
        Assert.Equal(AttachStatus.Refused, refused.Status);
        Assert.Contains("no volume vol@v7.9", refused.Reason, StringComparison.Ordinal);
        await rig.StopServerAsync();
        Assert.Equal(AttachStatus.Refused, (await rig.Attacher.AttachAsync(DeviceRig.Target(), default)).Status);
        rig.StartServer();
        Assert.True((await rig.Attacher.RecoverAsync(default)).IsOk);
        Assert.Equal("", rig.Leftovers());
    }

    /// <summary>What an attach leaves that is killed after the step: each part as the program itself makes it.</summary>
    internal static async Task LeaveAsync(DeviceRig rig, string step)
    {
        var directory = new DeviceDirectory(rig.Attach, DeviceRig.Identity());
        if (step is "directory") Directory.CreateDirectory(directory.Path);
        else directory.Make(DeviceRig.Target());
        if (step is "directory" or "note") return;
        await File.WriteAllBytesAsync(directory.Export, []);
        if (step is "export") return;
        if (step is "all")
        {
            await rig.AttachAsync();
            return;
        }
        var host = new FuseLoopHost(rig.Attach, rig.Address, Cluster.Node.Hosting.Devices.DeviceProcess.Command, Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance);
        using var process = DaemonProcess.Start(host.Arguments(directory, DeviceRig.Target()), directory.Path, directory.Log);
        await DeviceRig.UntilAsync(() => MountTable.At(MountTable.Read(), directory.Export) is not null, "the daemon did not mount its file");
        if (step.StartsWith("loop", StringComparison.Ordinal)) await RootTools.RunAsync("losetup", "--find", "--direct-io=on", directory.Export);
        if (!step.Contains("dead", StringComparison.Ordinal)) return;
        rig.Kill();
        await process.WaitForExitAsync();
    }

    private static void WriteThrough(string device, long offset, byte[] data)
    {
        using var file = new FileStream(device, FileMode.Open, FileAccess.Write, FileShare.ReadWrite, 0);
        file.Position = offset;
        file.Write(data);
        Sync(file);
    }

    /// <summary>The framework's own flush keeps what the kernel says to itself.</summary>
    private static void Sync(FileStream file)
    {
        if (Native.Sync(file.SafeFileHandle) is not 0 and var error) throw new IOException($"fsync failed with error {error}");
    }

    private static byte[] ReadBack(string device, long offset, int length)
    {
        // Not from the device's cache.
        using (var drop = Process.Start("blockdev", ["--flushbufs", device])) drop.WaitForExit();
        using var file = new FileStream(device, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, 0);
        file.Position = offset;
        var data = new byte[length];
        file.ReadExactly(data);
        return data;
    }
}
