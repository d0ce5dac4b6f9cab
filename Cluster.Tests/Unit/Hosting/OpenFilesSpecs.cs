using Cluster.Node.Hosting;

namespace Cluster.Tests.Unit.Hosting;

public sealed class OpenFilesSpecs
{
    [Theory(DisplayName = "Of what a node has open beyond its own files, segments take half at most, and NBD and REST a quarter each, so that the journal and the other nodes find some")]
    [InlineData(1024L, 256, 128)]
    [InlineData(2048L, 768, 384)]
    [InlineData(65536L, 16384, 1024)]
    [InlineData(long.MaxValue, 16384, 1024)]
    [InlineData(null, 16384, 1024)]
    public void Shares(long? limit, int segments, int clients)
    {
        Assert.Equal((segments, clients), (OpenFiles.Segments(limit), OpenFiles.Clients(limit, 1024)));
        if (limit is { } files) Assert.True(segments + (2 * clients) + 512 <= files);
        Assert.Equal("", OpenFiles.Refusal(limit));
    }

    [Fact(DisplayName = "The hard limit counts, as the kernel tells it; what can't be read limits nothing")]
    public void Limit()
    {
        Assert.Equal(4096, OpenFiles.Limit("Max cpu time unlimited unlimited seconds\nMax open files            1024                 4096                 files \n"));
        Assert.Equal(long.MaxValue, OpenFiles.Limit("Max open files            1024                 unlimited            files \n"));
        Assert.Null(OpenFiles.Limit("Max open files"));
        Assert.Null(OpenFiles.Limit(null));
        Assert.True(OpenFiles.OfProcess() > 0);
    }
}
