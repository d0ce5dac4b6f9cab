using Cluster.Node.Api;
using Cluster.Node.Cli;
using Cluster.Tests.Chaos.Hosts;
using Cluster.Tests.Integration.EndToEnd;
using Xunit.Abstractions;

namespace Cluster.Tests.Chaos.Database;

/// <summary>Databases on file systems on a volume of three copies, mounted by the program's own attacher, under load, while what is below them dies.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "Chaos")]
public sealed class DatabaseSpecs(ITestOutputHelper output) : IDisposable
{
    private const ulong VolumeBytes = 1UL << 30;
    private const int Sessions = 4;
    private const int Some = 200;

    private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-db-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Theory(DisplayName = "A database notices neither that its volume's owner nor that the node it is mounted on is killed and returns; and when all is killed at once, every committed transaction is there")]
    [InlineData("PostgreSQL", "ext4")]
    [InlineData("PostgreSQL", "xfs")]
    [InlineData("MariaDB", "ext4")]
    [InlineData("MariaDB", "xfs")]
    public async Task Ledger_survives(string database, string fileSystem)
    {
        await using var cluster = await StartAsync();
        await cluster.CreateVolumeAsync("db", VolumeBytes);
        var front = cluster.Nodes[0].Name;
        await using var disk = new MountedVolume(cluster, "db", fileSystem, Path.Combine(_directory, "mnt"));
        await disk.AttachAsync(front);
        await using var server = DatabaseServer.Create(database, _directory, disk.Mount);
        await server.CreateAsync();
        await server.StartAsync();
        var ledger = new Ledger(server);
        await ledger.CreateAsync();

        var pid = server.Pid;
        ledger.Start(Sessions);
        var owner = (await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "db")).Owner!;
        foreach (var victim in new[] { owner, cluster.Other(owner, front).Name, front }.Distinct()) await NodeDiesAsync(cluster, victim, ledger);
        Assert.Empty(ledger.Errors);
        Assert.Equal(pid, server.Pid);
        Assert.Empty(server.Troubles());
        Assert.Equal("0", disk.ErrorCount);
        await AllDieAsync(cluster, disk, server, ledger);
        await RecoverAsync(front, disk, server, ledger);
    }

    [Theory(DisplayName = "A snapshot and a clone of a volume that a database writes to start a second one, which has all that was committed before; the volume grows meanwhile, and gives back what is deleted")]
    [InlineData("PostgreSQL", "xfs")]
    public async Task Copies_of_a_busy_database(string database, string fileSystem)
    {
        await using var cluster = await StartAsync();
        await cluster.CreateVolumeAsync("db", VolumeBytes);
        var (front, other) = (cluster.Nodes[0], cluster.Nodes[1]);
        await using var disk = new MountedVolume(cluster, "db", fileSystem, Path.Combine(_directory, "mnt"));
        await disk.AttachAsync(front.Name);
        await using var server = DatabaseServer.Create(database, _directory, disk.Mount);
        await server.CreateAsync();
        await server.StartAsync();
        var ledger = new Ledger(server);
        await ledger.CreateAsync();
        ledger.Start(Sessions);
        await ledger.WaitForMoreAsync(Some);

        var before = ledger.CommittedNow();
        (await disk.RunAsync("snapshot", "create", "db", "busy")).Ok();
        await ledger.WaitForMoreAsync(Some);
        (await disk.RunAsync("volume", "create", "restored", "--from-snapshot", "db/busy")).Ok();
        await CheckCopyAsync(cluster, "restored", fileSystem, database, other.Name, ledger, before);

        var later = ledger.CommittedNow();
        (await disk.RunAsync("volume", "create", "cloned", "--from-volume", "db")).Ok();
        await CheckCopyAsync(cluster, "cloned", fileSystem, database, other.Name, ledger, later);

        (await disk.RunAsync("volume", "resize", "db", "--size", "2GiB")).Ok();
        await disk.AttachAsync(front.Name);
        Assert.True(new DriveInfo(disk.Mount).TotalSize > 1.9 * (1UL << 30), "the mounted file system did not grow");
        await ledger.WaitForMoreAsync(Some);

        foreach (var copy in new[] { "restored", "cloned" }) (await disk.RunAsync("volume", "delete", copy)).Ok();
        (await disk.RunAsync("snapshot", "delete", "db", "busy")).Ok();
        await GivesBackAsync(front, disk);
        await ledger.StopAsync();
        Assert.Empty(ledger.Errors);
        Assert.Empty(server.Troubles());
        await ledger.CheckAsync();
        await server.CheckAsync(Ledger.Database);
        await server.StopAsync();
        await disk.CheckAsync(front.Name);
    }

    private async Task<LocalCluster> StartAsync()
    {
        RootTools.Require("losetup", "mkfs.ext4", "e2fsck", "mkfs.xfs", "xfs_repair", "mount", "runuser", "fstrim");
        Assert.True(File.Exists("/dev/fuse"), "This test needs FUSE: /dev/fuse is not there.");
        // The database's user must reach its data.
        await RootTools.RunAsync("chmod", "711", _directory);
        return await LocalCluster.StartAsync();
    }

    private async Task NodeDiesAsync(LocalCluster cluster, string victim, Ledger ledger)
    {
        await ledger.WaitForMoreAsync(Some);
        await cluster.KillAsync(victim);
        // A device waits for its own node.
        await cluster.StartNodeAsync(victim);
        await LocalCluster.WaitUntilInSyncAsync(cluster.Other(victim), "db");
        await ledger.WaitForMoreAsync(Some);
        output.WriteLine($"{ledger.Committed} transactions are committed when {victim} is in sync again; the longest took {ledger.LongestMs} ms");
    }

    /// <summary>The database, the machine that it runs on, and every storage node, in the same moment and in the middle of the load.</summary>
    private async Task AllDieAsync(LocalCluster cluster, MountedVolume disk, DatabaseServer server, Ledger ledger)
    {
        var nodes = cluster.Nodes.Select(node => cluster.KillAsync(node.Name)).ToArray();
        await disk.CrashAsync();
        await server.KillAsync();
        await Task.WhenAll(nodes);
        await ledger.StopAsync();
        output.WriteLine($"{ledger.Committed} transactions are committed when everything dies");
        await Task.WhenAll(cluster.Nodes.Select(node => cluster.StartNodeAsync(node.Name)));
        await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "db");
    }

    private async Task RecoverAsync(string front, MountedVolume disk, DatabaseServer server, Ledger ledger)
    {
        // The file system's own journal is replayed by a mount.
        await disk.AttachAsync(front);
        await disk.CheckAsync(front);
        await disk.AttachAsync(front);
        await server.StartAsync();
        await ledger.CheckAsync();
        await server.CheckAsync(Ledger.Database);
        ledger.Start(Sessions);
        await ledger.WaitForMoreAsync(Some);
        await ledger.StopAsync();
        Assert.Empty(ledger.Errors);
        await ledger.CheckAsync();
        await server.StopAsync();
        await disk.CheckAsync(front);
        output.WriteLine($"{ledger.Committed} transactions are there at the end");
    }

    private async Task CheckCopyAsync(LocalCluster cluster, string volume, string fileSystem, string database, string node, Ledger ledger, IReadOnlyCollection<long> committed)
    {
        var directory = Path.Combine(_directory, volume);
        Directory.CreateDirectory(directory);
        await RootTools.RunAsync("chmod", "711", directory);
        await using var disk = new MountedVolume(cluster, volume, fileSystem, Path.Combine(directory, "mnt"));
        await disk.AttachAsync(node);
        await using var server = DatabaseServer.Create(database, directory, disk.Mount);
        server.Unlock();
        await server.StartAsync();
        await ledger.CheckAsync(server, committed);
        await server.CheckAsync(Ledger.Database);
        await server.StopAsync();
        await disk.CheckAsync(node);
        output.WriteLine($"{volume} has all of {committed.Count} transactions");
    }

    /// <summary>A large file is written and deleted, and the space of it is free on the nodes' disks after a trim.</summary>
    private static async Task GivesBackAsync(Cluster.Node.Cli.Dev.DevNode node, MountedVolume disk)
    {
        const ulong FileBytes = 128UL << 20;
        var path = Path.Combine(disk.Mount, "large");
        var before = await NodesUsedAsync(node);
        await RootTools.RunAsync("dd", "if=/dev/urandom", $"of={path}", "bs=1M", "count=128", "conv=fsync", "status=none");
        var full = (await LocalCluster.GetVolumeAsync(node, "db"))!.UsedBytes;
        await LocalCluster.WaitForAsync(() => NodesUsedAsync(node), used => used > before + (2 * FileBytes), $"three copies of {FileBytes} bytes are not on the nodes, which had {before}");
        File.Delete(path);
        await RootTools.RunAsync("sync", "-f", disk.Mount);
        await disk.TrimAsync();
        await LocalCluster.WaitForVolumeAsync(node, "db", $"{FileBytes} bytes smaller than {full} after a trim", volume => volume.UsedBytes + (FileBytes * 3 / 4) < full);
        await LocalCluster.WaitForAsync(() => NodesUsedAsync(node), used => used < before + FileBytes, $"the nodes, which had {before} bytes, have not given back three copies of {FileBytes} after a trim");
    }

    private static async Task<ulong> NodesUsedAsync(Cluster.Node.Cli.Dev.DevNode node)
    {
        using var api = new ApiClient(new Uri(node.Api));
        return (await api.GetAsync("/v1/nodes", default)).As<NodeResource[]>().Aggregate(0UL, (sum, one) => sum + one.UsedBytes);
    }
}
