using System.Globalization;

namespace Cluster.Tests.Integration.EndToEnd;

/// <summary>A real node whose store is full (R21).</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "EndToEnd")]
public sealed class FullPoolSpecs : IDisposable
{
    private const ulong MiB = 1UL << 20;

    /// <summary>
    /// More than a store of 640 MiB takes, less than it takes once the first part is trimmed. nbdcopy gives each of its connections 128 MiB at a time: the store is full when one of them is at work
    /// still, so that the writes that are held are not all that the front end may have under way (32 MiB), and the trim has a place beside them.
    /// </summary>
    private const ulong FileBytes = 656 * MiB;
    private const ulong TrimmedBytes = 256 * MiB;

    private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-full-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact(DisplayName = "R21: a full pool holds the client's writes and says where room is lacking; a trim passes them, they go on by themselves, and every byte is there")]
    public async Task Held_until_there_is_room()
    {
        await using var cluster = await LocalCluster.StartAsync(nodes: 1, settings: "myrmidon.capacity = 640MiB");
        var node = cluster.Nodes[0];
        await cluster.CreateVolumeAsync("db", 1024 * MiB, replicas: 1);
        var file = Path.Combine(_directory, "file");
        await StandardClientsSpecs.WriteRandomAsync(file, FileBytes);
        // As much at one time as the node's session of the volume may have outstanding, and more: what is held fills it.
        var copying = Tool.RunAsync("nbdcopy", "--flush", "--connections=4", "--requests=64", "--request-size=1048576", file, $"{node.Nbd}/db");
        var held = await LocalCluster.WaitForVolumeAsync(node, "db", "held", volume => volume.State == "held");
        Assert.Contains("writes are held until there is room on node node-0", held.Reason, StringComparison.Ordinal);
        Assert.False(copying.IsCompleted, "the copy ended though the pool is full");
        // Through the same node, whose session with the owner is full of writes.
        for (var number = 0; number < 50; number++) (await Tool.RunAsync("qemu-io", "-r", "-f", "raw", "-c", "read 0 64k", "-c", "read 128M 1M", $"{node.Nbd}/db")).Ok();
        Assert.False(copying.IsCompleted, "the copy ended though the pool is full");
        Assert.True(held is { StoredBytes: > 256 * MiB, UsedBytes: > 256 * MiB, SnapshotBytes: 0 }, $"the volume has {held.UsedBytes} bytes used, {held.StoredBytes} stored");
        await LocalCluster.WaitForAsync(async () => (await LocalCluster.GetStatusAsync(node)).Warnings,
            warnings => warnings.Any(warning => warning.StartsWith("Node node-0 is nearly full: it holds", StringComparison.Ordinal)), "nothing warned of the full disk");

        (await Tool.RunAsync("qemu-io", "-f", "raw", "-d", "unmap", "-c", $"discard 0 {TrimmedBytes.ToString(CultureInfo.InvariantCulture)}", $"{node.Nbd}/db")).Ok();
        (await copying).Ok();
        await LocalCluster.WaitForVolumeAsync(node, "db", "healthy again", volume => volume.State == "healthy");
        var back = Path.Combine(_directory, "back");
        (await Tool.RunAsync("nbdcopy", $"{node.Nbd}/db", back)).Ok();
        var skip = TrimmedBytes.ToString(CultureInfo.InvariantCulture);
        (await Tool.RunAsync("cmp", "-i", skip, "-n", (FileBytes - TrimmedBytes).ToString(CultureInfo.InvariantCulture), file, back)).Ok();
    }
}
