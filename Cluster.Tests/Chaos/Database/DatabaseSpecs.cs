using Cluster.Tests.Chaos.Hosts;
using Cluster.Tests.Integration.EndToEnd;
using Xunit.Abstractions;

namespace Cluster.Tests.Chaos.Database;

/// <summary>PostgreSQL on ext4 on a volume of three copies, under load, while what is below it dies.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "Chaos")]
public sealed class DatabaseSpecs(ITestOutputHelper output) : IDisposable
{
    private const ulong VolumeBytes = 512UL << 20;
    private const int Sessions = 4;
    private const int Some = 200;

    private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-db-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact(DisplayName = "PostgreSQL does not notice that its volume's owner is killed and returns; and when all is killed at once, every committed transaction is there")]
    public async Task Ledger_survives()
    {
        RootTools.Require("qemu-storage-daemon", "fusermount3", "losetup", "mkfs.ext4", "e2fsck", "mount", "runuser");
        Postgres.Require();
        Assert.True(File.Exists("/dev/fuse"), "This test needs FUSE: /dev/fuse is not there.");
        // The database's user must reach its data.
        await RootTools.RunAsync("chmod", "711", _directory);
        await using var cluster = await LocalCluster.StartAsync();
        var owner = (await cluster.CreateVolumeAsync("db", VolumeBytes)).Owner!;
        var front = cluster.Other(owner);
        await using var disk = new MountedVolume(_directory);
        await disk.AttachAsync(new Uri(front.Nbd), "db", VolumeBytes);
        await disk.FormatAsync();
        await disk.MountAsync();
        await using var server = new Postgres(_directory, disk.Mount);
        await server.CreateAsync();
        await server.StartAsync();
        var ledger = new Ledger(server);
        await ledger.CreateAsync();

        await OwnerDiesAsync(cluster, owner, disk, server, ledger);
        await AllDieAsync(cluster, disk, server, ledger);
        await RecoverAsync(front.Nbd, disk, server, ledger);
    }

    private async Task OwnerDiesAsync(LocalCluster cluster, string owner, MountedVolume disk, Postgres server, Ledger ledger)
    {
        var pid = server.Pid;
        ledger.Start(Sessions);
        await ledger.WaitForMoreAsync(Some);
        await cluster.KillAsync(owner);
        await ledger.WaitForMoreAsync(Some);
        await cluster.StartNodeAsync(owner);
        await LocalCluster.WaitUntilInSyncAsync(cluster.Other(owner), "db");
        await ledger.WaitForMoreAsync(Some);
        output.WriteLine($"{ledger.Committed} transactions are committed when {owner} is in sync again");
        Assert.Empty(ledger.Errors);
        Assert.Equal(pid, server.Pid);
        Assert.DoesNotContain(server.Log().Split('\n'), line => line.Contains("ERROR", StringComparison.Ordinal)
            || line.Contains("FATAL", StringComparison.Ordinal) || line.Contains("PANIC", StringComparison.Ordinal));
        Assert.Equal("0", disk.ErrorCount);
    }

    /// <summary>The database, the machine that it runs on, and every storage node, in the same moment and in the middle of the load.</summary>
    private async Task AllDieAsync(LocalCluster cluster, MountedVolume disk, Postgres server, Ledger ledger)
    {
        var nodes = cluster.Nodes.Select(node => cluster.KillAsync(node.Name)).ToArray();
        disk.Crash();
        await server.KillAsync();
        await Task.WhenAll(nodes);
        await ledger.StopAsync();
        output.WriteLine($"{ledger.Committed} transactions are committed when everything dies");
        await disk.DetachAsync();
        await Task.WhenAll(cluster.Nodes.Select(node => cluster.StartNodeAsync(node.Name)));
        await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "db");
    }

    private async Task RecoverAsync(string nbd, MountedVolume disk, Postgres server, Ledger ledger)
    {
        await disk.AttachAsync(new Uri(nbd), "db", VolumeBytes);
        // The file system's own journal is replayed by a mount.
        await disk.MountAsync();
        await disk.UnmountAsync();
        await disk.CheckAsync();
        await disk.MountAsync();
        await server.StartAsync();
        await ledger.CheckAsync();
        await server.CheckAsync(Ledger.Database);
        ledger.Start(Sessions);
        await ledger.WaitForMoreAsync(Some);
        await ledger.StopAsync();
        Assert.Empty(ledger.Errors);
        await ledger.CheckAsync();
        await server.StopAsync();
        await disk.UnmountAsync();
        await disk.CheckAsync();
        output.WriteLine($"{ledger.Committed} transactions are there at the end");
    }
}
