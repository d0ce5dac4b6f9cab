using System.Diagnostics;
using System.Globalization;
using System.Text;
using Cluster.Csi.Attach;
using Cluster.Csi.Kernel;
using Cluster.Messages.Model;

namespace Cluster.Tests.Chaos.Guest;

/// <summary>What happens in the guest of <see cref="KernelNbdSpecs"/>, in order.</summary>
internal sealed class GuestDriver(string root)
{
    private const ulong SizeBytes = 64UL << 20;
    private const int FailedWithIo = 5;

    private Process? _server;
    private string _device = "";

    private string Mount => Path.Combine(root, "mnt");

    public async Task<int> RunAsync()
    {
        Directory.CreateDirectory(root);
        (string Name, Func<Task> Run)[] all =
        [
            ("attach", AttachAsync), ("verify", VerifyAsync), ("mount", MountAsync), ("restart", RestartAsync), ("in-flight", InFlightAsync), ("resize", ResizeAsync),
            ("in-use", InUseAsync), ("detach", DetachAsync), ("stale", StaleAsync), ("fence", FenceAsync), ("cut-off", CutOffAsync),
        ];
        if (!await GuestSteps.RunAsync(all)) return 1;
        _server!.Kill();
        Console.WriteLine(GuestSteps.Done);
        return 0;
    }

    /// <summary>The kernel has its NBD client, so it is chosen, and a blank volume is a blank device.</summary>
    private async Task AttachAsync()
    {
        using (var file = File.Create(Path.Combine(root, "volume"))) file.SetLength((long)SizeBytes);
        await StartAsync("1");
        Assert.Equal("KernelNbd", await AskAsync("kind"));
        Assert.StartsWith("NotFound", await AskAsync("find"), StringComparison.Ordinal);
        _device = (await AskAsync("attach 1")).Split(' ')[1];
        Assert.Equal($"ok {_device} v7.1 {SizeBytes} KernelNbd served", await AskAsync("attach 1"));
        Assert.EndsWith(":v7.1", Assert.Single(KernelNbdDevices.Read()).Backend, StringComparison.Ordinal);
        Assert.Equal("False", await AskAsync("data"));
    }

    /// <summary>Ranges of all sizes, read back by way of the volume.</summary>
    private async Task VerifyAsync()
    {
        var random = new Random(7);
        var written = new byte[8 << 20];
        for (var count = 0; count < 60; count++)
        {
            var length = random.Next(1, 400) * 512;
            var at = random.Next((written.Length - length) / 512) * 512;
            random.NextBytes(written.AsSpan(at, length));
            using var file = Native.Open(_device, Native.ReadWrite, out _);
            RandomAccess.Write(file, written.AsSpan(at, length), at);
            if (count % 10 == 0) Assert.Equal(0, Native.Sync(file));
        }
        GuestTools.Run("blockdev", "--flushbufs", _device);
        using var again = Native.Open(_device, Native.ReadOnly, out _);
        var read = new byte[written.Length];
        for (var at = 0; at < read.Length;) at += RandomAccess.Read(again, read.AsSpan(at), at);
        Assert.True(read.AsSpan().SequenceEqual(written), "what was read is not what was written");
        Assert.True(int.Parse(await AskAsync("flushes"), CultureInfo.InvariantCulture) > 0, "no flush reached the volume");
        Assert.Equal("True", await AskAsync("data"));
        GuestTools.Run("blkdiscard", "--zeroout", _device);
        Assert.Equal("False", await AskAsync("data"));
    }

    private async Task MountAsync()
    {
        GuestTools.Run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", _device);
        Directory.CreateDirectory(Mount);
        GuestTools.Run("mount", "-t", "ext4", _device, Mount);
        await File.WriteAllTextAsync(Path.Combine(Mount, "kept"), "kept");
    }

    /// <summary>The process is killed under a writer, and started again; the writer sees no error, and everything is there.</summary>
    private async Task RestartAsync()
    {
        using var stop = new CancellationTokenSource();
        var writer = new GuestWriter(Path.Combine(Mount, "log"));
        var writing = Task.Factory.StartNew(() => writer.Run(stop.Token), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        for (var round = 0; round < 2; round++)
        {
            await writer.MoreAsync(10);
            Kill();
            await StartAsync("1");
            await writer.MoreAsync(10);
        }
        await stop.CancelAsync();
        await writing;
        Assert.Equal(string.Concat(Enumerable.Range(0, writer.Count).Select(GuestWriter.Line)), Encoding.ASCII.GetString(GuestTools.ReadDirect(Path.Combine(Mount, "log"), 0, writer.Count * GuestWriter.LineBytes)));
        Assert.StartsWith($"ok {_device} v7.1 ", await AskAsync("find"), StringComparison.Ordinal);
        Assert.Equal("0", (await File.ReadAllTextAsync($"/sys/fs/ext4/{Path.GetFileName(_device)}/errors_count")).Trim());
        Console.WriteLine($"the longest pause of a writer was {writer.LongestMs} ms");
    }

    /// <summary>Requests that the killed process had taken and not answered are sent again to the next one.</summary>
    private async Task InFlightAsync()
    {
        Assert.Equal("ok", await AskAsync("hold"));
        var writer = new GuestWriter(Path.Combine(Mount, "held"));
        using var stop = new CancellationTokenSource();
        var writing = Task.Factory.StartNew(() => writer.Run(stop.Token), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        await GuestTools.UntilAsync(async () => await AskAsync("held") != "0", "no request came");
        Kill();
        var waited = Stopwatch.StartNew();
        await StartAsync("1");
        await writer.MoreAsync(3);
        Console.WriteLine($"what was on its way at the kill was answered after {waited.ElapsedMilliseconds} ms");
        await stop.CancelAsync();
        await writing;
    }

    private async Task ResizeAsync()
    {
        using (var file = new FileStream(Path.Combine(root, "volume"), FileMode.Open, FileAccess.Write, FileShare.ReadWrite)) file.SetLength((long)(2 * SizeBytes));
        Assert.Equal($"ok {_device} v7.1 {2 * SizeBytes} KernelNbd served", await AskAsync("resize"));
        GuestTools.Run("resize2fs", _device);
        Assert.True(Native.Statistics(Mount)!.TotalBytes > (long)SizeBytes, "the mounted file system did not grow");
    }

    private async Task InUseAsync()
    {
        var mounted = await AskAsync("detach");
        Assert.StartsWith("InUse", mounted, StringComparison.Ordinal);
        Assert.Contains(Mount, mounted, StringComparison.Ordinal);
        GuestTools.Run("umount", Mount);
        using (var file = Native.Open(_device, Native.ReadOnly, out _))
        {
            Assert.Contains($"process {Environment.ProcessId}", await AskAsync("detach"), StringComparison.Ordinal);
            GuestTools.ReadDirect(_device, 0, Limits.BlockBytes);
        }
        // The attempt is over: the device does not go with this user.
        Assert.StartsWith("ok", await AskAsync("find"), StringComparison.Ordinal);
    }

    private async Task DetachAsync()
    {
        Assert.Equal("ok", await AskAsync("detach"));
        AssertNothingLeft();
        Assert.Equal("ok", await AskAsync("detach"));
        // The file system, with all of it, is what the next device shows.
        Assert.StartsWith("ok", await AskAsync("attach 1"), StringComparison.Ordinal);
        GuestTools.Run("e2fsck", "-fn", _device);
        GuestTools.Run("mount", "-t", "ext4", _device, Mount);
        Assert.Equal("kept", await File.ReadAllTextAsync(Path.Combine(Mount, "kept")));
        GuestTools.Run("umount", Mount);
    }

    /// <summary>The attachment ended while no process was there: the device is of no use, and the next process takes it away.</summary>
    private async Task StaleAsync()
    {
        Kill();
        await StartAsync("2");
        await GuestTools.UntilAsync(() => Task.FromResult(KernelNbdDevices.Read().Count == 0 && DeviceDirectories() == 0), "the device of the dead attachment stays");
        Assert.StartsWith("ok", await AskAsync("attach 2"), StringComparison.Ordinal);
        Assert.StartsWith("Refused", await AskAsync("attach 1"), StringComparison.Ordinal);
    }

    /// <summary>Fenced while it is mounted: EIO at once.</summary>
    private async Task FenceAsync()
    {
        GuestTools.Run("mount", "-t", "ext4", _device, Mount);
        Assert.Equal("ok", await AskAsync("fence"));
        Assert.Equal(FailedWithIo, GuestTools.ReadError(_device, (long)SizeBytes / 2));
    }

    /// <summary>The attachment has moved on when the process comes back: the mounted device is cut off, and goes with its mount.</summary>
    private async Task CutOffAsync()
    {
        Kill();
        await StartAsync("3");
        await GuestTools.UntilAsync(async () => (await AskAsync("find")).EndsWith(" dead", StringComparison.Ordinal), "the device is not known as dead");
        Assert.Equal(FailedWithIo, GuestTools.ReadError(_device, (long)SizeBytes / 2));
        Assert.StartsWith("InUse", await AskAsync("attach 2"), StringComparison.Ordinal);
        GuestTools.Run("umount", "--lazy", Mount);
        await GuestTools.UntilAsync(() => Task.FromResult(KernelNbdDevices.Read().Count == 0 && DeviceDirectories() == 0), "the device stays after its last user went");
        Assert.StartsWith("ok", await AskAsync("attach 3"), StringComparison.Ordinal);
        Assert.Equal("ok", await AskAsync("detach"));
        AssertNothingLeft();
        // One that is fenced while its node lives fails each flush, and is let go of all the same.
        Assert.StartsWith("ok", await AskAsync("attach 3"), StringComparison.Ordinal);
        Assert.Equal("ok", await AskAsync("fence"));
        Assert.Equal("ok", await AskAsync("detach"));
        AssertNothingLeft();
    }

    private int DeviceDirectories() => Directory.EnumerateDirectories(Path.Combine(root, "attach", "kernel")).Count();

    private void AssertNothingLeft()
    {
        Assert.Empty(KernelNbdDevices.Read());
        Assert.Equal(0, DeviceDirectories());
    }

    private async Task StartAsync(string generations)
    {
        await File.WriteAllTextAsync(Path.Combine(root, "generations"), generations);
        var start = new ProcessStartInfo(Environment.ProcessPath!, [.. Environment.GetCommandLineArgs() is [var first, ..] && first.EndsWith(".dll", StringComparison.Ordinal) ? new[] { first } : [], "serve", root])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        };
        _server = Process.Start(start)!;
        Assert.Equal("ready", await _server.StandardOutput.ReadLineAsync(new CancellationTokenSource(GuestTools.PatienceMs).Token));
    }

    private void Kill()
    {
        _server!.Kill();
        _server.WaitForExit();
        _server.Dispose();
    }

    private async Task<string> AskAsync(string command)
    {
        await _server!.StandardInput.WriteLineAsync(command);
        await _server.StandardInput.FlushAsync();
        return await _server.StandardOutput.ReadLineAsync(new CancellationTokenSource(GuestTools.PatienceMs).Token) ?? "the server ended";
    }
}
