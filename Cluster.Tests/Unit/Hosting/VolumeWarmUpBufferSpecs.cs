using Cluster.Messages.Wire;
using Cluster.Node.Hosting.WarmUp;

namespace Cluster.Tests.Unit.Hosting;

/// <summary>Alone in the process while it runs: it counts the buffers of the whole process.</summary>
[Collection("Cluster simulation")]
public sealed class VolumeWarmUpBufferSpecs
{
    [Fact(DisplayName = "The warm-up of a volume gives every buffer back to the pool")]
    public void Nothing_is_kept()
    {
        var before = BufferPool.Shared.RentedBytes;
        VolumeWarmUp.Run(CancellationToken.None);
        Assert.Equal(before, BufferPool.Shared.RentedBytes);
    }
}
