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
}
