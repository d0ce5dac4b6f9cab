using Cluster.Csi.Attach;
using Cluster.Csi.Csi.V1;

namespace Cluster.Csi.Csi;

/// <summary>NodePublishVolume and NodeUnpublishVolume: what is staged is shown at a workload's path too.</summary>
internal sealed class NodePublishing(IVolumeControl control, HostDevices host)
{
    private readonly NodeVolumes _volumes = new(host);

    public async Task<CsiResult<NodePublishVolumeResponse>> PublishAsync(NodePublishVolumeRequest request, CancellationToken cancellation)
    {
        if ((CsiFields.Path(request.TargetPath, "target_path") ?? CsiFields.Map(request.Secrets, "secrets")
            ?? CsiFields.Map(request.PublishContext, "publish_context") ?? CsiFields.Map(request.VolumeContext, "volume_context")) is { } wrong) return wrong;
        var read = Capabilities.Read(request.VolumeCapability, request.Readonly || request.PublishContext.GetValueOrDefault(VolumePublication.ReadOnlyKey) == "true");
        if (read.Error is { } unsupported) return unsupported;
        if (request.StagingTargetPath.Length == 0) return CsiError.Precondition("The field staging_target_path is missing: the volume must be staged first.");
        if (CsiFields.Path(request.StagingTargetPath, "staging_target_path") is { } noPath) return noPath;
        var known = await control.FindAsync(request.VolumeId, cancellation).ConfigureAwait(false);
        if (known.Error is { } missing) return missing;
        var found = await _volumes.FindAsync(request.VolumeId, known.Value!.Id, cancellation).ConfigureAwait(false);
        if (found.Error is { } error) return error.Code == Grpc.Core.StatusCode.NotFound ? CsiError.Precondition(error.Message) : error;
        var (volume, access, staging) = (found.Value!, read.Value!, NodeVolumes.Real(request.StagingTargetPath));
        if (volume.CutOff(known.Value, control.NodeName) is { } cutOff)
            return CsiError.Precondition($"{cutOff}; unpublish it everywhere on this node and unstage it, then publish and stage it anew.");
        var readOnly = access.ReadOnly || access.MountFlags.Contains("ro");
        if (!access.IsBlock && volume.Mounts.All(mount => mount.Path != staging))
            return CsiError.Precondition($"Volume {request.VolumeId} is not staged at {staging}; stage it there first.");
        if (!access.IsBlock && FileSystemHealth.Trouble(volume.Mounts) is { Length: > 0 } trouble)
            return CsiError.Precondition($"The file system of volume {request.VolumeId} at {staging} has {trouble}; unpublish it everywhere on this node and stage it anew.");
        if (access.IsBlock && readOnly && !volume.Device.ReadOnly)
            return CsiError.Precondition($"Volume {request.VolumeId} is published to this node for writing; a raw device is read-only only if it is published so.");
        var target = NodeVolumes.Real(request.TargetPath);
        if (Clash(volume, access, readOnly, staging, target) is { } clash) return clash;
        var bound = await host.Mounter.BindAsync(access.IsBlock ? volume.Device.Path : staging, target, readOnly && !access.IsBlock, cancellation)
            .ConfigureAwait(false);
        return bound.IsOk ? new NodePublishVolumeResponse() : AttachErrors.Of(bound);
    }

    /// <summary>Needs nothing of the cluster: what is at the path is taken away, and then the path.</summary>
    public async Task<CsiResult<NodeUnpublishVolumeResponse>> UnpublishAsync(NodeUnpublishVolumeRequest request, CancellationToken cancellation)
    {
        if (CsiFields.Path(request.TargetPath, "target_path") is { } wrong) return wrong;
        var target = NodeVolumes.Real(request.TargetPath);
        var devices = await host.Attacher.ListAsync(cancellation).ConfigureAwait(false);
        if (!devices.IsOk) return AttachErrors.Of(devices);
        var at = host.Mounter.MountedAt(target);
        if (at.IsOk && devices.Value!.FirstOrDefault(device => device.Path == at.Value!.Source) is { FullName.Length: > 0 } device && device.FullName != request.VolumeId)
            return new NodeUnpublishVolumeResponse();
        // One whose device is dead never lets go by itself.
        var isDead = at.IsOk && devices.Value!.Any(device => device.Path == at.Value!.Source && !device.IsServed);
        if (at.IsOk && !NodeVolumes.IsOfDevice(at.Value!)) return new NodeUnpublishVolumeResponse();
        var unmounted = await host.Mounter.UnmountAsync(target, isDead, cancellation).ConfigureAwait(false);
        if (!unmounted.IsOk) return AttachErrors.Of(unmounted);
        return Remove(target) is { } left ? left : new NodeUnpublishVolumeResponse();
    }

    /// <summary>The specification's table for a second publication on one node; null: there is no objection.</summary>
    private static CsiError? Clash(NodeVolume volume, Access access, bool readOnly, string staging, string target)
    {
        if (volume.At(target) is { } there)
        {
            var isBlock = volume.Binds.Contains(there);
            if (isBlock != access.IsBlock || (!isBlock && there.IsReadOnly != readOnly))
                return CsiError.Exists($"Volume {volume.Device.FullName} is published at {target} in another way; unpublish it there first.");
            return null;
        }
        if (Capabilities.AllowsSeveralPaths(access.Mode)) return null;
        return volume.All.FirstOrDefault(mount => mount.Path != staging) is { } other
            ? CsiError.Precondition($"Volume {volume.Device.FullName} is mounted at {other.Path} already, and the access mode {access.Mode} allows one place.")
            : null;
    }

    private static CsiError? Remove(string path)
    {
        try
        {
            if (Directory.Exists(path)) Directory.Delete(path);
            else if (new FileInfo(path) is { Exists: true, Length: 0 }) File.Delete(path);
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return new CsiError(Grpc.Core.StatusCode.Internal, $"The path {path} can't be removed: {e.Message}");
        }
    }
}
