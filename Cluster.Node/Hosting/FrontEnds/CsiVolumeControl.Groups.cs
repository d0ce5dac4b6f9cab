using Cluster.Csi.Csi;
using Cluster.Messages.Model;
using Cluster.Node.Api;

namespace Cluster.Node.Hosting.FrontEnds;

// Snapshots of several volumes, and what changed between two of one.
public sealed partial class CsiVolumeControl
{
    public async Task<CsiResult<GroupFacts>> CreateGroupAsync(string name, IReadOnlyList<string> volumes, CancellationToken cancellation)
    {
        var names = new List<VolumeName>();
        foreach (var volume in volumes)
        {
            if (!VolumeName.TryParse(volume, out var parsed, out _)) return NoVolume(volume);
            names.Add(parsed);
        }
        if (RequestChecks.Check(new CreateSnapshotGroupRequest { Name = name, Volumes = volumes }) is { } wrong) return Error(wrong.Status, wrong.Reason);
        var made = await control.CreateSnapshotGroupAsync(name, names, cancellation);
        return made.IsOk ? Facts(made.Value!.Group) : Error(made.Status, made.Reason);
    }

    public async Task<CsiResult<GroupFacts>> GetGroupAsync(string name, CancellationToken cancellation)
    {
        var found = await control.GetSnapshotGroupAsync(name, cancellation);
        return found.IsOk ? Facts(found.Value!) : Error(found.Status, found.Reason);
    }

    public async Task<CsiResult<IReadOnlyList<GroupFacts>>> ListGroupsAsync(CancellationToken cancellation)
    {
        var groups = await control.ListSnapshotGroupsAsync(cancellation);
        return groups.IsOk ? groups.Value!.Select(Facts).ToArray() : Error(groups.Status, groups.Reason);
    }

    public async Task<CsiResult<GroupFacts>> DeleteGroupAsync(string name, CancellationToken cancellation)
    {
        var deleted = await control.DeleteSnapshotGroupAsync(name, cancellation);
        return deleted.IsOk ? Facts(deleted.Value!) : Error(deleted.Status, deleted.Reason);
    }

    public async Task<CsiResult<ChangePage>> ListChangesAsync(string fullName, string? from, string to, ulong first, CancellationToken cancellation)
    {
        if (!VolumeName.TryParse(fullName, out var name, out _)) return NoVolume(fullName);
        var page = await control.ChangedBlocksAsync(name, from, to, first / Limits.BlockBytes * Limits.BlockBytes, cancellation);
        return page.IsOk ? new ChangePage([.. page.Value!.Runs.Select(run => (run.Offset, run.Length))], page.Value.Next) : Error(page.Status, page.Reason);
    }

    /// <summary>A group's snapshots have its name, so that one question tells whether a snapshot is one of a group.</summary>
    private async Task<CsiResult<SnapshotFacts>> WithGroupAsync(SnapshotFacts snapshot, CancellationToken cancellation)
    {
        var group = await control.GetSnapshotGroupAsync(snapshot.Name, cancellation);
        if (group.IsOk) return Facts(group.Value!).Mark(snapshot);
        return group.Status == ControlStatus.NotFound ? snapshot : Error(group.Status, group.Reason);
    }

    private static GroupFacts Facts(SnapshotGroupResource group) => new(
        group.Name, group.State == SnapshotGroupResource.Ready, group.State is SnapshotGroupResource.Ready or SnapshotGroupResource.Incomplete, group.CreatedAt,
        [.. group.Snapshots.Select(member => new GroupSnapshotFacts(new VolumeName(member.Namespace, member.Volume).ToString(), member.Sequence, member.CreatedAt ?? group.CreatedAt, member.Exists))]);
}
