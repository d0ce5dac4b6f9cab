using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Node.Hosting.Recovery;
using Cluster.Node.Hosting.Serialization;
using Cluster.Node.Journal;
using Cluster.Node.Journal.Recovery;
using Cluster.Node.Journal.State;
using Cluster.Node.Placement;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Integration.Journal;

public sealed class RecoveryImportSpecs
{
    private static readonly CancellationToken None = CancellationToken.None;

    [Fact(DisplayName = "All nodes fill a recovered journal at once, after one died in the middle: each event is there once, and whoever has no image waits for the others")]
    public async Task Filled_once()
    {
        await using var cluster = new JournalCluster(3);
        await cluster.StartAllAsync();
        var era = RecoveryEra.New();
        MetaPayload[] events = [.. Enumerable.Range(0, 5000).Select(number => new MetaPayload(5702, "m", BitConverter.GetBytes(number)))];
        var image = RecoveryImage.Decode(new RecoveryImage(era, 9, [new RecoveredStream("placement", events), new RecoveredStream("volume-v1", events[..1])]).Encode());
        var first = new MetaCommand.AppendEvents("placement", 0, "recovery", [new MetaNewEvent(9, events[0])]);
        Assert.True((await cluster.Nodes[1]!.Log.ProposeAsync(first, None)).IsOk);

        RecoveryImport Import(int node) => new(cluster.Nodes[node]!.Log, NullLogger.Instance);
        await Task.WhenAll(Import(0).RunAsync(era, image, None), Import(1).RunAsync(era, image, None), Import(2).RunAsync(era, null, None))
            .WaitAsync(JournalCluster.Patience);
        var log = cluster.Nodes[2]!.Log;
        var read = new List<byte[]>();
        await foreach (var e in log.ReadEventsAsync("placement", 1, long.MaxValue, long.MaxValue, None)) read.Add(e.Payload.Bytes);
        Assert.Equal(events.Select(e => e.Bytes), read);
        Assert.Equal(1, await log.HighestSequenceNrAsync("volume-v1", None));

        // A node that comes later finds it done, whatever happened since.
        Assert.True((await log.ProposeAsync(new MetaCommand.AppendEvents("volume-v1", 1, "w", [new MetaNewEvent(9, events[1])]), None)).IsOk);
        await Import(0).RunAsync(era, image, None).WaitAsync(JournalCluster.Patience);
        Assert.Equal(2, await log.HighestSequenceNrAsync("volume-v1", None));
        Assert.True(RecoveryEra.IsRecovered(era) && !RecoveryEra.IsRecovered(Guid.NewGuid()));
    }

    [Fact(DisplayName = "What is left of a lost majority knows the volumes, after a start alone too, when nothing of its log is known to be committed; a deleted one is none")]
    public async Task What_is_left()
    {
        await using var cluster = new JournalCluster(3);
        await cluster.StartAllAsync();
        var spec = new VolumeSpec(new VolumeId(1), VolumeSpec.DefaultNamespace, "orders", 1 << 20, 1, FailureModeKind.Soft, 1, 1000, false, ImmutableSortedDictionary<string, string>.Empty);
        ImmutableArray<ReplicaPlacement> Copies(string node) => [new(new ReplicaId(1), new NodeId(Guid.NewGuid()), node, Guid.NewGuid())];
        PlacementEvent[] events = [new VolumePlaced(spec, Copies("node-2")), new VolumePlaced(spec with { Id = new VolumeId(2), Name = "old" }, Copies("node-1")), new VolumeRemoved(new VolumeId(2))];
        var payloads = events.Select(e => new MetaNewEvent(9, new MetaPayload(SerializerIds.Event, EventCodec.ManifestOf(e), EventCodec.Encode(e))));
        Assert.True((await cluster.Nodes[await cluster.LeaderAsync()]!.Log.ProposeAsync(new MetaCommand.AppendEvents(PlacementActor.StreamId, 0, "w", [.. payloads]), None)).IsOk);
        // In its log too, once it reads what was committed.
        var left = (await cluster.LeaderAsync() + 1) % 3;
        await UntilAsync(cluster.Nodes[left]!, state => state.HighestSequenceNr(PlacementActor.StreamId) == events.Length).WaitAsync(JournalCluster.Patience);
        for (var node = 0; node < 3; node++) await cluster.StopAsync(node);
        var alone = cluster.Start(left);
        await alone.Formed.WaitAsync(JournalCluster.Patience);
        var state = await UntilAsync(alone, _ => true).WaitAsync(JournalCluster.Patience);
        Assert.Null(alone.Log.Status.LeaderName);
        var known = Assert.Single(LogCatalogue.Of(state));
        Assert.Equal(("v1", "orders", "node-2"), (known.Volume, known.Name, Assert.Single(known.Nodes)));
    }

    private static async Task<MetaState> UntilAsync(JournalNode node, Func<MetaState, bool> wanted)
    {
        for (; ; await Task.Delay(10))
        {
            if (await node.GuessStateAsync() is { } state && wanted(state)) return state;
        }
    }
}
