using System.Collections.Immutable;
using Cluster.Messages.Model;
using Cluster.Node.Api;
using Cluster.Node.Journal;

namespace Cluster.Node.Hosting.Control;

/// <summary>What a sweep did to a group.</summary>
internal enum SweepStep : byte
{
    Unset = 0,
    /// <summary>Every volume had its marker, and nobody was at work: it is ready, or nothing is left of it.</summary>
    Finished,
    /// <summary>What was left of one that was given up, or of a deletion that was not ended, is gone.</summary>
    Undone,
    /// <summary>It was one more than its volumes' labels want.</summary>
    Retired,
}

/// <param name="Failure">Null: it is done. Else it is tried again by the next sweep.</param>
internal sealed record SweptGroup(SnapshotGroupRecord Record, SweepStep Step, ControlFailure? Failure);

// What those who made or deleted groups have left behind, and what labels want gone.
internal sealed partial class SnapshotGroups
{
    /// <summary>
    /// Finishes what was begun and given up on whatever node, and then deletes what labels want gone. Several may do so at one time, and beside those who make groups: every step is a compare and set,
    /// or comes to the same when it is done twice.
    /// </summary>
    /// <param name="keepOf">What a volume's label wants kept; null: it has none.</param>
    public async Task<IReadOnlyList<SweptGroup>> SweepAsync(Func<VolumeId, Task<int?>> keepOf, CancellationToken cancellation)
    {
        var swept = new List<SweptGroup>();
        foreach (var record in await book.ListAsync(cancellation))
        {
            if (record.Phase == SnapshotGroupPhase.Ready || (record.Phase != SnapshotGroupPhase.Undoing && IsFresh(record, time.GetUtcNow()))) continue;
            // Whoever has written since the list was read is at work at it.
            if (await book.ReadAsync(record.Name, cancellation) is not ({ } now, var version) || now.Phase != record.Phase || now.Attempt != record.Attempt) continue;
            var isMarked = now.Phase == SnapshotGroupPhase.Marked;
            swept.Add(new SweptGroup(now, isMarked ? SweepStep.Finished : SweepStep.Undone, await (isMarked ? FinishAsync(now, version) : UndoAsync(now, version))));
        }
        swept.AddRange(await RetireAsync(keepOf, cancellation));
        return swept;
    }

    /// <summary>Deletes, as a whole each, the groups that are more than the labels of their volumes want.</summary>
    public async Task<IReadOnlyList<SweptGroup>> RetireAsync(Func<VolumeId, Task<int?>> keepOf, CancellationToken cancellation)
    {
        var swept = new List<SweptGroup>();
        var ready = (await book.ListAsync(cancellation)).Where(record => record.Phase == SnapshotGroupPhase.Ready).ToArray();
        var keeps = new Dictionary<VolumeId, int?>();
        foreach (var volume in ready.SelectMany(record => record.Members).Select(member => member.Volume).Distinct()) keeps[volume] = await keepOf(volume);
        foreach (var record in SnapshotGroupRetention.Surplus(ready, volume => keeps[volume]))
        {
            if (await book.ReadAsync(record.Name, cancellation) is ({ Phase: SnapshotGroupPhase.Ready } now, var version) && now.Attempt == record.Attempt)
                swept.Add(new SweptGroup(now, SweepStep.Retired, await UndoAsync(now, version)));
        }
        return swept;
    }
}

/// <summary>Groups by the label snapshot-group-keep of their volumes. Pure.</summary>
internal static class SnapshotGroupRetention
{
    /// <summary>Each costs an event in the journal of every volume; a label that was lowered by much takes several sweeps.</summary>
    public const int DeletedAtOnceMax = 32;

    /// <summary>
    /// Of the groups of exactly the same volumes the newest stay, as many as the largest label among these volumes says; all, where none has the label. The oldest first; by their place in a volume's
    /// order, which no clock can turn round.
    /// </summary>
    /// <param name="ready">No others: one that is not ready counts for nothing and is not touched.</param>
    public static ImmutableArray<SnapshotGroupRecord> Surplus(IEnumerable<SnapshotGroupRecord> ready, Func<VolumeId, int?> keepOf)
    {
        var surplus = new List<SnapshotGroupRecord>();
        foreach (var series in ready.GroupBy(record => string.Join(',', record.Members.Select(member => member.Volume).Order())))
        {
            if (series.First().Members.Max(member => keepOf(member.Volume)) is not { } keep) continue;
            surplus.AddRange(series.OrderBy(record => record.Members.MinBy(member => member.Volume)!.Sequence).SkipLast(keep));
        }
        return [.. surplus.OrderBy(record => record.StartedUnixMs).Take(DeletedAtOnceMax)];
    }
}
