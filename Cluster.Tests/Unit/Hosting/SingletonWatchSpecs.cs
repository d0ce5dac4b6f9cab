using Akka.Actor;
using Akka.TestKit.Xunit2;
using Cluster.Node.Hosting.Membership;

namespace Cluster.Tests.Unit.Hosting;

/// <summary>A node that has to run a singleton, and does not, leaves; see <see cref="SingletonWatch"/> for how that comes to be.</summary>
public sealed class SingletonWatchSpecs : TestKit
{
    private static readonly TimeSpan Every = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan Long = SingletonWatch.MissesMax * 4 * Every;

    [Fact(DisplayName = "A node that is the oldest and does not run one of the singletons leaves, once, and not before long")]
    public void Missing()
    {
        Sys.ActorOf(Props.Create<Idle>(), "runs");
        Watch("/user/runs", "/user/gone");
        ExpectNoMsg(SingletonWatch.MissesMax * Every / 4);
        ExpectMsg("leave", Long);
        ExpectNoMsg(Long);
    }

    [Fact(DisplayName = "A node whose singletons run, and one that need not run them, stay")]
    public void Running()
    {
        Sys.ActorOf(Props.Create<Idle>(), "runs");
        Watch("/user/runs");
        _isHost = () => false;
        Watch("/user/gone");
        ExpectNoMsg(Long);
    }

    [Fact(DisplayName = "One that starts late, or stops for a while, is waited for")]
    public void Late()
    {
        Watch("/user/runs");
        for (var round = 0; round < 3; round++)
        {
            ExpectNoMsg(SingletonWatch.MissesMax * Every / 4);
            var runs = Sys.ActorOf(Props.Create<Idle>(), "runs");
            ExpectNoMsg(4 * Every);
            Watch(runs);
            Sys.Stop(runs);
            ExpectTerminated(runs);
        }
        ExpectMsg("leave", Long);
    }

    private Func<bool> _isHost = () => true;

    private void Watch(params string[] paths)
    {
        var (test, isHost) = (TestActor, _isHost);
        Action leave = () => test.Tell("leave");
        Sys.ActorOf(Props.Create(() => new SingletonWatch(isHost, paths, leave, Every)));
    }

    private sealed class Idle : ReceiveActor
    {
        public Idle() => ReceiveAny(_ => { });
    }
}
