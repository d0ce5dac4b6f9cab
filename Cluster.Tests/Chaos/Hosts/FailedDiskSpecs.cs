using Cluster.Node.Api;
using Cluster.Node.Cli;
using Cluster.Tests.Integration.EndToEnd;

namespace Cluster.Tests.Chaos.Hosts;

/// <summary>A real file system under one disk of a running node's store fails.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "Chaos")]
public sealed class FailedDiskSpecs : IAsyncLifetime
{
    private const ulong MiB = 1UL << 20;

    /// <summary>Sparse, and greater than what the node's own directory has free: new segments go there.</summary>
    private const long DiskBytes = 4L << 40;
    private const int Terminate = 15;

    private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-failing-").FullName;
    private string? _mounted;

    public Task InitializeAsync()
    {
        RootTools.Require("mkfs.ext4", "mount", "umount");
        return Task.CompletedTask;
    }

    public async Task DisposeAsync()
    {
        if (_mounted is not null) await Tool.RunAsync("umount", _mounted);
        Directory.Delete(_directory, recursive: true);
    }

    [Fact(DisplayName = "A disk is added to a node; when it fails under writes, clients see a pause, and the node starts anew by itself, names the disk, and has its copy made anew without it")]
    public async Task Fails_under_writes()
    {
        await using var cluster = await LocalCluster.StartAsync();
        await cluster.CreateVolumeAsync("db", 512 * MiB);
        await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "db");
        await cluster.KillAsync("node-1", Terminate);
        await MountAsync(Path.Combine(cluster.Node("node-1").Data, "disk-1"));
        await cluster.StartNodeAsync("node-1");
        var (first, second) = (Path.Combine(_directory, "first"), Path.Combine(_directory, "second"));
        await StandardClientsSpecs.WriteRandomAsync(first, 256 * MiB);
        await StandardClientsSpecs.WriteRandomAsync(second, 256 * MiB);
        try
        {
            await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "db");
            (await Tool.RunAsync("nbdcopy", "--flush", first, $"{cluster.Nodes[0].Nbd}/db")).Ok();
            Assert.NotEmpty(Directory.GetFiles(_mounted!, "segment-*.log"));
            await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "db");

            await RootTools.RunAsync("mount", "-o", "remount,abort", _mounted!);
            (await Tool.RunAsync("nbdcopy", "--flush", second, $"{cluster.Nodes[0].Nbd}/db")).Ok();
            var node = await LocalCluster.WaitForAsync(() => NodeAsync(cluster, "node-1"), found => found?.Disks.Any(disk => disk.State == "failed") == true, "node-1 does not name its failed disk");
            Assert.Equal(_mounted, node!.Disks.Single(disk => disk.State == "failed").Path);
            await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "db");
            var back = Path.Combine(_directory, "back");
            (await Tool.RunAsync("nbdcopy", $"{cluster.Node("node-1").Nbd}/db", back)).Ok();
            await using (var cut = File.OpenWrite(back)) cut.SetLength(256 * (long)MiB);
            Assert.Equal(await StandardClientsSpecs.HashAsync(second), await StandardClientsSpecs.HashAsync(back));
        }
        catch (Exception)
        {
            await Console.Error.WriteLineAsync(cluster.Logs());
            throw;
        }
        await cluster.KillAsync("node-1", Terminate);
        await RootTools.RunAsync("umount", _mounted!);
        _mounted = null;
    }

    private static async Task<NodeResource?> NodeAsync(LocalCluster cluster, string name)
    {
        using var api = new ApiClient(new Uri(cluster.Nodes[0].Api));
        var answer = await api.GetAsync($"/v1/nodes/{name}", default);
        return answer.IsOk ? answer.As<NodeResource>() : null;
    }

    private async Task MountAsync(string at)
    {
        var image = Path.Combine(_directory, "image");
        await using (var made = new FileStream(image, FileMode.CreateNew)) made.SetLength(DiskBytes);
        await RootTools.RunAsync("mkfs.ext4", "-q", "-F", "-m", "0", "-T", "largefile4", image);
        Directory.CreateDirectory(at);
        await RootTools.RunAsync("mount", "-o", "loop,errors=continue", image, at);
        _mounted = at;
    }
}
