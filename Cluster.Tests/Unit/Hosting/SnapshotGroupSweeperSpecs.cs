using Akka.Actor;
using Akka.TestKit.Xunit2;
using Cluster.Node.Hosting.Control;

namespace Cluster.Tests.Unit.Hosting;

public sealed class SnapshotGroupSweeperSpecs : TestKit
{
    private static readonly TimeSpan Every = TimeSpan.FromMilliseconds(20);

    [Fact(DisplayName = "Groups are swept on the node that hosts the singletons, one sweep at a time, and again after one that failed")]
    public async Task Sweeps()
    {
        var (isHost, sweeps, gate) = (false, 0, new TaskCompletionSource());
        Func<bool> hosts = () => Volatile.Read(ref isHost);
        var looks = 0;
        Func<bool> looking = () =>
        {
            Interlocked.Increment(ref looks);
            return hosts();
        };
        Func<Task> sweep = () => Interlocked.Increment(ref sweeps) == 1 ? Task.FromException(new InvalidOperationException("no journal")) : gate.Task;
        Sys.ActorOf(Props.Create(() => new SnapshotGroupSweeper(looking, sweep, Every)));
        await AwaitConditionAsync(() => Task.FromResult(Volatile.Read(ref looks) > 3));
        Assert.Equal(0, Volatile.Read(ref sweeps));
        Volatile.Write(ref isHost, true);
        await AwaitConditionAsync(() => Task.FromResult(Volatile.Read(ref sweeps) == 2));
        await ExpectNoMsgAsync(Every * 10);
        Assert.Equal(2, Volatile.Read(ref sweeps));
        gate.SetResult();
        await AwaitConditionAsync(() => Task.FromResult(Volatile.Read(ref sweeps) > 3));
    }
}
