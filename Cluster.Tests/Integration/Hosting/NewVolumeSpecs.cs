using System.Net;

namespace Cluster.Tests.Integration.Hosting;

public class NewVolumeSpecs
{
    private const int Volumes = 6;

    [Fact(DisplayName = "Volumes of one copy on three nodes are served at once, on whichever node the copy lies and whoever asks")]
    public async Task Single_copies()
    {
        await using var nodes = new TestNodes(3);
        await nodes.StartAllAsync();
        var holders = new HashSet<string>(StringComparer.Ordinal);
        for (var index = 0; index < Volumes; index++)
        {
            var (status, created) = await nodes.PostAsync(
                index % 3, "/v1/volumes", new { name = $"single-{index}", sizeBytes = 1L << 30, replicas = 1 });
            Assert.True(status == HttpStatusCode.Created, created.ToString());
            var holder = created.GetProperty("replicas")[0].GetProperty("node").GetString()!;
            holders.Add(holder);
            Assert.Equal(holder, created.GetProperty("owner").GetString());
        }
        // Free space decides where copies lie, and all nodes have the same: each of them got some.
        Assert.Equal(3, holders.Count);
    }
}
