using System.Collections.Immutable;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Api;
using Cluster.Node.Journal;
using Cluster.Node.Journal.Format;
using Cluster.Node.Owner;
using Cluster.Node.Placement;

namespace Cluster.Node.Hosting.Control;

public sealed partial class ControlPlane
{
    /// <summary>A marker is on media by then, or the hold is over anyway.</summary>
    private static readonly TimeSpan PrepareMax = TimeSpan.FromMilliseconds(Limits.GroupHoldMs);

    public async Task<ControlResult<CreatedSnapshotGroup>> CreateSnapshotGroupAsync(string name, IReadOnlyList<VolumeName> volumes, CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotReady;
        var found = await Task.WhenAll(volumes.Select(volume => FindAsync(parts, volume, null, cancellation)));
        if (found.FirstOrDefault(volume => !volume.IsOk) is { Reason: not null } missing) return FailureOf(missing);
        ImmutableArray<SnapshotGroupMember> members = [.. found.Select(volume => volume.Value!.Entry).Select(entry => new SnapshotGroupMember(entry.Id, entry.Spec.FullName, 0, 0))];
        return await WithGroupsAsync<CreatedSnapshotGroup>(parts, async (groups, _) =>
        {
            var made = await groups.CreateAsync(name, members, cancellation);
            parts.OnGroup(name, members.Select(member => member.FullName), made.IsOk ? null : made.Reason);
            if (!made.IsOk) return new ControlFailure(made.Status, made.Reason);
            if (made.Value!.IsNew) await RetireBehindAsync(parts, groups, made.Value.Record);
            return new CreatedSnapshotGroup(Of(made.Value!.Record, SnapshotGroupResource.Ready, _ => true), made.Value.IsNew);
        });
    }

    public async Task<ControlResult<IReadOnlyList<SnapshotGroupResource>>> ListSnapshotGroupsAsync(CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotReady;
        return await WithGroupsAsync<IReadOnlyList<SnapshotGroupResource>>(parts, async (_, book) =>
        {
            var (resources, seen) = (new List<SnapshotGroupResource>(), new Dictionary<VolumeId, VolumeState>());
            var list = await book.ListAsync(cancellation);
            foreach (var record in list.Records) resources.Add(await LookAtAsync(parts, record, seen, cancellation));
            resources.AddRange(list.Unreadable.Select(group => Unreadable(group.Name)));
            return resources.OrderBy(group => group.Name, StringComparer.Ordinal).ToArray();
        });
    }

    public async Task<ControlResult<SnapshotGroupResource>> GetSnapshotGroupAsync(string name, CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotReady;
        return await WithGroupsAsync<SnapshotGroupResource>(parts, async (_, book) =>
            await book.ReadAsync(name, cancellation) is ({ } record, _) ? await LookAtAsync(parts, record, [], cancellation) : SnapshotGroups.NotFound(name));
    }

    public async Task<ControlResult<SnapshotGroupResource>> DeleteSnapshotGroupAsync(string name, CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotReady;
        return await WithGroupsAsync<SnapshotGroupResource>(parts, async (groups, book) =>
        {
            if (await book.ReadAsync(name, cancellation) is not ({ } record, _)) return SnapshotGroups.NotFound(name);
            return await groups.DeleteAsync(name, cancellation) is { } failure ? failure : Of(record, "deleted", _ => false);
        });
    }

    public async Task<ControlResult<SnapshotGroupResource>> ForgetSnapshotGroupAsync(string name, CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotReady;
        return await WithGroupsAsync<SnapshotGroupResource>(parts, async (_, book) => await book.ForgetAsync(name, cancellation) switch
        {
            true => Unreadable(name),
            false => SnapshotGroups.NotFound(name),
            null => new ControlFailure(ControlStatus.Conflict,
                $"The record of snapshot group \"{name}\" can be read: nothing was done. `myrmidon snapshot group delete {name}` without --forget-record deletes it with its snapshots."),
        });
    }

    private static SnapshotGroupResource Unreadable(string name) => new() { Name = name, State = SnapshotGroupResource.Unreadable, CreatedAt = DateTimeOffset.UnixEpoch };

    /// <summary>
    /// What was begun and given up on whatever node is ended, and what the labels of volumes want gone is deleted (<see cref="SnapshotGroupSweeper"/>). Any thread. Throws
    /// <see cref="MetaLogUnavailableException"/>.
    /// </summary>
    public async Task SweepSnapshotGroupsAsync()
    {
        if (_parts is not { } parts) return;
        var groups = new SnapshotGroups(new SnapshotGroupBook(parts.Log), new OwnersOfGroup(parts), TimeProvider.System);
        ReportSwept(parts, await groups.SweepAsync(IsGone(parts), KeepsOf(parts), CancellationToken.None));
    }

    /// <summary>The older ones of the same volumes only; all others wait for the next sweep. What fails is told, and tried again by that: the group that was asked for is there.</summary>
    private static async Task RetireBehindAsync(ControlParts parts, SnapshotGroups groups, SnapshotGroupRecord made)
    {
        try
        {
            ReportSwept(parts, await groups.RetireBehindAsync(made, KeepsOf(parts), CancellationToken.None));
        }
        catch (MetaLogUnavailableException e)
        {
            ReportSwept(parts, [new SweptGroup(made, SweepStep.Retired, new ControlFailure(ControlStatus.Unavailable, $"older groups of its volumes can't be retired now: {e.Message}"))]);
        }
    }

    private static void ReportSwept(ControlParts parts, IEnumerable<SweptGroup> swept)
    {
        foreach (var group in swept)
            parts.OnSweptGroup(group.Name, group.Members.Select(member => member.FullName), group.Step.ToString().ToLowerInvariant(), group.Failure?.Reason);
    }

    private static Func<VolumeId, Task<bool>> IsGone(ControlParts parts) => async volume => await parts.Folds.ReadAsync(volume, CancellationToken.None) is not { Deleted: false, Spec: not null };

    private static Func<VolumeId, Task<int?>> KeepsOf(ControlParts parts) => async volume =>
        await parts.Folds.ReadAsync(volume, CancellationToken.None) is { Deleted: false, Spec: { } spec } ? VolumeLabels.Read(spec.Labels).Policy?.SnapshotGroupKeep : null;

    /// <summary>Null when the snapshot is in no group: then it may be deleted by itself.</summary>
    private static async Task<ControlFailure?> WhyOfGroupAsync(ControlParts parts, VolumeId volume, string snapshot, CancellationToken cancellation)
    {
        try
        {
            // A group's snapshots have its name.
            if (await new SnapshotGroupBook(parts.Log).ReadAsync(snapshot, cancellation) is not ({ } group, _)) return null;
            if (group.Members.FirstOrDefault(member => member.Volume == volume) is not { } found || !await ExistsAsync(parts, found, [], cancellation)) return null;
            return OneOfGroup(snapshot, found);
        }
        catch (MetaLogUnavailableException e)
        {
            return GroupsUnknown(e);
        }
        catch (JournalFormatException e)
        {
            return Unreadable(e);
        }
    }

    private static ControlFailure Unreadable(JournalFormatException e) =>
        new(ControlStatus.Conflict, $"The journal's record of the snapshot group of that name can't be read by this version of the program, {Version}: {e.Message}; nothing was done. "
            + "`myrmidon snapshot group delete NAME --forget-record` takes away the record alone; the volumes' snapshots stay.");

    private static ControlFailure OneOfGroup(string snapshot, SnapshotGroupMember found) =>
        new(ControlStatus.Conflict, $"Snapshot \"{snapshot}\" of volume {found.FullName} is one of the group \"{snapshot}\", which would be incomplete without it; "
            + $"delete the group (myrmidon snapshot group delete {snapshot}).");

    private static ControlFailure GroupsUnknown(MetaLogUnavailableException e) =>
        new(ControlStatus.Unavailable, $"The journal can't be asked about snapshot groups: {e.Message}; look what was done, then try again.");

    /// <summary>No half group is shown as ready: each snapshot is looked for in its volume's journal.</summary>
    /// <param name="seen">Volumes that were looked at already.</param>
    private static async Task<SnapshotGroupResource> LookAtAsync(
        ControlParts parts, SnapshotGroupRecord record, Dictionary<VolumeId, VolumeState> seen, CancellationToken cancellation)
    {
        var exists = new HashSet<VolumeId>();
        foreach (var member in record.Members)
        {
            if (await ExistsAsync(parts, member, seen, cancellation)) exists.Add(member.Volume);
        }
        var state = record.Phase switch
        {
            SnapshotGroupPhase.Ready when exists.Count == record.Members.Length => SnapshotGroupResource.Ready,
            SnapshotGroupPhase.Ready => SnapshotGroupResource.Incomplete,
            SnapshotGroupPhase.Undoing => "deleting",
            _ => SnapshotGroups.IsFresh(record, DateTimeOffset.UtcNow) ? "creating" : "unfinished",
        };
        return Of(record, state, exists.Contains);
    }

    private static async Task<bool> ExistsAsync(ControlParts parts, SnapshotGroupMember member, Dictionary<VolumeId, VolumeState> seen, CancellationToken cancellation)
    {
        if (member.Sequence == 0) return false;
        if (!seen.TryGetValue(member.Volume, out var state)) seen[member.Volume] = state = await parts.Folds.ReadAsync(member.Volume, cancellation);
        return state is { Deleted: false } && state.Snapshots.Any(snapshot => snapshot.Sequence == member.Sequence && snapshot.UnixMs == member.CreatedUnixMs);
    }

    private static async Task<ControlResult<T>> WithGroupsAsync<T>(ControlParts parts, Func<SnapshotGroups, SnapshotGroupBook, Task<ControlResult<T>>> work)
        where T : class
    {
        var book = new SnapshotGroupBook(parts.Log);
        try
        {
            return await work(new SnapshotGroups(book, new OwnersOfGroup(parts), TimeProvider.System), book);
        }
        catch (MetaLogUnavailableException e)
        {
            return GroupsUnknown(e);
        }
        catch (JournalFormatException e)
        {
            return Unreadable(e);
        }
    }

    private static SnapshotGroupResource Of(SnapshotGroupRecord record, string state, Func<VolumeId, bool> exists) => new()
    {
        Name = record.Name,
        State = state,
        CreatedAt = DateTimeOffset.FromUnixTimeMilliseconds((long)record.StartedUnixMs),
        Snapshots = [.. record.Members.Select(member => Of(member, record.Name, exists(member.Volume)))],
    };

    private static SnapshotGroupMemberResource Of(SnapshotGroupMember member, string snapshot, bool exists)
    {
        var isName = VolumeName.TryParse(member.FullName, out var name, out _);
        Invariant.That(isName, "a volume's full name is not one");
        return new SnapshotGroupMemberResource(name.Name, name.Namespace, snapshot, member.Sequence,
            member.CreatedUnixMs == 0 ? null : DateTimeOffset.FromUnixTimeMilliseconds((long)member.CreatedUnixMs), exists);
    }

    private sealed class OwnersOfGroup(ControlParts parts) : IGroupVolumes
    {
        public async Task<ControlFailure?> AwaitServedAsync(SnapshotGroupMember member)
        {
            var located = await AskAsync<VolumeProtocol.Located>(member, new VolumeProtocol.Locate(member.Volume), AskMax);
            return located.IsOk ? null : new ControlFailure(located.Status, located.Reason);
        }

        public Task<ControlResult<VolumeProtocol.SnapshotPrepared>> PrepareAsync(SnapshotGroupMember member, Guid attempt, string name) =>
            AskAsync<VolumeProtocol.SnapshotPrepared>(member, new VolumeProtocol.PrepareSnapshot(member.Volume, attempt, name), PrepareMax);

        public Task<ControlResult<VolumeProtocol.SnapshotView>> CommitAsync(SnapshotGroupMember member, Guid attempt, string name) =>
            AskAsync<VolumeProtocol.SnapshotView>(member, new VolumeProtocol.CommitSnapshot(member.Volume, attempt, name, member.Sequence, member.CreatedUnixMs), AskMax);

        public async Task<string?> WhyKeptAsync(SnapshotGroupMember member)
        {
            var state = await parts.Folds.ReadAsync(member.Volume, CancellationToken.None);
            var clone = state.Deleted ? null : state.Clones.FirstOrDefault(known => known.Sequence == member.Sequence).Name;
            return clone is null ? null : $"volume {clone} is being cloned from the snapshot of volume {member.FullName}; delete the group when that has ended";
        }

        public Task<ControlResult<VolumeProtocol.Done>> AbortAsync(SnapshotGroupMember member, Guid attempt) =>
            AskAsync<VolumeProtocol.Done>(member, new VolumeProtocol.AbortSnapshot(member.Volume, attempt, member.Sequence, member.CreatedUnixMs), AskMax);

        private Task<ControlResult<T>> AskAsync<T>(SnapshotGroupMember member, IVolumeCommand command, TimeSpan atMost)
            where T : class => ControlPlane.AskAsync<T>(parts, parts.Volumes, command, $"The owner of volume {member.FullName}", atMost, CancellationToken.None);
    }
}
