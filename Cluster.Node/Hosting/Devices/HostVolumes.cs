using Cluster.Csi.Attach;
using Cluster.Csi.Csi;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Api;
using Cluster.Node.Hosting.FrontEnds;
using Cluster.Node.Placement;

namespace Cluster.Node.Hosting.Devices;

/// <summary>The cluster as devices of this host see it: the control plane for changes, the front ends' look-up for what I/O needs.</summary>
internal sealed class HostVolumes(IControlPlane control, IOwnerGateway gateway) : IHostVolumes
{
    public string NodeName => gateway.NodeName;

    public IReadOnlyCollection<string> KnownLabels { get; } = [.. VolumeLabels.Honoured];

    public async Task<AttachResult<HostVolume>> GetAsync(string fullName, CancellationToken cancellation)
    {
        if (!VolumeName.TryParse(fullName, out var name, out var reason)) return AttachResult<HostVolume>.Error(AttachStatus.Invalid, reason);
        return await DescribeAsync(await control.GetVolumeAsync(name, cancellation), cancellation);
    }

    public async Task<AttachResult<IReadOnlyList<HostVolume>>> ListAsync(CancellationToken cancellation)
    {
        var list = await control.ListVolumesAsync(VolumeSpec.DefaultNamespace, cancellation);
        if (!list.IsOk) return AttachResult<IReadOnlyList<HostVolume>>.Error(StatusOf(list.Status), list.Reason);
        return new(AttachStatus.Ok, [.. list.Value!.Where(volume => volume.State != "deleting").Select(volume => Of(volume, 0))], "");
    }

    public async Task<AttachResult<HostVolume>> CreateAsync(
        string fullName, ulong sizeBytes, IReadOnlyDictionary<string, string> labels, CancellationToken cancellation)
    {
        if (!VolumeName.TryParse(fullName, out var name, out var reason)) return AttachResult<HostVolume>.Error(AttachStatus.Invalid, reason);
        var request = new CreateVolumeRequest
        {
            Name = name.Name,
            Namespace = name.Namespace,
            SizeBytes = sizeBytes,
            Labels = new Dictionary<string, string>(labels, StringComparer.Ordinal),
        };
        if (RequestChecks.Check(request) is { } refusal) return AttachResult<HostVolume>.Error(StatusOf(refusal.Status), refusal.Reason);
        return await DescribeAsync(await control.CreateVolumeAsync(request, cancellation), cancellation);
    }

    public async Task<AttachResult<Done>> DeleteAsync(string fullName, CancellationToken cancellation)
    {
        if (!VolumeName.TryParse(fullName, out var name, out var reason)) return AttachResult<Done>.Error(AttachStatus.Invalid, reason);
        var deleted = await control.DeleteVolumeAsync(name, null, false, cancellation);
        return deleted.IsOk ? Done.Ok : AttachResult<Done>.Error(StatusOf(deleted.Status), deleted.Reason);
    }

    public async Task<AttachResult<HostVolume>> AttachAsync(string fullName, CancellationToken cancellation)
    {
        if (!VolumeName.TryParse(fullName, out var name, out var reason)) return AttachResult<HostVolume>.Error(AttachStatus.Invalid, reason);
        return await DescribeAsync(await control.AttachAsync(name, NodeName, null, cancellation), cancellation);
    }

    public async Task<AttachResult<Done>> DetachAsync(string fullName, CancellationToken cancellation)
    {
        if (!VolumeName.TryParse(fullName, out var name, out var reason)) return AttachResult<Done>.Error(AttachStatus.Invalid, reason);
        var now = await control.GetVolumeAsync(name, cancellation);
        if (!now.IsOk) return AttachResult<Done>.Error(StatusOf(now.Status), now.Reason);
        if (now.Value!.Attachment.Node != NodeName) return Done.Ok;
        // With the revision: another node that takes the volume between the two keeps it.
        var detached = await control.DetachAsync(name, now.Value.Revision, cancellation);
        return detached.IsOk ? Done.Ok : AttachResult<Done>.Error(StatusOf(detached.Status), detached.Reason);
    }

    public async Task<AttachResult<bool>> IsUsedOnAsync(string node, HostVolume volume, CancellationToken cancellation)
    {
        var found = await control.GetNodeAsync(node, cancellation);
        if (found.Status == ControlStatus.NotFound) return false;
        if (!found.IsOk) return AttachResult<bool>.Error(StatusOf(found.Status), found.Reason);
        if (found.Value is { State: NodeBoard.UnknownState, Api: null })
            return AttachResult<bool>.Error(AttachStatus.TimedOut, $"The placement service does not answer: whether node {node} is up is unknown. Try again.");
        if (found.Value!.State is not ("up" or NodeBoard.UnknownState) || found.Value.Api is not { } api) return false;
        return await OpenVolumeProbe.IsOpenAsync(api, volume.FullName, volume.Generation, outsideCsi: false, cancellation);
    }

    internal static AttachStatus StatusOf(ControlStatus status) => status switch
    {
        ControlStatus.Invalid => AttachStatus.Invalid,
        ControlStatus.NotFound => AttachStatus.NotFound,
        ControlStatus.Conflict or ControlStatus.Impossible or ControlStatus.Stale => AttachStatus.Conflict,
        ControlStatus.TimedOut => AttachStatus.TimedOut,
        _ => AttachStatus.Unavailable,
    };

    /// <summary>Only its owner knows the generation for sure, and the look-up asks it.</summary>
    private async Task<AttachResult<HostVolume>> DescribeAsync(ControlResult<VolumeResource> result, CancellationToken cancellation)
    {
        if (!result.IsOk) return AttachResult<HostVolume>.Error(StatusOf(result.Status), result.Reason);
        var lookup = await gateway.LookupAsync(new VolumeName(result.Value!.Namespace, result.Value.Name).ToString(), cancellation);
        if (lookup.Volume is not { } info)
            return AttachResult<HostVolume>.Error(lookup.Status == IoStatus.Missing ? AttachStatus.NotFound : AttachStatus.Unavailable, lookup.Reason);
        var attached = info.Attachment.Mode == AttachmentMode.Exclusive ? info.Attachment.NodeName : null;
        return new HostVolume(info.Id, info.FullName, info.SizeBytes, result.Value.Labels, attached, info.Attachment.Generation, info.HoldMs)
        {
            Publications = HostPublications.Of(result.Value.Labels, attached, info.Attachment.Generation),
        };
    }

    private static HostVolume Of(VolumeResource volume, int holdMs)
    {
        Invariant.That(VolumeId.TryParse(volume.Id, out var id), "a volume of the control plane has an id");
        return new HostVolume(id, new VolumeName(volume.Namespace, volume.Name).ToString(), volume.SizeBytes, volume.Labels, volume.Attachment.Node,
            volume.Attachment.Generation, holdMs);
    }
}
