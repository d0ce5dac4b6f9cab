using Akka.Actor;
using Akka.Configuration;
using Akka.TestKit;
using Akka.TestKit.Xunit2;
using Cluster.Node.Hosting.Membership;
using Cluster.Tests.Unit.Fakes;

namespace Cluster.Tests.Unit.Hosting;

/// <summary>A clock that is set has the split-brain resolver begin anew; see <see cref="SteadyResolver"/>.</summary>
public sealed class SteadyDowningSpecs : TestKit
{
    private readonly ManualTime _time = new();
    private IActorRef _steady = ActorRefs.Nobody;

    /// <summary>Hears of resolvers that ended, in no order with those that begin.</summary>
    private readonly TestProbe _ends;

    public SteadyDowningSpecs()
        : base(ConfigurationFactory.ParseString("akka.scheduler.implementation = \"Akka.TestKit.TestScheduler, Akka.TestKit\"").WithFallback(DefaultConfig)) => _ends = CreateTestProbe();

    [Theory(DisplayName = "A clock that is set, back or forward, ends the resolver once and begins another, whose waiting is by the clock as it is now")]
    [InlineData(-86_400)]
    [InlineData(-2)]
    [InlineData(2)]
    [InlineData(86_400)]
    public void Set(int seconds)
    {
        var first = Start();
        Pass(10);
        _time.Now += TimeSpan.FromSeconds(seconds);
        Pass(1);
        _ends.ExpectTerminated(first);
        var second = ExpectMsg<IActorRef>();
        Assert.NotEqual(first, second);
        Pass(100);
        StillRuns(second);
        // Set once more, it is noticed once more.
        _ends.Watch(second);
        _time.Now -= TimeSpan.FromSeconds(seconds);
        Pass(1);
        _ends.ExpectTerminated(second);
        ExpectMsg<IActorRef>();
    }

    [Fact(DisplayName = "A clock that is put right in small steps has it begin anew when they have come to a second, and not for each")]
    public void Drifts()
    {
        var resolver = Start();
        for (var step = 0; step < 10; step++)
        {
            _time.Now += TimeSpan.FromMilliseconds(100);
            Pass(1);
        }
        StillRuns(resolver);
        _time.Now += TimeSpan.FromMilliseconds(100);
        Pass(1);
        _ends.ExpectTerminated(resolver);
        ExpectMsg<IActorRef>();
    }

    [Fact(DisplayName = "A process that hung finds both clocks further on, and nothing set")]
    public void Hung()
    {
        var resolver = Start();
        (_time.Now, _time.Since) = (_time.Now + TimeSpan.FromHours(1), _time.Since + TimeSpan.FromHours(1));
        Pass(10);
        StillRuns(resolver);
    }

    /// <summary>The resolver that it began.</summary>
    private IActorRef Start()
    {
        _steady = Sys.ActorOf(Props.Create(() => new SteadyResolver(Props.Create(() => new Resolver(TestActor)), _time, null)));
        var resolver = ExpectMsg<IActorRef>();
        // It has set its timer.
        HasSeenAll(_steady);
        _ends.Watch(resolver);
        return resolver;
    }

    private void Pass(int looks)
    {
        for (var look = 0; look < looks; look++)
        {
            (_time.Now, _time.Since) = (_time.Now + SteadyResolver.Pause, _time.Since + SteadyResolver.Pause);
            ((TestScheduler)Sys.Scheduler).Advance(SteadyResolver.Pause);
        }
        HasSeenAll(_steady);
    }

    private void StillRuns(IActorRef resolver)
    {
        Assert.True(HasSeenAll(resolver));
        ExpectNoMsg(0);
    }

    /// <summary>Once it has seen all that was sent to it; false: it has ended.</summary>
    private bool HasSeenAll(IActorRef actor)
    {
        var probe = CreateTestProbe();
        actor.Tell(new Identify(1), probe);
        return probe.ExpectMsg<ActorIdentity>().Subject is not null;
    }

    private sealed class Resolver : ReceiveActor
    {
        public Resolver(IActorRef told) => told.Tell(Self, Self);
    }
}
