using System.Collections.Immutable;
using Cluster.Csi.Csi;
using Cluster.Messages.Model;
using Cluster.Node.Api;
using Cluster.Node.Hosting.Control;
using Cluster.Node.Journal;
using Cluster.Node.Owner;
using Cluster.Node.Placement;
using Grpc.Core;

namespace Cluster.Node.Hosting.FrontEnds;

/// <summary>What is known of nodes that are silent. Any thread.</summary>
/// <param name="Doubt">The node with that name is waited for in vain.</param>
/// <param name="IsSilent">This node does not hear the I/O loop of the one with that name any more.</param>
/// <param name="IsCatalogueSilent">The same of the node that hosts the catalogue.</param>
public sealed record SilencePorts(Action<string> Doubt, Func<string, bool> IsSilent, Func<bool> IsCatalogueSilent)
{
    public static readonly SilencePorts None = new(_ => { }, _ => false, () => false);
}

/// <summary>The CSI driver's way to the control plane of its node. Any thread.</summary>
public sealed partial class CsiVolumeControl(string nodeName, string zone, IControlPlane control, Health health, ClaimReader? claims) : IVolumeControl
{
    private volatile IMetaLog? _log;
    private volatile SilencePorts _silence = SilencePorts.None;

    public string NodeName => nodeName;

    public string Zone => zone;

    public string Version => ControlPlane.Version;

    public ImmutableSortedSet<string> KnownLabels { get; } = VolumeLabels.Keys.ToImmutableSortedSet(StringComparer.Ordinal);

    public ImmutableSortedSet<string> HonouredLabels { get; } = VolumeLabels.Honoured.ToImmutableSortedSet(StringComparer.Ordinal);

    public bool CanClone => true;

    public bool IsCatalogueSilent => _silence.IsCatalogueSilent();

    /// <summary>From here on names of snapshots can be taken, and nodes that are silent are known.</summary>
    public void Open(IMetaLog log, SilencePorts silence) => (_silence, _log) = (silence, log);

    public DriverState Look()
    {
        var seen = health.Look(nodeName);
        if (Health.IsReady(seen)) return new DriverState(true, false, "");
        // Parts that are not there yet look broken until the start has come to them.
        if (seen.Submodules.FirstOrDefault(part => part.Status == "starting") is { } starting) return new DriverState(false, true, starting.Reason);
        return new DriverState(false, false, seen.Submodules.First(part => part.Status == seen.Status).Reason);
    }

    public string? CheckLabels(ImmutableSortedDictionary<string, string> labels)
    {
        var (policy, error) = VolumeLabels.Read(labels);
        return policy is null ? error : null;
    }

    public bool IsReservedSnapshotName(string name) => SnapshotSchedule.IsScheduled(name);

    public async Task<CsiResult<VolumeFacts>> CreateAsync(NewVolume volume, CancellationToken cancellation)
    {
        var request = new CreateVolumeRequest
        {
            Name = volume.Name,
            SizeBytes = volume.SizeBytes,
            Labels = new Dictionary<string, string>(volume.Labels),
            Source = volume.Source is { } source ? new CloneSourceRequest { Volume = source.Volume, Snapshot = source.Snapshot } : null,
        };
        return RequestChecks.Check(request) is { } wrong ? Error(wrong.Status, wrong.Reason) : Facts(await control.CreateVolumeAsync(request, cancellation));
    }

    public Task<CsiResult<VolumeFacts>> GetAsync(string fullName, CancellationToken cancellation) =>
        WithVolumeAsync(fullName, name => control.GetVolumeAsync(name, cancellation));

    public async Task<CsiResult<IReadOnlyList<VolumeFacts>>> ListAsync(CancellationToken cancellation)
    {
        var list = await control.ListVolumesAsync(null, cancellation);
        return list.IsOk ? list.Value!.Select(Facts).ToArray() : Error(list.Status, list.Reason);
    }

    public async Task<CsiResult<IReadOnlyList<string>>> ListWithLabelAsync(string key, CancellationToken cancellation)
    {
        var list = await control.ListVolumesWithAsync(key, cancellation);
        return list.IsOk ? list.Value!.Select(name => name.ToString()).ToArray() : Error(list.Status, list.Reason);
    }

    public async Task<CsiResult<ImmutableSortedDictionary<string, string>>> ReadClaimAsync(string scope, string claim, CancellationToken cancellation) =>
        claims is null ? ImmutableSortedDictionary<string, string>.Empty : await claims.ReadAsync(scope, claim, VolumeLabels.Prefix, cancellation);

    public Task<CsiResult<VolumeFacts>> DeleteAsync(string fullName, CancellationToken cancellation) =>
        WithVolumeAsync(fullName, name => control.DeleteVolumeAsync(name, null, force: false, cancellation));

    public async Task<CsiResult<VolumeFacts>> ChangeAsync(
        string fullName, ulong? sizeBytes, ImmutableSortedDictionary<string, string> labels, string? revision, CancellationToken cancellation)
    {
        var change = new ChangeVolumeRequest
        {
            SizeBytes = sizeBytes,
            Labels = labels.ToDictionary(label => label.Key, label => label.Value.Length > 0 ? label.Value : null, StringComparer.Ordinal),
        };
        if (RequestChecks.Check(change) is { } wrong) return Error(wrong.Status, wrong.Reason);
        // What contradicts a change is another one that is under way: the same call may succeed later, other than what is impossible (ABORTED, which is tried again soon).
        return await WithVolumeAsync(fullName, async name =>
        {
            var changed = await control.ChangeVolumeAsync(name, change, revision, cancellation);
            return changed.Status == ControlStatus.Conflict ? new ControlFailure(ControlStatus.Stale, changed.Reason) : changed;
        });
    }

    public Task<CsiResult<VolumeFacts>> AttachAsync(string fullName, string node, string? revision, CancellationToken cancellation) =>
        WithVolumeAsync(fullName, name => control.AttachAsync(name, node, revision, cancellation));

    public Task<CsiResult<VolumeFacts>> DetachAsync(string fullName, string? revision, CancellationToken cancellation) =>
        WithVolumeAsync(fullName, name => control.DetachAsync(name, revision, cancellation));

    public async Task<CsiResult<IReadOnlyList<NodeFacts>>> ListNodesAsync(CancellationToken cancellation)
    {
        var list = await control.ListNodesAsync(cancellation);
        if (!list.IsOk) return Error(list.Status, list.Reason);
        // One of which nothing is known may be up: it is asked whether it uses a volume before that is taken from it.
        return list.Value!.Select(node => new NodeFacts(
            node.Name, node.Zone ?? "", node.State is "up" or NodeBoard.UnknownState, node is { State: "up", Cordoned: false }, node.FreeBytes, node.Api)
        { IsKnown = node.State != NodeBoard.UnknownState }).ToArray();
    }

    private static async Task<CsiResult<VolumeFacts>> WithVolumeAsync(string fullName, Func<VolumeName, Task<ControlResult<VolumeResource>>> work) =>
        VolumeName.TryParse(fullName, out var name, out _) && name.ToString() == fullName ? Facts(await work(name))
            : CsiError.NotFound($"There is no volume '{fullName}'.");

    private static CsiResult<VolumeFacts> Facts(ControlResult<VolumeResource> result) =>
        result.IsOk ? Facts(result.Value!) : Error(result.Status, result.Reason);

    private static VolumeFacts Facts(VolumeResource volume)
    {
        var isId = VolumeId.TryParse(volume.Id, out var id);
        Invariant.That(isId, "a volume's id is not one");
        var labels = volume.Labels.ToImmutableSortedDictionary(StringComparer.Ordinal);
        var inSync = volume.Replicas.Count(replica => replica.State == "in-sync");
        return new VolumeFacts(
            id, new VolumeName(volume.Namespace, volume.Name).ToString(), volume.SizeBytes, labels, volume.Attachment.Node, volume.Attachment.Generation,
            VolumeLabels.Read(labels).Policy?.HoldMs ?? Limits.HoldMsDefault, volume.State == "healthy",
            volume.State == "healthy" ? $"The volume is healthy: {inSync} of {volume.ReplicaCount} copies are in sync."
                : $"The volume is {volume.State}{(volume.Reason.Length > 0 ? $": {volume.Reason}" : ".")}",
            volume.Revision, volume.State == "deleting");
    }

    private static CsiError Error(ControlStatus status, string reason) => new(
        status switch
        {
            ControlStatus.Invalid => StatusCode.InvalidArgument,
            ControlStatus.NotFound => StatusCode.NotFound,
            ControlStatus.Conflict or ControlStatus.Impossible => StatusCode.FailedPrecondition,
            ControlStatus.Stale => StatusCode.Aborted,
            ControlStatus.TimedOut => StatusCode.DeadlineExceeded,
            _ => StatusCode.Unavailable,
        },
        reason);
}
