using Cluster.Node.Journal.Formation;

namespace Cluster.Tests.Integration.Hosting;

public class StoreClusterSpecs
{
    [Fact(DisplayName = "A store and a journal of two clusters in one data directory are told apart")]
    public async Task Mixed_up()
    {
        await using var one = new TestNodes(1);
        await using var other = new TestNodes(1);
        await one.StartAllAsync();
        await other.StartAllAsync();
        await one.StopAsync(0);
        await other.StopAsync(0);
        var journal = Path.Combine(one.DataOf(0), "journal");
        Directory.Delete(journal, recursive: true);
        Directory.Move(Path.Combine(other.DataOf(0), "journal"), journal);
        Assert.EndsWith("put the two directories of one node together again.", await one.StartRefusedAsync(0), StringComparison.Ordinal);
    }

    [Fact(DisplayName = "The stores of two nodes of one cluster in each other's data directories are told apart, and no copy is given up")]
    public async Task Swapped()
    {
        await using var nodes = new TestNodes(2);
        await nodes.StartAllAsync();
        await nodes.StopAsync(0);
        await nodes.StopAsync(1);
        Swap(nodes);
        foreach (var index in new[] { 0, 1 })
        {
            var refusal = await nodes.StartRefusedAsync(index);
            Assert.Contains("belongs to node ", refusal, StringComparison.Ordinal);
            Assert.EndsWith("put the two directories of one node together again.", refusal, StringComparison.Ordinal);
        }
        Swap(nodes);
        await nodes.StartAllAsync();
    }

    [Fact(DisplayName = "A journal directory that was away for one start, and comes back, is that of the store still")]
    public async Task Journal_comes_back()
    {
        await using var nodes = new TestNodes(1);
        await nodes.StartAllAsync();
        await nodes.StopAsync(0);
        var (journal, aside) = (Path.Combine(nodes.DataOf(0), "journal"), Path.Combine(nodes.DataOf(0), "aside"));
        var node = FormationFile.IdentityIn(journal).NodeId;
        Directory.Move(journal, aside);
        await nodes.StartUntilAsync(0, () => FormationFile.IdentityIn(journal).NodeId != Guid.Empty);
        Assert.NotEqual(node, FormationFile.IdentityIn(journal).NodeId);
        Directory.Delete(journal, recursive: true);
        Directory.Move(aside, journal);
        await nodes.StartAsync(0);
        Assert.Equal(node, FormationFile.IdentityIn(journal).NodeId);
    }

    [Fact(DisplayName = "A copy of a node's data directory does not start while that node runs, which notices nothing")]
    public async Task Copied()
    {
        await using var nodes = new TestNodes(1);
        await nodes.StartAllAsync();
        // Nothing in it comes and goes while it is copied.
        await nodes.StopAsync(0);
        var copy = nodes.DataOf(1);
        CopyDirectory(nodes.DataOf(0), copy);
        await nodes.StartAsync(0);
        Assert.Contains("runs at 127.0.0.1:", await nodes.StartRefusedAsync(0, options => options with { DataDirectory = copy, JournalPort = 0 }), StringComparison.Ordinal);
        Assert.Equal(System.Net.HttpStatusCode.OK, (await nodes.GetAsync(0, "/v1/health")).Status);
        await nodes.StopAsync(0);
        await nodes.StartAsync(0);
    }

    private static void Swap(TestNodes nodes)
    {
        var stores = new[] { 0, 1 }.Select(index => Path.Combine(nodes.DataOf(index), "store")).ToArray();
        Directory.Move(stores[0], stores[0] + ".swap");
        Directory.Move(stores[1], stores[0]);
        Directory.Move(stores[0] + ".swap", stores[1]);
    }

    /// <summary>Files and directories; sockets are left.</summary>
    private static void CopyDirectory(string from, string to)
    {
        Directory.CreateDirectory(to);
        foreach (var path in Directory.EnumerateDirectories(from)) CopyDirectory(path, Path.Combine(to, Path.GetFileName(path)));
        foreach (var path in Directory.EnumerateFiles(from).Where(path => !path.EndsWith(".sock", StringComparison.Ordinal))) CopyFile(path, Path.Combine(to, Path.GetFileName(path)));
    }

    /// <summary>Of a file that another process may have locked.</summary>
    private static void CopyFile(string from, string to)
    {
        if (Path.GetFileName(from) == "lock") return;
        using var source = new FileStream(from, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        using var target = File.Create(to);
        source.CopyTo(target);
    }
}
