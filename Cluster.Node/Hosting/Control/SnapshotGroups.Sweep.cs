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
    /// <summary>All of its volumes were deleted, and its snapshots with them: its record is gone too.</summary>
    Emptied,
    /// <summary>Its record can't be read: nothing is done with it.</summary>
    Read,
}

/// <param name="Members">None: nobody knows them.</param>
/// <param name="Failure">Null: it is done. Else it is tried again by the next sweep.</param>
internal sealed record SweptGroup(string Name, ImmutableArray<SnapshotGroupMember> Members, SweepStep Step, ControlFailure? Failure)
{
    public SweptGroup(SnapshotGroupRecord record, SweepStep step, ControlFailure? failure) : this(record.Name, record.Members, step, failure)
    {
    }
}

// What those who made or deleted groups have left behind, and what labels want gone.
internal sealed partial class SnapshotGroups
{
    /// <summary>
    /// Finishes what was begun and given up on whatever node, and then deletes what labels want gone. Several may do so at one time, and beside those who make groups: every step is a compare and set,
    /// or comes to the same when it is done twice. What can't be done with one group keeps no other from its turn.
    /// </summary>
    /// <param name="isGone">Whether a volume was deleted.</param>
    /// <param name="keepOf">What a volume's label wants kept; null: it has none.</param>
    public async Task<IReadOnlyList<SweptGroup>> SweepAsync(Func<VolumeId, Task<bool>> isGone, Func<VolumeId, Task<int?>> keepOf, CancellationToken cancellation)
    {
        var swept = new List<SweptGroup>();
        var found = await book.ListAsync(cancellation);
        foreach (var group in found.Unreadable)
            swept.Add(new SweptGroup(group.Name, [], SweepStep.Read, new ControlFailure(ControlStatus.Unavailable, $"its record in the journal can't be read, and it stays as it is: {group.Reason}")));
        foreach (var record in found.Records)
        {
            if (record.Phase == SnapshotGroupPhase.Ready || (record.Phase != SnapshotGroupPhase.Undoing && IsFresh(record, time.GetUtcNow()))) continue;
            var isMarked = record.Phase == SnapshotGroupPhase.Marked;
            if (await SweepAsync(record, isMarked ? SweepStep.Finished : SweepStep.Undone, isMarked ? FinishAsync : UndoAsync, cancellation) is { } done) swept.Add(done);
        }
        await RemoveEmptyAsync(found.Records.Where(record => record.Phase == SnapshotGroupPhase.Ready), isGone, swept, cancellation);
        await RetireAsync((await book.ListAsync(cancellation)).Records, keepOf, swept, cancellation);
        return swept;
    }

    private async Task RemoveEmptyAsync(IEnumerable<SnapshotGroupRecord> ready, Func<VolumeId, Task<bool>> isGone, List<SweptGroup> swept, CancellationToken cancellation)
    {
        foreach (var record in ready)
        {
            try
            {
                if (!await AreGoneAsync(record, isGone)) continue;
            }
            catch (Exception e) when (IsOfOneGroup(e))
            {
                // Told with what its volumes want kept.
                continue;
            }
            if (await SweepAsync(record, SweepStep.Emptied, RemoveAsync, cancellation) is { } done) swept.Add(done);
        }
    }

    private static async Task<bool> AreGoneAsync(SnapshotGroupRecord record, Func<VolumeId, Task<bool>> isGone)
    {
        foreach (var member in record.Members)
        {
            if (!await isGone(member.Volume)) return false;
        }
        return true;
    }

    private async Task<ControlFailure?> RemoveAsync(SnapshotGroupRecord record, long version)
    {
        await book.RemoveAsync(record.Name, version, CancellationToken.None);
        return null;
    }

    /// <summary>Of the groups of exactly the same volumes, deletes, as a whole each, those that are more than the labels of these volumes want.</summary>
    public async Task<IReadOnlyList<SweptGroup>> RetireBehindAsync(SnapshotGroupRecord made, Func<VolumeId, Task<int?>> keepOf, CancellationToken cancellation)
    {
        var swept = new List<SweptGroup>();
        await RetireAsync((await book.ListAsync(cancellation)).Records.Where(record => IsOf(record, made.Members)), keepOf, swept, cancellation);
        return swept;
    }

    private async Task RetireAsync(IEnumerable<SnapshotGroupRecord> records, Func<VolumeId, Task<int?>> keepOf, List<SweptGroup> swept, CancellationToken cancellation)
    {
        var ready = records.Where(record => record.Phase == SnapshotGroupPhase.Ready).ToArray();
        var (keeps, unknown) = (new Dictionary<VolumeId, int?>(), new HashSet<VolumeId>());
        foreach (var record in ready)
        {
            foreach (var volume in record.Members.Select(member => member.Volume).Where(volume => !keeps.ContainsKey(volume) && !unknown.Contains(volume)))
            {
                try
                {
                    keeps[volume] = await keepOf(volume);
                }
                catch (Exception e) when (IsOfOneGroup(e))
                {
                    // What is wanted of its groups nobody knows: they stay. Told once for each volume.
                    unknown.Add(volume);
                    swept.Add(NotSwept(record, SweepStep.Retired, e));
                }
            }
        }
        var known = ready.Where(record => !record.Members.Any(member => unknown.Contains(member.Volume)));
        foreach (var record in SnapshotGroupRetention.Surplus(known, volume => keeps[volume]))
        {
            if (await SweepAsync(record, SweepStep.Retired, UndoAsync, cancellation) is { } done) swept.Add(done);
        }
    }

    /// <summary>Null: whoever has written since the list was read is at work at it.</summary>
    private async Task<SweptGroup?> SweepAsync(SnapshotGroupRecord record, SweepStep step, Func<SnapshotGroupRecord, long, Task<ControlFailure?>> work, CancellationToken cancellation)
    {
        try
        {
            if (await book.ReadAsync(record.Name, cancellation) is not ({ } now, var version) || now.Phase != record.Phase || now.Attempt != record.Attempt) return null;
            return new SweptGroup(now, step, await work(now, version));
        }
        catch (Exception e) when (IsOfOneGroup(e))
        {
            return NotSwept(record, step, e);
        }
    }

    /// <summary>Without the journal nothing can be done with the others either.</summary>
    private static bool IsOfOneGroup(Exception e) => e is not (MetaLogUnavailableException or OperationCanceledException);

    private static SweptGroup NotSwept(SnapshotGroupRecord record, SweepStep step, Exception e) =>
        new(record, step, new ControlFailure(ControlStatus.Unavailable, $"snapshot group \"{record.Name}\" can't be looked at: {e.Message}"));
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
