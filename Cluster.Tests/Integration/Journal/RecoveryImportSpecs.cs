using Cluster.Node.Journal;
using Cluster.Node.Journal.Recovery;
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
}
