using System.Diagnostics;
using Cluster.Tests.Chaos.Hosts;

namespace Cluster.Tests.Chaos.Guest;

/// <summary>One run of a guest: Debian's kernel under emulation, with .NET and this assembly, which it runs with these arguments.</summary>
public abstract class GuestRun(TimeSpan timeMax, params string[] arguments) : IAsyncLifetime
{
    private string _console = "";

    public async Task InitializeAsync()
    {
        RootTools.Require("qemu-system-x86_64", "busybox", "cpio", "mkfs.ext4", "e2fsck", "resize2fs", "blkid", "wipefs", "blkdiscard", "mount");
        var kernel = Path.Combine(Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } cache ? cache
            : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache"), "myrmidon", "guest-kernel");
        Assert.True(Directory.Exists(Path.Combine(kernel, "boot")), $"This test needs a kernel for its guest in {kernel}: ./test fetches it.");
        var directory = Directory.CreateTempSubdirectory("myrmidon-guest-");
        var log = Path.Combine(directory.FullName, "console");
        // To a file: what came until then is to be seen also of a guest that hangs.
        using var process = Process.Start(new ProcessStartInfo("/bin/bash",
            ["-c", "exec setsid \"$@\" >\"$0\" 2>&1 </dev/null", log, Path.Combine(AppContext.BaseDirectory, "Chaos", "Guest", "guest.sh"), kernel, AppContext.BaseDirectory, Path.Combine(directory.FullName, "out"), .. arguments]))!;
        using var limit = new CancellationTokenSource(timeMax);
        try
        {
            await process.WaitForExitAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            await process.WaitForExitAsync();
        }
        _console = await File.ReadAllTextAsync(log);
        directory.Delete(recursive: true);
        Assert.True(_console.Contains("guest: up", StringComparison.Ordinal), $"The guest did not boot{(limit.IsCancellationRequested ? $" within {timeMax.TotalMinutes} minutes" : "")}:\n{_console}");
    }

    public Task DisposeAsync() => Task.CompletedTask;

    internal void Passed(string name, string what) => Assert.True(_console.Contains($"{GuestSteps.Passed}{name} ", StringComparison.Ordinal), $"{name}: {what}\n{_console}");
}
