using System.Diagnostics;
using Cluster.Tests.Chaos.Hosts;
using Cluster.Tests.Integration.EndToEnd;

namespace Cluster.Tests.Chaos.Guest;

/// <summary>
/// Devices by the kernel's own NBD client, in a guest that has one: Debian's kernel under emulation, with .NET and this assembly in it. The guest runs once, from the first scenario to the
/// last (<see cref="GuestDriver"/>), and each is a test here.
/// </summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "Chaos")]
public class KernelNbdSpecs(KernelNbdSpecs.GuestRun guest) : IClassFixture<KernelNbdSpecs.GuestRun>
{
    [Theory(DisplayName = "A volume as a device of the kernel's NBD client")]
    [InlineData("attach", "the kernel's client is chosen where there is one; the device is known by its backend, and blank")]
    [InlineData("verify", "many writes of all sizes are read back, and a flush reaches the volume")]
    [InlineData("mount", "a file system is made and mounted")]
    [InlineData("restart", "the process that serves it is killed and started again under a writer, who sees no error")]
    [InlineData("in-flight", "what the killed process had taken and not answered is sent again to the next one")]
    [InlineData("resize", "it grows while it is mounted")]
    [InlineData("in-use", "it is not taken away while it is mounted or open, and who uses it is named")]
    [InlineData("detach", "nothing is left of it, and the next device shows the same")]
    [InlineData("stale", "a device whose attachment ended while nobody was there is taken away at the next start")]
    [InlineData("fence", "I/O of a fenced attachment fails")]
    [InlineData("cut-off", "a mounted device whose attachment has moved on is cut off and goes with its mount")]
    public void Scenario(string name, string what) => guest.Passed(name, what);

    public sealed class GuestRun : IAsyncLifetime
    {
        private static readonly TimeSpan TimeMax = TimeSpan.FromMinutes(8);

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
                ["-c", "exec setsid \"$@\" >\"$0\" 2>&1 </dev/null", log, Path.Combine(AppContext.BaseDirectory, "Chaos", "Guest", "guest.sh"), kernel, AppContext.BaseDirectory, Path.Combine(directory.FullName, "out")]))!;
            using var limit = new CancellationTokenSource(TimeMax);
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
            Assert.True(_console.Contains("guest: up", StringComparison.Ordinal), $"The guest did not boot{(limit.IsCancellationRequested ? $" within {TimeMax.TotalMinutes} minutes" : "")}:\n{_console}");
        }

        public Task DisposeAsync() => Task.CompletedTask;

        internal void Passed(string name, string what) => Assert.True(_console.Contains($"{GuestDriver.Passed}{name} ", StringComparison.Ordinal), $"{name}: {what}\n{_console}");
    }
}
