using Akka.Actor;
using Akka.Actor.Setup;
using Akka.Configuration;
using Akka.TestKit.Xunit2;
using Cluster.Messages.Model;
using Cluster.Node.Hosting.WarmUp;
using Cluster.Node.Journal.Persistence;
using Cluster.Node.Owner;

namespace Cluster.Tests.Integration.Journal;

/// <summary>What the warm-up of a volume's actors does to the journal, and what it leaves.</summary>
public sealed class ActorWarmUpSpecs : TestKit
{
    private static readonly Config Settings = ConfigurationFactory.ParseString("""
        akka.loglevel = WARNING
        akka.actor.serializers.myrmidon-event = "Cluster.Node.Hosting.Serialization.EventSerializer, myrmidon"
        akka.actor.serialization-bindings { "Cluster.Messages.Events.VolumeEvent, Cluster.Messages" = myrmidon-event }
        """).WithFallback(ConfigurationFactory.ParseString(File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "hocon", "journal.conf"))));

    private readonly StateLog _log;

    public ActorWarmUpSpecs() : this(new StateLog())
    {
    }

    private ActorWarmUpSpecs(StateLog log) : base(ActorSystemSetup.Create(BootstrapSetup.Create().WithConfig(Settings.WithFallback(DefaultConfig)), new MetaLogSetup(log))) => _log = log;

    [Fact(DisplayName = "The warm-up of a volume's actors asks for a volume that is not there, writes nothing to the journal, and leaves no actor")]
    public async Task Reads_only()
    {
        var answers = await ActorWarmUp.RunAsync(Sys, CancellationToken.None);
        Assert.Equal(Enumerable.Repeat(IoStatus.Missing, 4), answers);
        Assert.Empty(_log.Proposals);
        Assert.Equal(0, _log.State.HighestSequenceNr(VolumeActor.PersistenceIdOf(VolumeWarmUp.Volume)));
        await AwaitAssertAsync(() => Assert.Throws<ActorNotFoundException>(() => Sys.ActorSelection("/user/warm-up").ResolveOne(TimeSpan.FromSeconds(3)).GetAwaiter().GetResult()));
    }

    [Fact(DisplayName = "The warm-up of a volume's actors gives up when the node stops, and leaves no actor")]
    public async Task Stopped()
    {
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => ActorWarmUp.RunAsync(Sys, new CancellationToken(canceled: true)));
        Assert.Empty(_log.Proposals);
        await AwaitAssertAsync(() => Assert.Throws<ActorNotFoundException>(() => Sys.ActorSelection("/user/warm-up").ResolveOne(TimeSpan.FromSeconds(3)).GetAwaiter().GetResult()));
    }
}
