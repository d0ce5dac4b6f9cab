using System.Diagnostics;
using System.Globalization;
using Cluster.Node.Cli.Dev;
using Cluster.Tests.Chaos.Hosts;
using Cluster.Tests.Integration.EndToEnd;

namespace Cluster.Tests.Chaos.Database;

/// <summary>
/// A volume as a mounted ext4: qemu-storage-daemon is the NBD client and shows it as a file, a loop device makes a disk of that. The daemon
/// holds I/O for a while when it loses its node, as a kernel client does.
/// </summary>
internal sealed class MountedVolume : IAsyncDisposable
{
    private const int AppearMs = 30_000;
    private const int DetachMs = 30_000;
    private const int LogLines = 20;

    private readonly string _directory;
    private readonly string _export;
    private Process? _daemon;
    private string? _loop;

    public MountedVolume(string directory)
    {
        _directory = directory;
        _export = Path.Combine(directory, "export");
        Directory.CreateDirectory(Mount);
    }

    public string Mount => Path.Combine(_directory, "mnt");

    /// <summary>Where ext4 counts what went wrong.</summary>
    public string ErrorCount => File.ReadAllText($"/sys/fs/ext4/{Path.GetFileName(_loop)}/errors_count").Trim();

    /// <summary>Makes the volume a disk.</summary>
    public async Task AttachAsync(Uri nbd, string volume, ulong sizeBytes)
    {
        await File.WriteAllBytesAsync(_export, []);
        _daemon = Process.Start(new ProcessStartInfo("/bin/sh",
        [
            "-c", "log=$1; shift; exec qemu-storage-daemon \"$@\" >>\"$log\" 2>&1 </dev/null", "sh", Path.Combine(_directory, "daemon.log"),
            "--blockdev", $"driver=nbd,node-name=n0,server.type=inet,server.host={nbd.Host},"
                + string.Create(CultureInfo.InvariantCulture, $"server.port={nbd.Port},export={volume},cache.direct=on,discard=unmap,reconnect-delay=30"),
            "--export", $"type=fuse,id=e0,node-name=n0,mountpoint={_export},writable=on",
        ]))!;
        for (var waited = Stopwatch.StartNew(); (ulong)new FileInfo(_export).Length != sizeBytes; await Task.Delay(20))
        {
            if (waited.ElapsedMilliseconds < AppearMs && !_daemon.HasExited) continue;
            Assert.Fail($"no export: {NodeProcess.Tail(Path.Combine(_directory, "daemon.log"), LogLines)}");
        }
        _loop = (await Tool.RunAsync("losetup", "--find", "--show", "--direct-io=on", _export)).Ok().Output.Trim();
    }

    public Task FormatAsync() => RootTools.RunAsync("mkfs.ext4", "-q", "-E", "nodiscard", _loop!);

    public Task MountAsync() => RootTools.RunAsync("mount", "-o", "noatime", _loop!, Mount);

    public Task UnmountAsync() => RootTools.RunAsync("umount", Mount);

    /// <summary>Reads all of its metadata; fails the test if anything is not as it should be.</summary>
    public Task CheckAsync() => RootTools.RunAsync("e2fsck", "-f", "-n", _loop!);

    /// <summary>As if the machine had lost its power: nothing that it still has in memory reaches the volume.</summary>
    public void Crash() => NodeProcess.Signal(_daemon!.Id, NodeProcess.KillNow);

    /// <summary>Takes away what there is of it, after a crash too.</summary>
    public async Task DetachAsync()
    {
        if ((await File.ReadAllTextAsync("/proc/self/mounts")).Contains($" {Mount} ", StringComparison.Ordinal)) await UnmountAsync();
        if (_loop is not null) await DetachLoopAsync(_loop);
        _loop = null;
        if (_daemon is null) return;
        if (!_daemon.HasExited) NodeProcess.Signal(_daemon.Id, NodeProcess.Term);
        await _daemon.WaitForExitAsync();
        _daemon.Dispose();
        _daemon = null;
        // A daemon that was killed leaves its mount behind.
        if ((await File.ReadAllTextAsync("/proc/self/mounts")).Contains($" {_export} ", StringComparison.Ordinal))
        {
            await RootTools.RunAsync("umount", _export);
        }
    }

    public async ValueTask DisposeAsync() => await DetachAsync();

    /// <summary>The device lets its file go when the last one who has it open does, which may be after the command; until then the file's mount is busy.</summary>
    private static async Task DetachLoopAsync(string loop)
    {
        await RootTools.RunAsync("losetup", "--detach", loop);
        var backing = $"/sys/block/{Path.GetFileName(loop)}/loop/backing_file";
        for (var waited = Stopwatch.StartNew(); File.Exists(backing); await Task.Delay(20))
            Assert.True(waited.ElapsedMilliseconds < DetachMs, $"{loop} still has its file {DetachMs} ms after it was detached");
    }
}
