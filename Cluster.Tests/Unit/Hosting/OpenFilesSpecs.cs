using Cluster.Node.Hosting;

namespace Cluster.Tests.Unit.Hosting;

public sealed class OpenFilesSpecs
{
    [Theory(DisplayName = "Clients take at most half of what a node has open beyond its own files, so that the store and the journal find some")]
    [InlineData(1024L, 256)]
    [InlineData(2048L, 768)]
    [InlineData(65536L, 1024)]
    [InlineData(long.MaxValue, 1024)]
    [InlineData(null, 1024)]
    public void Clients(long? limit, int clients)
    {
        Assert.Equal(clients, OpenFiles.Clients(limit, 1024));
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
