using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Cluster.Csi.Attach;
using Cluster.Csi.Kernel;
using Cluster.Messages.Model;

namespace Cluster.Tests.Chaos.Guest;

/// <summary>What happens in the guest, in order, each line of its output one answer: "passed NAME", or "failed NAME: why", which ends it.</summary>
internal sealed class GuestDriver(string root)
{
    public const string Passed = "passed ";
    public const string Failed = "failed ";
    public const string Done = "guest is done";
    private const ulong SizeBytes = 64UL << 20;
    private const int PatienceMs = 240_000;
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
        foreach (var (name, run) in all)
        {
            var took = Stopwatch.StartNew();
            try
            {
                await run();
                Console.WriteLine($"{Passed}{name} ({took.ElapsedMilliseconds} ms)");
            }
            catch (Exception e)
            {
                Console.WriteLine($"{Failed}{name}: {e}".ReplaceLineEndings(" "));
                return 1;
            }
        }
        _server!.Kill();
        Console.WriteLine(Done);
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
        Run("blockdev", "--flushbufs", _device);
        using var again = Native.Open(_device, Native.ReadOnly, out _);
        var read = new byte[written.Length];
        for (var at = 0; at < read.Length;) at += RandomAccess.Read(again, read.AsSpan(at), at);
        Assert.True(read.AsSpan().SequenceEqual(written), "what was read is not what was written");
        Assert.True(int.Parse(await AskAsync("flushes"), CultureInfo.InvariantCulture) > 0, "no flush reached the volume");
        Assert.Equal("True", await AskAsync("data"));
        Run("blkdiscard", "--zeroout", _device);
        Assert.Equal("False", await AskAsync("data"));
    }

    private async Task MountAsync()
    {
        Run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", _device);
        Directory.CreateDirectory(Mount);
        Run("mount", "-t", "ext4", _device, Mount);
        await File.WriteAllTextAsync(Path.Combine(Mount, "kept"), "kept");
    }

    /// <summary>The process is killed under a writer, and started again; the writer sees no error, and everything is there.</summary>
    private async Task RestartAsync()
    {
        using var stop = new CancellationTokenSource();
        var writer = new Writer(Path.Combine(Mount, "log"));
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
        Assert.Equal(string.Concat(Enumerable.Range(0, writer.Count).Select(Writer.Line)), Encoding.ASCII.GetString(ReadDirect(Path.Combine(Mount, "log"), 0, writer.Count * Writer.LineBytes)));
        Assert.StartsWith($"ok {_device} v7.1 ", await AskAsync("find"), StringComparison.Ordinal);
        Assert.Equal("0", (await File.ReadAllTextAsync($"/sys/fs/ext4/{Path.GetFileName(_device)}/errors_count")).Trim());
        Console.WriteLine($"the longest pause of a writer was {writer.LongestMs} ms");
    }

    /// <summary>Requests that the killed process had taken and not answered are sent again to the next one.</summary>
    private async Task InFlightAsync()
    {
        Assert.Equal("ok", await AskAsync("hold"));
        var writer = new Writer(Path.Combine(Mount, "held"));
        using var stop = new CancellationTokenSource();
        var writing = Task.Factory.StartNew(() => writer.Run(stop.Token), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        await UntilAsync(async () => await AskAsync("held") != "0", "no request came");
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
        Run("resize2fs", _device);
        Assert.True(Native.Statistics(Mount)!.TotalBytes > (long)SizeBytes, "the mounted file system did not grow");
    }

    private async Task InUseAsync()
    {
        var mounted = await AskAsync("detach");
        Assert.StartsWith("InUse", mounted, StringComparison.Ordinal);
        Assert.Contains(Mount, mounted, StringComparison.Ordinal);
        Run("umount", Mount);
        using (var file = Native.Open(_device, Native.ReadOnly, out _))
        {
            Assert.Contains($"process {Environment.ProcessId}", await AskAsync("detach"), StringComparison.Ordinal);
            ReadDirect(_device, 0, Limits.BlockBytes);
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
        Run("e2fsck", "-fn", _device);
        Run("mount", "-t", "ext4", _device, Mount);
        Assert.Equal("kept", await File.ReadAllTextAsync(Path.Combine(Mount, "kept")));
        Run("umount", Mount);
    }

    /// <summary>The attachment ended while no process was there: the device is of no use, and the next process takes it away.</summary>
    private async Task StaleAsync()
    {
        Kill();
        await StartAsync("2");
        await UntilAsync(() => Task.FromResult(KernelNbdDevices.Read().Count == 0 && DeviceDirectories() == 0), "the device of the dead attachment stays");
        Assert.StartsWith("ok", await AskAsync("attach 2"), StringComparison.Ordinal);
        Assert.StartsWith("Refused", await AskAsync("attach 1"), StringComparison.Ordinal);
    }

    /// <summary>Fenced while it is mounted: EIO at once.</summary>
    private async Task FenceAsync()
    {
        Run("mount", "-t", "ext4", _device, Mount);
        Assert.Equal("ok", await AskAsync("fence"));
        Assert.Equal(FailedWithIo, ReadError());
    }

    /// <summary>The attachment has moved on when the process comes back: the mounted device is cut off, and goes with its mount.</summary>
    private async Task CutOffAsync()
    {
        Kill();
        await StartAsync("3");
        await UntilAsync(async () => (await AskAsync("find")).EndsWith(" dead", StringComparison.Ordinal), "the device is not known as dead");
        Assert.Equal(FailedWithIo, ReadError());
        Assert.StartsWith("InUse", await AskAsync("attach 2"), StringComparison.Ordinal);
        Run("umount", "--lazy", Mount);
        await UntilAsync(() => Task.FromResult(KernelNbdDevices.Read().Count == 0 && DeviceDirectories() == 0), "the device stays after its last user went");
        Assert.StartsWith("ok", await AskAsync("attach 3"), StringComparison.Ordinal);
        Assert.Equal("ok", await AskAsync("detach"));
        AssertNothingLeft();
        // One that is fenced while its node lives fails each flush, and is let go of all the same.
        Assert.StartsWith("ok", await AskAsync("attach 3"), StringComparison.Ordinal);
        Assert.Equal("ok", await AskAsync("fence"));
        Assert.Equal("ok", await AskAsync("detach"));
        AssertNothingLeft();
    }

    /// <summary>The errno of a read; 0: it went well.</summary>
    private int ReadError()
    {
        try
        {
            ReadDirect(_device, (long)SizeBytes / 2, Limits.BlockBytes);
            return 0;
        }
        catch (IOException e)
        {
            return e.HResult;
        }
    }

    /// <summary>By way of the volume, not of the host's memory.</summary>
    private static unsafe byte[] ReadDirect(string path, long offset, int length)
    {
        using var file = Native.Open(path, Native.ReadOnly | Native.Direct, out var error);
        if (error != 0) throw new IOException($"{path} can't be opened", error);
        var blocks = (nuint)((length + Limits.BlockBytes - 1) / Limits.BlockBytes * Limits.BlockBytes);
        var memory = NativeMemory.AlignedAlloc(blocks, Limits.BlockBytes);
        try
        {
            var into = new Span<byte>(memory, (int)blocks);
            Assert.True(RandomAccess.Read(file, into, offset) >= length, $"{path} is shorter than {length} B");
            return into[..length].ToArray();
        }
        finally
        {
            NativeMemory.AlignedFree(memory);
        }
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
        Assert.Equal("ready", await _server.StandardOutput.ReadLineAsync(new CancellationTokenSource(PatienceMs).Token));
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
        return await _server.StandardOutput.ReadLineAsync(new CancellationTokenSource(PatienceMs).Token) ?? "the server ended";
    }

    private static async Task UntilAsync(Func<Task<bool>> condition, string otherwise)
    {
        for (var waited = Stopwatch.StartNew(); !await condition(); await Task.Delay(50))
            Assert.True(waited.ElapsedMilliseconds < PatienceMs, $"{otherwise} after {PatienceMs} ms");
    }

    private static void Run(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true, RedirectStandardOutput = true })!;
        var said = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, $"{program} {string.Join(' ', arguments)}: exit {process.ExitCode} {output} {said.Result}");
    }

    /// <summary>Appends lines to a file, each synced, until it is told to stop; any error ends it. Blocks: a thread of its own.</summary>
    private sealed class Writer(string path)
    {
        public const int LineBytes = 10;

        private int _count;
        private volatile Exception? _failure;

        public int Count => Volatile.Read(ref _count);

        public long LongestMs { get; private set; }

        public static string Line(int number) => $"{number.ToString(CultureInfo.InvariantCulture).PadLeft(LineBytes - 1)}\n";

        public void Run(CancellationToken stop)
        {
            try
            {
                using var file = File.OpenHandle(path, FileMode.Create, FileAccess.Write);
                while (!stop.IsCancellationRequested)
                {
                    var took = Stopwatch.StartNew();
                    RandomAccess.Write(file, Encoding.ASCII.GetBytes(Line(_count)), _count * (long)LineBytes);
                    if (Native.Sync(file) is not 0 and var error) throw new IOException($"fsync failed with error {error}");
                    LongestMs = Math.Max(LongestMs, took.ElapsedMilliseconds);
                    Interlocked.Increment(ref _count);
                }
            }
            catch (IOException e)
            {
                _failure = e;
                throw;
            }
        }

        public async Task MoreAsync(int lines)
        {
            var from = Count;
            await UntilAsync(() =>
            {
                if (_failure is { } failure) throw new InvalidOperationException("the writer got an error", failure);
                return Task.FromResult(Count >= from + lines);
            }, "the writer does not go on");
        }
    }
}
