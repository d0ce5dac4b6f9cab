using Cluster.Csi.Attach;
using Cluster.Csi.Csi.V1;
using Grpc.Core;

namespace Cluster.Csi.Csi;

/// <summary>NodeGetVolumeStats and NodeExpandVolume.</summary>
internal sealed class NodeUsage(IVolumeControl control, HostDevices host)
{
    private readonly NodeVolumes _volumes = new(host);

    public async Task<CsiResult<NodeGetVolumeStatsResponse>> StatsAsync(NodeGetVolumeStatsRequest request, CancellationToken cancellation)
    {
        if (request.VolumePath.Length == 0) return CsiError.Invalid("The field volume_path is missing.");
        var known = await control.FindAsync(request.VolumeId, cancellation).ConfigureAwait(false);
        if (known.Error is { Code: StatusCode.NotFound } missing) return missing;
        var found = await AtAsync(request.VolumeId, known.Value, request.VolumePath, request.StagingTargetPath, cancellation).ConfigureAwait(false);
        if (found.Error is { } error) return error;
        var (volume, mount) = (found.Value!.Volume, found.Value.Mount);
        var trouble = FileSystemHealth.Trouble(volume.Mounts);
        var response = new NodeGetVolumeStatsResponse { VolumeCondition = Condition(volume, trouble, known) };
        // Nor does one that has stopped tell how full it is.
        if (mount is null || volume.Binds.Contains(mount) || trouble.Length > 0)
        {
            response.Usage.Add(new VolumeUsage { Unit = VolumeUsage.Types.Unit.Bytes, Total = (long)volume.Device.SizeBytes });
            return response;
        }
        var stats = host.Mounter.Stats(mount.Path);
        if (!stats.IsOk) return AttachErrors.Of(stats);
        var s = stats.Value!;
        response.Usage.Add(Usage(VolumeUsage.Types.Unit.Bytes, s.TotalBytes, s.AvailableBytes, s.UsedBytes));
        response.Usage.Add(Usage(VolumeUsage.Types.Unit.Inodes, s.TotalInodes, s.AvailableInodes, s.UsedInodes));
        return response;
    }

    /// <summary>The device first, then the file system on it; both are grown in use.</summary>
    public async Task<CsiResult<NodeExpandVolumeResponse>> ExpandAsync(NodeExpandVolumeRequest request, CancellationToken cancellation)
    {
        if (request.VolumePath.Length == 0) return CsiError.Invalid("The field volume_path is missing.");
        if ((CapacityRanges.Check(request.CapacityRange) ?? CsiFields.Map(request.Secrets, "secrets")) is { } wrong) return wrong;
        if (request.VolumeCapability is { } capability && (Capabilities.Malformed(capability) ?? Capabilities.Unsupported(capability)) is { } unsupported)
            return unsupported;
        var known = await control.FindAsync(request.VolumeId, cancellation).ConfigureAwait(false);
        if (known.Error is { } missing) return missing;
        var found = await AtAsync(request.VolumeId, known.Value, request.VolumePath, request.StagingTargetPath, cancellation).ConfigureAwait(false);
        if (found.Error is { } error) return error;
        var sizeBytes = known.Value!.SizeBytes;
        if (request.CapacityRange is { } range && !CapacityRanges.Holds(range, sizeBytes))
            return CsiError.OutOfRange($"Volume {request.VolumeId} has {sizeBytes} bytes, which is not within the capacity_range; expand it by the controller first.");
        var (volume, mount) = (found.Value!.Volume, found.Value.Mount);
        if (volume.Device.SizeBytes < sizeBytes)
        {
            var resized = await host.Attacher.ResizeAsync(volume.Device.Identity.Volume, sizeBytes, cancellation).ConfigureAwait(false);
            if (!resized.IsOk) return AttachErrors.Of(resized);
        }
        // A read-only file system is grown when it is staged for writing.
        if (mount is not null && !volume.Binds.Contains(mount) && volume.Mounts.FirstOrDefault(entry => !entry.IsReadOnly) is { } writable)
        {
            var grown = await host.Mounter.GrowAsync(writable, cancellation).ConfigureAwait(false);
            if (!grown.IsOk) return AttachErrors.Of(grown);
        }
        return new NodeExpandVolumeResponse { CapacityBytes = (long)sizeBytes };
    }

    /// <param name="Mount">Null: staged as a raw device, which shows at no path.</param>
    private sealed record VolumeAt(NodeVolume Volume, MountEntry? Mount);

    private async Task<CsiResult<VolumeAt>> AtAsync(
        string fullName, VolumeFacts? known, string volumePath, string stagingPath, CancellationToken cancellation)
    {
        var found = await _volumes.FindAsync(fullName, known?.Id, cancellation).ConfigureAwait(false);
        if (found.Error is { } error) return error;
        var path = NodeVolumes.Real(volumePath);
        if (found.Value!.At(path) is { } mount) return new VolumeAt(found.Value, mount);
        return stagingPath.Length > 0 && NodeVolumes.Real(stagingPath) == path && found.Value.Mounts.Count == 0 && Directory.Exists(path)
            ? new VolumeAt(found.Value, null)
            : CsiError.NotFound($"Volume {fullName} is neither staged nor published at {volumePath}.");
    }

    private VolumeCondition Condition(NodeVolume here, string trouble, CsiResult<VolumeFacts> known)
    {
        var device = here.Device;
        // Before all that is said of the volume: that may be well again, and this stays.
        if (trouble.Length > 0) return new VolumeCondition { Abnormal = true, Message = $"The file system on {device.Path} has {trouble}: end the pods that use it on this node, and it is mounted anew for the next one." };
        if (!device.IsServed) return new VolumeCondition { Abnormal = true, Message = $"The device {device.Path} is dead: stage the volume anew." };
        if (known.Value is { } facts && here.CutOff(facts, control.NodeName) is { } cutOff)
            return new VolumeCondition { Abnormal = true, Message = $"{cutOff}: end the pods that use it on this node." };
        return known.Value is { } volume ? VolumeMessages.ConditionOf(volume)
            : new VolumeCondition { Abnormal = true, Message = $"The cluster can't be asked about the volume now: {known.Error!.Message}" };
    }

    private static VolumeUsage Usage(VolumeUsage.Types.Unit unit, ulong total, ulong available, ulong used) =>
        new() { Unit = unit, Total = Whole(total), Available = Whole(available), Used = Whole(used) };

    private static long Whole(ulong value) => (long)Math.Min(value, long.MaxValue);
}
