using System.Runtime;
using Cluster.Messages.Events;
using Cluster.Node.Hosting.WarmUp;

namespace Cluster.Tests.Unit.Hosting;

public sealed class VolumeWarmUpSpecs
{
    [Fact(DisplayName = "The warm-up takes a volume in memory from its creation to its tombstone, and what it ran is not compiled again")]
    public void Runs()
    {
        var events = VolumeWarmUp.Run(CancellationToken.None);
        Assert.Equal([typeof(VolumeCreated), typeof(EpochStarted), typeof(EpochOpened), typeof(AttachmentChanged), typeof(AttachmentChanged), typeof(VolumeDeleted)], events.Select(e => e.GetType()));
        Assert.All(events, e => Assert.Equal(VolumeWarmUp.Volume, e.Volume));
        // What loops often enough is compiled anew by the thread that loops, once.
        VolumeWarmUp.Run(CancellationToken.None);
        var before = JitInfo.GetCompiledMethodCount(currentThread: true);
        VolumeWarmUp.Run(CancellationToken.None);
        Assert.InRange(JitInfo.GetCompiledMethodCount(currentThread: true) - before, 0, 10);
    }

    [Fact(DisplayName = "A stop ends the warm-up of a volume")]
    public void Stops() => Assert.Throws<OperationCanceledException>(() => VolumeWarmUp.Run(new CancellationToken(canceled: true)));
}
