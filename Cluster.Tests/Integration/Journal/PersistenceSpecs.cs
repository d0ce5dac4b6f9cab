using Akka.Actor;
using Akka.Configuration;
using Akka.Persistence;
using Akka.TestKit.Xunit2;
using Cluster.Node.Journal;
using Cluster.Node.Journal.Persistence;

namespace Cluster.Tests.Integration.Journal;

/// <summary>What the absent journal TCK would check, and what it never did: two writers, a leader lost in mid-write.</summary>
public sealed class PersistenceSpecs : IAsyncLifetime
{
    private static readonly TimeSpan Wait = TimeSpan.FromSeconds(20);
    private static readonly string Defaults = File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "hocon", "journal.conf"));
    private static readonly Config Settings = ConfigurationFactory.ParseString("""
        akka.loglevel = OFF
        akka.stdout-loglevel = OFF
        akka.actor.serializers.myrmidon-event = "Cluster.Tests.Integration.Journal.TextEventSerializer, Cluster.Tests"
        akka.actor.serialization-bindings { "Cluster.Tests.Integration.Journal.TextEvent, Cluster.Tests" = myrmidon-event }
        """).WithFallback(ConfigurationFactory.ParseString(Defaults));

    private readonly JournalCluster _cluster = new(3);
    private readonly List<TestKit> _kits = [];

    public async Task InitializeAsync()
    {
        await _cluster.StartAllAsync();
        await _cluster.LeaderAsync();
    }

    public async Task DisposeAsync()
    {
        foreach (var kit in _kits)
        {
            await kit.Sys.Terminate();
            kit.Dispose();
        }
        await _cluster.DisposeAsync();
    }

    [Fact(DisplayName = "Events come back in order, within bounds, after the actor, and their system, are gone")]
    public async Task Recovery_in_order()
    {
        var writer = Writer(Kit(0), "a");
        for (var i = 1; i <= 5; i++) Assert.Equal(i, await writer.Ask<long>($"e{i}", Wait));
        Assert.Equal(7, await writer.Ask<long>(new[] { "e6", "e7" }, Wait));
        Assert.Equal(["e1", "e2", "e3", "e4", "e5", "e6", "e7"], await Texts(Writer(Kit(1), "a")));
        var log = _cluster.Nodes[2]!.Log;
        Assert.Equal([3L, 4L], await Numbers(log, "a", 3, 4, 100));
        Assert.Equal([2L, 3L], await Numbers(log, "a", 2, 6, 2));
        Assert.Empty(await Numbers(log, "a", 8, 20, 100));
        Assert.Empty(await Numbers(log, "a", 1, 7, 0));
        Assert.Empty(await Numbers(log, "unknown", 1, 7, 100));
    }

    [Fact(DisplayName = "Deleting a range keeps the rest and the highest sequence number, so that numbers are never used again")]
    public async Task Deletion_keeps_the_highest_number()
    {
        var kit = Kit(0);
        var writer = Writer(kit, "b");
        await writer.Ask<long>(new[] { "e1", "e2", "e3" }, Wait);
        writer.Tell(new WriterActor.Forget(2));
        Assert.Equal(4, await writer.Ask<long>("e4", Wait));
        Assert.Equal(["e3", "e4"], await Texts(Writer(Kit(1), "b")));
        writer.Tell(new WriterActor.Forget(long.MaxValue));
        await writer.Ask<string[]>(new WriterActor.GetTexts(), Wait);
        var later = Writer(Kit(2), "b");
        await _cluster.Nodes[0]!.Log.ReadBarrierAsync(CancellationToken.None);
        Assert.Equal(5, await later.Ask<long>("e5", Wait));
    }

    [Fact(DisplayName = "Of two writers of one stream exactly one wins, and the other stops")]
    public async Task Fencing()
    {
        var (first, second) = (Kit(0), Kit(1));
        var old = Writer(first, "c");
        await old.Ask<long>("e1", Wait);
        var successor = Writer(second, "c");
        Assert.Equal(2, await successor.Ask<long>("by the successor", Wait));
        first.Watch(old);
        old.Tell("by the deposed");
        first.ExpectTerminated(old, Wait);
        Assert.Equal(["e1", "by the successor"], await Texts(Writer(Kit(2), "c")));
    }

    [Fact(DisplayName = "Two writers at once: one event for each sequence number, whoever wrote it")]
    public async Task Racing_writers()
    {
        var log = _cluster.Nodes[0]!.Log;
        for (var round = 0; round < 20; round++)
        {
            var appends = Enumerable.Range(0, 3).Select(i =>
                new MetaCommand.AppendEvents("race", round, $"w{i}", [new MetaNewEvent(0, new MetaPayload(1, "m", [(byte)i]))]));
            var racing = appends.Select((append, i) => _cluster.Nodes[i]!.Log.ProposeAsync(append, CancellationToken.None));
            var answers = await Task.WhenAll(racing);
            Assert.Single(answers, a => a.IsOk);
            Assert.All(answers.Where(a => !a.IsOk), a => Assert.Equal(MetaAnswer.Conflict(round + 1), a));
        }
        Assert.Equal(Enumerable.Range(1, 20).Select(i => (long)i), await Numbers(log, "race", 1, long.MaxValue, long.MaxValue));
    }

    [Fact(DisplayName = "The leader stops in mid-write: every write is answered, once, and none is doubled")]
    public async Task Leader_loss_in_mid_write()
    {
        var leader = await _cluster.LeaderAsync();
        var writer = Writer(Kit((leader + 1) % 3), "d");
        await writer.Ask<long>("e0", Wait);
        var writing = Enumerable.Range(1, 200).Select(i => writer.Ask<long>($"e{i}", Wait)).ToArray();
        await _cluster.StopAsync(leader);
        var numbers = await Task.WhenAll(writing);
        Assert.Equal(201, numbers.Max());
        Assert.Equal(Enumerable.Range(0, 201).Select(i => $"e{i}"), await Texts(Writer(Kit((leader + 2) % 3), "d")));
    }

    [Fact(DisplayName = "A proposal that is said again gets its first answer and changes nothing")]
    public async Task Idempotent_retry()
    {
        var append = new MetaCommand.AppendEvents("e", 0, "w", [new MetaNewEvent(0, new MetaPayload(1, "m", [1]))]);
        Assert.Equal(MetaAnswer.Ok(1), await _cluster.Nodes[0]!.Log.ProposeAsync(append, CancellationToken.None));
        Assert.Equal(MetaAnswer.Ok(1), await _cluster.Nodes[1]!.Log.ProposeAsync(append, CancellationToken.None));
        Assert.Equal(MetaAnswer.Conflict(1),
            await _cluster.Nodes[1]!.Log.ProposeAsync(append with { ProposalId = Guid.NewGuid() }, CancellationToken.None));
        Assert.Equal(1, await _cluster.Nodes[2]!.Log.HighestSequenceNrAsync("e", CancellationToken.None));
    }

    [Fact(DisplayName = "Snapshots: the newest within the criteria is offered, and the events after it")]
    public async Task Snapshots()
    {
        var writer = Writer(Kit(0), "f");
        await writer.Ask<long>(new[] { "e1", "e2" }, Wait);
        Assert.Equal(2, await writer.Ask<long>(new WriterActor.Snap("s2"), Wait));
        await writer.Ask<long>("e3", Wait);
        Assert.Equal(3, await writer.Ask<long>(new WriterActor.Snap("s3"), Wait));
        await writer.Ask<long>("e4", Wait);
        Assert.Equal(["snapshot:s3", "e4"], await Texts(Writer(Kit(1), "f")));
        Assert.Equal(["snapshot:s2", "e3", "e4"], await Texts(Writer(Kit(2), "f", new SnapshotSelectionCriteria(2))));
        Assert.Equal(["e1", "e2", "e3", "e4"], await Texts(Writer(Kit(2), "f", SnapshotSelectionCriteria.None)));
    }

    [Fact(DisplayName = "A payload that no event serializer is bound to is never journaled: the actor stops")]
    public async Task Foreign_payloads_are_refused()
    {
        var kit = Kit(0);
        var writer = Writer(kit, "g");
        await writer.Ask<long>("e1", Wait);
        kit.Watch(writer);
        writer.Tell(new WriterActor.Unserializable("anything"));
        kit.ExpectTerminated(writer, Wait);
        Assert.Equal(1, await _cluster.Nodes[1]!.Log.HighestSequenceNrAsync("g", CancellationToken.None));
    }

    private TestKit Kit(int node)
    {
        var setup = BootstrapSetup.Create().WithConfig(Settings).And(new MetaLogSetup(_cluster.Nodes[node]!.Log));
        var kit = new TestKit(setup, $"node-{node}-{_kits.Count}");
        _kits.Add(kit);
        return kit;
    }

    private static IActorRef Writer(TestKit kit, string id, SnapshotSelectionCriteria? from = null) =>
        kit.Sys.ActorOf(Props.Create(() => new WriterActor(id, from)));

    private static Task<string[]> Texts(IActorRef writer) => writer.Ask<string[]>(new WriterActor.GetTexts(), Wait);

    private static async Task<List<long>> Numbers(IMetaLog log, string id, long from, long to, long max)
    {
        var numbers = new List<long>();
        await foreach (var e in log.ReadEventsAsync(id, from, to, max, CancellationToken.None)) numbers.Add(e.SequenceNr);
        return numbers;
    }
}
