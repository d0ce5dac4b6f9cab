using System.Collections.Immutable;
using Cluster.Messages.Model;
using Cluster.Node.Api;
using Cluster.Node.Journal;

namespace Cluster.Node.Hosting.Control;

/// <summary>A group that is ready.</summary>
/// <param name="IsNew">False: it was there when it was asked for.</param>
internal sealed record MadeGroup(SnapshotGroupRecord Record, bool IsNew);

/// <summary>
/// Makes and deletes snapshots of several volumes at one point. Each volume's owner appends a marker and holds its writes; once all have said so that is written into the group's record, and only
/// then does any of them journal its snapshot (docs/consistency.md, C22). Killed anywhere on the way, owners go on by themselves after <see cref="Limits.GroupHoldMs"/>, the record says how far it came, and
/// whoever asks next, on whatever node, finishes it or takes it back. Any thread; throws <see cref="MetaLogUnavailableException"/>.
/// </summary>
internal sealed partial class SnapshotGroups(SnapshotGroupBook book, IGroupVolumes volumes, TimeProvider time)
{
    /// <summary>A record that is under way for longer has nobody who works at it: more than the hold and two writes of the journal take.</summary>
    public const int FreshMs = 15_000;

    /// <summary>Once every volume has its marker, an owner that does not answer, or has just changed, is asked again for so long.</summary>
    private const int CommitMs = 8_000;

    /// <summary>A volume may be in the middle of another change of its snapshots, or of a takeover.</summary>
    private const int TriesMax = 6;

    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(400);

    /// <summary>The same group again is found; of a name that was given up half-way what is left is finished or taken back first.</summary>
    /// <param name="members">Of different volumes, at most <see cref="Limits.GroupVolumesMax"/>.</param>
    /// <param name="cancellation">Of who asks. Nobody's writes are held any longer by it: from the first marker on it is not looked at.</param>
    public async Task<ControlResult<MadeGroup>> CreateAsync(string name, ImmutableArray<SnapshotGroupMember> members, CancellationToken cancellation)
    {
        ControlFailure failure = BeingMade(name);
        for (var tries = 0; tries < TriesMax; tries++)
        {
            if (tries > 0) await Task.Delay(Pause, time, cancellation);
            if (await FindAsync(name, members, cancellation) is { } found)
            {
                if (found.IsOk || found.Status != ControlStatus.Unavailable) return found;
                failure = new ControlFailure(found.Status, found.Reason);
                continue;
            }
            if (await WhyNotNowAsync(name, members, cancellation) is { } refused) return refused;
            var taken = await TakeAsync(name, members, cancellation);
            if (taken.IsOk || taken.Status != ControlStatus.Unavailable) return taken;
            failure = new ControlFailure(taken.Status, taken.Reason);
        }
        return failure;
    }

    /// <summary>Deletes the group's snapshots, and then its record, however far it has come. None of them goes while one can't: it is looked first.</summary>
    public async Task<ControlFailure?> DeleteAsync(string name, CancellationToken cancellation)
    {
        var (record, version) = await book.ReadAsync(name, cancellation);
        return record is null ? NotFound(name) : await UndoAsync(record, version);
    }

    public static ControlFailure NotFound(string name) =>
        new(ControlStatus.NotFound, $"There is no snapshot group \"{name}\"; `myrmidon snapshot group list` tells which there are.");

    /// <summary>Whether somebody may still be at work at a record that is not ready.</summary>
    public static bool IsFresh(SnapshotGroupRecord record, DateTimeOffset now)
    {
        var nowMs = (ulong)now.ToUnixTimeMilliseconds();
        return record.StartedUnixMs + FreshMs > nowMs && record.StartedUnixMs < nowMs + FreshMs;
    }

    /// <summary>What there is of that name; null: nothing (any more).</summary>
    private async Task<ControlResult<MadeGroup>?> FindAsync(string name, ImmutableArray<SnapshotGroupMember> members, CancellationToken cancellation)
    {
        var (record, version) = await book.ReadAsync(name, cancellation);
        if (record is { Phase: SnapshotGroupPhase.Marked })
        {
            if (await FinishAsync(record, version) is { } unfinished) return unfinished;
            (record, version) = await book.ReadAsync(name, cancellation);
        }
        switch (record?.Phase)
        {
            case null: return null;
            case SnapshotGroupPhase.Ready: return IsOf(record, members) ? new MadeGroup(record, IsNew: false) : Taken(record);
            case SnapshotGroupPhase.Taking when IsFresh(record, time.GetUtcNow()): return BeingMade(name);
            case SnapshotGroupPhase.Marked: return BeingMade(name);
            default: return await UndoAsync(record, version) is { } failure ? failure : (ControlResult<MadeGroup>?)null;
        }
    }

    /// <summary>Looked at before anybody's writes are held.</summary>
    private async Task<ControlFailure?> WhyNotNowAsync(string name, ImmutableArray<SnapshotGroupMember> members, CancellationToken cancellation)
    {
        if ((await book.ListAsync(cancellation)).Count >= Limits.SnapshotGroupsMax)
            return new ControlFailure(ControlStatus.Conflict, $"There are {Limits.SnapshotGroupsMax} snapshot groups, the most there can be; delete some first.");
        var failures = await Task.WhenAll(members.Select(volumes.AwaitServedAsync));
        return failures.FirstOrDefault(failure => failure is not null) is { } failed ? NotMade(name, failed) : null;
    }

    private async Task<ControlResult<MadeGroup>> TakeAsync(string name, ImmutableArray<SnapshotGroupMember> members, CancellationToken cancellation)
    {
        var record = new SnapshotGroupRecord(SnapshotGroupPhase.Taking, name, Guid.NewGuid(), (ulong)time.GetUtcNow().ToUnixTimeMilliseconds(), members);
        if (await book.WriteAsync(record, 0, cancellation) is not { } version) return BeingMade(name);
        var prepared = await Task.WhenAll(members.Select(member => volumes.PrepareAsync(member, record.Attempt, name)));
        var refused = prepared.Where(answer => !answer.IsOk).ToArray();
        if (refused.Length > 0)
        {
            await EndAttemptAsync(record, version);
            // What won't be otherwise in a moment says more than what may.
            var told = refused.OrderBy(answer => answer.Status is ControlStatus.Unavailable or ControlStatus.TimedOut).First();
            return NotMade(name, new ControlFailure(told.Status, told.Reason));
        }
        var marked = record with
        {
            Phase = SnapshotGroupPhase.Marked,
            Members = [.. members.Zip(prepared, (member, answer) => member with { Sequence = answer.Value!.Sequence, CreatedUnixMs = answer.Value.CreatedUnixMs })],
        };
        long? markedVersion = null;
        try
        {
            markedVersion = await book.WriteAsync(marked, version, CancellationToken.None);
        }
        finally
        {
            // Also when nobody knows whether that was written: nothing was committed, and what is found is taken back.
            if (markedVersion is null) await AbortAsync(marked);
        }
        if (markedVersion is null) return BeingMade(name);
        if (await FinishAsync(marked, markedVersion.Value) is { } failure) return failure;
        var (made, _) = await book.ReadAsync(name, CancellationToken.None);
        return made is { Phase: SnapshotGroupPhase.Ready } && made.Attempt == record.Attempt ? new MadeGroup(made, IsNew: true)
            : NotMade(name, new ControlFailure(ControlStatus.Unavailable, "not every volume journaled its snapshot, and those that did have deleted it again."));
    }

    /// <summary>Every volume has its marker: the group becomes ready, or is taken back. Null: one of the two is done.</summary>
    private async Task<ControlFailure?> FinishAsync(SnapshotGroupRecord record, long version)
    {
        var began = time.GetTimestamp();
        for (var left = record.Members; ; await Task.Delay(Pause, time))
        {
            var asked = left;
            var answers = await Task.WhenAll(asked.Select(member => volumes.CommitAsync(member, record.Attempt, record.Name)));
            if (answers.All(answer => answer.IsOk))
            {
                // Whoever has written meanwhile has done the same, or takes it back.
                await book.WriteAsync(record with { Phase = SnapshotGroupPhase.Ready }, version, CancellationToken.None);
                return null;
            }
            if (answers.FirstOrDefault(answer => answer.Status is not (ControlStatus.Ok or ControlStatus.Unavailable or ControlStatus.TimedOut)) is { Reason: not null } never)
                return await UndoAsync(record, version) is { } kept ? NotMade(record.Name, new ControlFailure(kept.Status, $"{never.Reason} {kept.Reason}")) : null;
            if (time.GetElapsedTime(began).TotalMilliseconds >= CommitMs)
                return NotMade(record.Name, new ControlFailure(ControlStatus.Unavailable, $"{answers.First(answer => !answer.IsOk).Reason} It stays unfinished until it is asked for again, or deleted."));
            left = [.. asked.Where((_, index) => !answers[index].IsOk)];
        }
    }

    /// <summary>Null: nothing is left of it, or somebody else has written meanwhile. Once it is begun it is not given up: what an owner can't delete yet is left to the next sweep.</summary>
    private async Task<ControlFailure?> UndoAsync(SnapshotGroupRecord record, long version)
    {
        var undoing = record with { Phase = SnapshotGroupPhase.Undoing };
        if (record.Phase != SnapshotGroupPhase.Undoing)
        {
            if (await WhyKeptAsync(record) is { } kept) return new ControlFailure(ControlStatus.Conflict, $"Snapshot group \"{record.Name}\" is not deleted, nor any part of it: {kept}");
            // First: from here on nobody makes it ready.
            if (await book.WriteAsync(undoing, version, CancellationToken.None) is not { } written) return BeingMade(record.Name);
            version = written;
        }
        if (await AbortAsync(undoing) is { } failure && undoing.Members.Any(member => member.Sequence != 0))
            return new ControlFailure(failure.Status, $"Snapshot group \"{record.Name}\" is not deleted yet: {failure.Reason}");
        await book.RemoveAsync(record.Name, version, CancellationToken.None);
        return null;
    }

    /// <summary>Nothing was committed: owners that do not hear of it go on by themselves.</summary>
    private async Task EndAttemptAsync(SnapshotGroupRecord record, long version)
    {
        await AbortAsync(record);
        await book.RemoveAsync(record.Name, version, CancellationToken.None);
    }

    private async Task<string?> WhyKeptAsync(SnapshotGroupRecord record)
    {
        foreach (var member in record.Members.Where(member => member.Sequence != 0))
        {
            if (await volumes.WhyKeptAsync(member) is { } kept) return kept;
        }
        return null;
    }

    private async Task<ControlFailure?> AbortAsync(SnapshotGroupRecord record)
    {
        var answers = await Task.WhenAll(record.Members.Select(member => volumes.AbortAsync(member, record.Attempt)));
        // A volume that is gone has taken its snapshots with it.
        return answers.FirstOrDefault(answer => answer.Status is not (ControlStatus.Ok or ControlStatus.NotFound)) is { Reason: not null } failed
            ? new ControlFailure(failed.Status, failed.Reason) : null;
    }

    private static bool IsOf(SnapshotGroupRecord record, ImmutableArray<SnapshotGroupMember> members) =>
        record.Members.Select(member => member.Volume).ToHashSet().SetEquals(members.Select(member => member.Volume));

    private static ControlFailure Taken(SnapshotGroupRecord record) => new(ControlStatus.Conflict,
        $"There is a snapshot group \"{record.Name}\" of other volumes ({string.Join(", ", record.Members.Select(member => member.FullName))}); choose another name, or delete that one first.");

    private static ControlFailure BeingMade(string name) => new(ControlStatus.Unavailable, $"The snapshot group \"{name}\" is being made or deleted by another request; try again in a moment.");

    private static ControlFailure NotMade(string name, ControlFailure because) => new(because.Status, $"Snapshot group \"{name}\" is not made: {because.Reason}");
}
