using System.Diagnostics;
using System.Text.Json.Nodes;
using Cluster.Csi.Attach;
using Cluster.Node.Cli.Dev;
using Cluster.Tests.Chaos.Hosts;
using Cluster.Tests.Integration.EndToEnd;

namespace Cluster.Tests.Chaos.Database;

/// <summary>A volume that is mounted on one of the cluster's nodes, with the program's own commands, and its file system.</summary>
internal sealed class MountedVolume(LocalCluster cluster, string volume, string fileSystem, string mount) : IAsyncDisposable
{
    private const int EndMs = 30_000;

    private string? _device;

    public string Mount => mount;

    public string Volume => volume;

    /// <summary>Where its block device hangs.</summary>
    public string? Node { get; private set; }

    /// <summary>How often ext4 met an error; xfs does not count: it stops at once, and whoever uses it notices.</summary>
    public string ErrorCount => fileSystem == "ext4" ? File.ReadAllText($"/sys/fs/ext4/{Path.GetFileName(_device)}/errors_count").Trim() : "0";

    /// <summary>Mounts the volume on that node; a blank one is formatted, one that was cut off is mended.</summary>
    public async Task AttachAsync(string node)
    {
        Node = node;
        var told = (await RunAsync("volume", "attach", volume, "--mount", mount, "--fs", fileSystem, "--options", "noatime", "-o", "json")).Ok();
        _device = (string)JsonNode.Parse(told.Output)!["device"]!;
    }

    /// <summary>Takes away the mount, the device and the attachment.</summary>
    public async Task DetachAsync()
    {
        if (Node is null) return;
        (await RunAsync("volume", "detach", volume)).Ok();
        (Node, _device) = (null, null);
    }

    /// <summary>Reads all metadata of the file system, which is not mounted then; fails the test if anything is not as it should be.</summary>
    public async Task CheckAsync(string node)
    {
        await DetachAsync();
        Node = node;
        var told = (await RunAsync("volume", "attach", volume, "-o", "json")).Ok();
        var device = (string)JsonNode.Parse(told.Output)!["device"]!;
        if (fileSystem == "ext4") await RootTools.RunAsync("e2fsck", "-f", "-n", device);
        else await RootTools.RunAsync("xfs_repair", "-n", device);
        await DetachAsync();
    }

    /// <summary>As if the machine had lost its power: nothing that it still has in memory reaches the volume.</summary>
    public async Task CrashAsync()
    {
        var mark = $"--path={LoopDevices.Read().Single(loop => loop.Path == _device).BackingFile}";
        Assert.True(DaemonProcess.Signal(mark, Native.Kill), $"no process serves {_device}");
        for (var waited = Stopwatch.StartNew(); DaemonProcess.Find(mark).Count > 0; await Task.Delay(10))
            Assert.True(waited.ElapsedMilliseconds < EndMs, $"the process behind {_device} does not end on kill -9");
    }

    /// <summary>Gives the space of deleted files back; the bytes that the file system let go.</summary>
    public Task TrimAsync() => RootTools.RunAsync("fstrim", mount);

    public Task<ToolRun> RunAsync(params string[] arguments)
    {
        var program = NodeProcess.Program();
        return Tool.RunAsync(program[0], [.. program[1..], .. arguments, "--endpoint", cluster.Node(Node!).Api]);
    }

    /// <summary>What a test that failed has left must not be in the way of the next one.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Node is null) return;
        if (cluster.Node(Node).Pid is null) await cluster.StartNodeAsync(Node);
        await RunAsync("volume", "detach", volume, "--force");
    }
}
