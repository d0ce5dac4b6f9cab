using Cluster.Node.Api;
using Cluster.Node.Cli;
using Cluster.Tests.Integration.Cli;
using Cluster.Tests.Integration.EndToEnd;

namespace Cluster.Tests.Chaos.Hosts;

/// <summary>A node's store on a real block device without a file system.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "Chaos")]
public sealed class BlockDeviceStoreSpecs : IAsyncLifetime
{
    private const ulong MiB = 1UL << 20;

    /// <summary>Sparse, and greater than what the node's own directory has free: new segments go there.</summary>
    private const long DeviceBytes = 1L << 40;
    private const int Terminate = 15;

    private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-raw-").FullName;
    private string _device = "";

    public async Task InitializeAsync()
    {
        RootTools.Require("losetup", "mkfs.ext4", "mount", "umount", "blkid");
        var image = Path.Combine(_directory, "image");
        await using (var made = new FileStream(image, FileMode.CreateNew)) made.SetLength(DeviceBytes);
        _device = (await Tool.RunAsync("losetup", "--find", "--show", image)).Ok().Output.Trim();
    }

    public async Task DisposeAsync()
    {
        if (_device.Length > 0) await Tool.RunAsync("losetup", "--detach", _device);
        Directory.Delete(_directory, recursive: true);
    }

    [Fact(DisplayName = "A block device is added to a node: data goes there and is there after a stop, and after a kill with the other copies gone; what holds a file system, or is mounted, is not taken")]
    public async Task A_device()
    {
        await using var cluster = await LocalCluster.StartAsync();
        await cluster.CreateVolumeAsync("db", 256 * MiB);
        await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "db");
        var link = Path.Combine(cluster.Node("node-1").Data, "disk-1");
        await cluster.KillAsync("node-1", Terminate);
        File.CreateSymbolicLink(link, _device);

        await RootTools.RunAsync("mkfs.ext4", "-q", "-F", "-T", "largefile4", _device);
        await RefusedAsync(cluster, link, "can't be used: its first or last MiB has something that is no disk of a store");
        Assert.Contains("ext4", (await Tool.RunAsync("blkid", _device)).Ok().Output, StringComparison.Ordinal);
        var mounted = Directory.CreateDirectory(Path.Combine(_directory, "mnt")).FullName;
        await RootTools.RunAsync("mount", _device, mounted);
        await RefusedAsync(cluster, link, "can't be used: ");
        await RootTools.RunAsync("umount", mounted);
        await RootTools.RunAsync("blkdiscard", "-z", "--offset", "0", "--length", "64M", _device);
        await RootTools.RunAsync("blkdiscard", "-z", "--offset", $"{DeviceBytes - (64 << 20)}", "--length", "64M", _device);

        await cluster.StartNodeAsync("node-1");
        var file = Path.Combine(_directory, "filled");
        await StandardClientsSpecs.WriteRandomAsync(file, 256 * MiB);
        await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "db");
        (await Tool.RunAsync("nbdcopy", "--flush", file, $"{cluster.Nodes[0].Nbd}/db")).Ok();
        await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "db");
        await WaitForDiskAsync(cluster, link, "does not fill its block device", disk => disk is { State: "in-use", UsedBytes: > 64 << 20, FreeBytes: > 1UL << 39 });

        // Another process can't have it meanwhile, nor can a mount.
        Assert.NotEqual(0, (await Tool.RunAsync("mount", _device, mounted)).Exit);

        await cluster.KillAsync("node-1", Terminate);
        using var output = new CapturedText();
        using var error = new CapturedText();
        Assert.True(await CommandLine.RunAsync(["store", "check", "--data", cluster.Node("node-1").Data], output, error) == ExitCode.Ok, $"{output}\n{error}");
        await cluster.StartNodeAsync("node-1");
        await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "db");

        // What is read now is read from the device: nobody else has it.
        await cluster.KillAsync("node-1");
        await cluster.StartNodeAsync("node-1");
        await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "db");
        await cluster.KillAsync("node-0");
        await LocalCluster.WaitForVolumeAsync(cluster.Node("node-2"), "db", "served by the others", volume => volume.Owner is "node-1" or "node-2");
        await CompareAsync(cluster, file);
        await WaitForDiskAsync(cluster, link, "does not use its block device", disk => disk is { State: "in-use", UsedBytes: > 0 });
        await cluster.KillAsync("node-1", Terminate);
    }

    private async Task CompareAsync(LocalCluster cluster, string file)
    {
        var back = Path.Combine(_directory, "back");
        (await Tool.RunAsync("nbdcopy", $"{cluster.Node("node-1").Nbd}/db", back)).Ok();
        Assert.Equal(await StandardClientsSpecs.HashAsync(file), await StandardClientsSpecs.HashAsync(back));
    }

    private static async Task RefusedAsync(LocalCluster cluster, string path, string why)
    {
        await Assert.ThrowsAnyAsync<Exception>(() => cluster.StartNodeAsync("node-1"));
        var log = await File.ReadAllTextAsync(cluster.File.LogOf("node-1"));
        Assert.Contains($"{path} is named as a disk of the store, and {why}", log, StringComparison.Ordinal);
    }

    /// <summary>Reports of a node are a second old and more.</summary>
    private static async Task WaitForDiskAsync(LocalCluster cluster, string path, string what, Func<DiskResource, bool> isSo)
    {
        using var api = new ApiClient(new Uri(cluster.Node("node-2").Api));
        await LocalCluster.WaitForAsync(async () => (await api.GetAsync("/v1/nodes/node-1", default)) is { IsOk: true } answer ? answer.As<NodeResource>() : null,
            found => found?.Disks.Any(disk => disk.Path == path && isSo(disk)) == true, $"node-1 {what}");
    }
}
