using System.Globalization;
using Cluster.Csi.Attach;
using Cluster.Csi.Csi.V1;
using Grpc.Core;

namespace Cluster.Csi.Csi;

/// <summary>
/// NodeStageVolume and NodeUnstageVolume: a volume becomes a device of this host and, unless it is wanted raw, a file system at the staging path. Order: device,
/// file system, mount; and back in reverse. Killed at any point, either call goes on from what is there.
/// </summary>
internal sealed class NodeStaging(IVolumeControl control, HostDevices host)
{
    private readonly NodeVolumes _volumes = new(host);

    public async Task<CsiResult<NodeStageVolumeResponse>> StageAsync(NodeStageVolumeRequest request, CancellationToken cancellation)
    {
        if ((CsiFields.Path(request.StagingTargetPath, "staging_target_path") ?? CsiFields.Map(request.Secrets, "secrets")
            ?? CsiFields.Map(request.PublishContext, "publish_context") ?? CsiFields.Map(request.VolumeContext, "volume_context")) is { } wrong) return wrong;
        var read = Capabilities.Read(request.VolumeCapability, IsTrue(request, VolumePublication.ReadOnlyKey));
        if (read.Error is { } unsupported) return unsupported;
        var found = await control.FindAsync(request.VolumeId, cancellation).ConfigureAwait(false);
        if (found.Error is { } missing) return missing;
        if (!ulong.TryParse(request.PublishContext.GetValueOrDefault(VolumePublication.GenerationKey), NumberStyles.None, CultureInfo.InvariantCulture,
            out var generation))
            return CsiError.Invalid("The field publish_context is not one that ControllerPublishVolume answered: it has no generation.");
        var (volume, access) = (found.Value!, read.Value!);
        if (volume.Generation != generation || volume.AttachedNode is { } node && node != control.NodeName)
            return CsiError.Precondition($"Volume {volume.FullName} was published anew or elsewhere since this publish_context was answered; publish it to this node again.");
        var target = new AttachTarget(
            new DeviceIdentity(volume.Id, generation), volume.FullName, volume.SizeBytes, volume.HoldMs, access.ReadOnly);
        using var held = await host.Locks.EnterAsync(volume.Id, cancellation).ConfigureAwait(false);
        var attached = await AttachAsync(target, cancellation).ConfigureAwait(false);
        if (attached.Error is { } refused) return refused;
        if (access.IsBlock)
        {
            var mounts = host.Mounter.MountsOf(attached.Value!.Path);
            if (!mounts.IsOk) return AttachErrors.Of(mounts);
            return mounts.Value!.Count == 0 ? new NodeStageVolumeResponse()
                : CsiError.Exists($"Volume {volume.FullName} is mounted as a file system at {mounts.Value[0].Path}; unstage or unmount it there first.");
        }
        var mounted = await MountAsync(attached.Value!, request, access, cancellation).ConfigureAwait(false);
        if (mounted.IsOk) return new NodeStageVolumeResponse();
        return await GiveUpAsync(attached.Value!, mounted, cancellation).ConfigureAwait(false) ?? AttachErrors.Of(mounted);
    }

    /// <summary>
    /// Takes away a device that nobody has, where the call has failed for good: an orchestrator unstages only what it was told that it may be staged. One whose content somebody has to decide about stays, and
    /// is named to him; so does what the same call, made again, goes on with.
    /// </summary>
    /// <returns>What went wrong with that; null: nothing.</returns>
    private async Task<CsiError?> GiveUpAsync<T>(AttachedDevice device, AttachResult<T> failed, CancellationToken cancellation)
    {
        if (failed.Status is AttachStatus.Damaged or AttachStatus.NotBlank or AttachStatus.Running or AttachStatus.TimedOut or AttachStatus.Unavailable) return null;
        if (host.Users.IsHeld(device.Identity)) return null;
        var volume = _volumes.Of(device);
        if (volume.Error is not null || volume.Value!.All.Any()) return null;
        var detached = await host.Attacher.DetachAsync(device.Identity.Volume, force: false, cancellation).ConfigureAwait(false);
        if (detached.IsOk) detached = host.Staged.Delete(device.FullName);
        return detached.IsOk || detached.Status == AttachStatus.InUse ? null : AttachErrors.Of(AttachResult<T>.Error(failed.Status, $"{failed.Reason} (and what was made of it is left: {detached.Reason})"));
    }

    public async Task<CsiResult<NodeUnstageVolumeResponse>> UnstageAsync(NodeUnstageVolumeRequest request, CancellationToken cancellation)
    {
        if (CsiFields.Path(request.StagingTargetPath, "staging_target_path") is { } wrong) return wrong;
        var path = NodeVolumes.Real(request.StagingTargetPath);
        var devices = await OursAsync(request.VolumeId, path, cancellation).ConfigureAwait(false);
        if (devices.Error is { } error) return error;
        foreach (var id in devices.Value!.Select(device => device.Identity.Volume).Distinct())
        {
            using var held = await host.Locks.EnterAsync(id, cancellation).ConfigureAwait(false);
            // Somebody who had the lock may have come or gone.
            devices = await OursAsync(request.VolumeId, path, cancellation).ConfigureAwait(false);
            if (devices.Error is { } changed) return changed;
            if (await UnstageAsync(request.VolumeId, path, [.. devices.Value!.Where(device => device.Identity.Volume == id)], cancellation).ConfigureAwait(false) is { } failed) return failed;
        }
        var forgotten = host.Staged.Delete(request.VolumeId);
        if (!forgotten.IsOk) return AttachErrors.Of(forgotten);
        // One that was cut off half-way shows no device, and would keep its session to the volume open for ever.
        var parts = await host.Attacher.DetachPartsAsync(request.VolumeId, cancellation).ConfigureAwait(false);
        return parts.IsOk ? new NodeUnstageVolumeResponse() : AttachErrors.Of(parts);
    }

    /// <summary>The mount, and the devices unless an operator or Docker has one: it goes with them then. The volume's lock is held.</summary>
    /// <param name="devices">All that the volume has here.</param>
    private async Task<CsiError?> UnstageAsync(string fullName, string path, IReadOnlyList<AttachedDevice> devices, CancellationToken cancellation)
    {
        foreach (var device in devices)
        {
            var volume = _volumes.Of(device);
            if (volume.Error is { } hidden) return hidden;
            if (volume.Value!.All.FirstOrDefault(mount => mount.Path != path && host.Users.Of(device.Identity, mount) == DeviceUser.Other) is { } other)
                return CsiError.Precondition($"Volume {fullName} is still mounted at {other.Path}; unpublish or unmount it there first.");
            var unmounted = await host.Mounter.UnmountAsync(path, force: !device.IsServed, cancellation).ConfigureAwait(false);
            if (!unmounted.IsOk) return AttachErrors.Of(unmounted);
        }
        var (isOthers, unseen) = LookForOthers(devices);
        if (unseen is not null || isOthers || devices.Count == 0) return unseen;
        var detached = await host.Attacher.DetachAsync(devices[0].Identity.Volume, force: false, cancellation).ConfigureAwait(false);
        return detached.IsOk ? null : AttachErrors.Of(detached);
    }

    /// <summary>Whether an operator or Docker has one of a volume's devices that works.</summary>
    private (bool Found, CsiError? Error) LookForOthers(IEnumerable<AttachedDevice> devices)
    {
        foreach (var device in devices.Where(device => device.IsServed))
        {
            if (host.Users.IsHeld(device.Identity)) return (true, null);
            var volume = _volumes.Of(device);
            if (volume.Error is { } unseen) return (false, unseen);
            if (volume.Value!.All.Any()) return (true, null);
        }
        return (false, null);
    }

    /// <summary>
    /// The volume's devices here: by its name, or by what is mounted at the path, so that neither the cluster nor anything remembered is needed. The id is asked for only
    /// where a device has lost its name.
    /// </summary>
    private async Task<CsiResult<IReadOnlyList<AttachedDevice>>> OursAsync(string fullName, string path, CancellationToken cancellation)
    {
        var list = await host.Attacher.ListAsync(cancellation).ConfigureAwait(false);
        if (!list.IsOk) return AttachErrors.Of(list);
        var named = list.Value!.Where(device => device.FullName == fullName).Select(device => device.Identity.Volume).ToHashSet();
        if (list.Value!.Any(device => device.FullName.Length == 0))
        {
            var known = await control.FindAsync(fullName, cancellation).ConfigureAwait(false);
            if (known.Value is { } volume) named.Add(volume.Id);
            else if (known.Error!.Code != StatusCode.NotFound) return known.Error;
        }
        var at = host.Mounter.MountedAt(path);
        if (at.IsOk && list.Value!.FirstOrDefault(device => device.Path == at.Value!.Source) is { } there && there.FullName != fullName
            && !named.Contains(there.Identity.Volume))
        {
            // The orchestrator has one staging path per volume: what another volume has there is left alone.
            return Array.Empty<AttachedDevice>();
        }
        return list.Value!.Where(device => named.Contains(device.Identity.Volume)).ToArray();
    }

    private async Task<CsiResult<AttachedDevice>> AttachAsync(AttachTarget target, CancellationToken cancellation)
    {
        var supported = host.Attacher.Supported();
        if (!supported.IsOk) return AttachErrors.Of(supported);
        var devices = await _volumes.DevicesAsync(target.FullName, target.Identity.Volume, cancellation).ConfigureAwait(false);
        if (devices.Error is { } error) return error;
        if (await MakeRoomAsync(target, devices.Value!, cancellation).ConfigureAwait(false) is { } full) return full;
        var attached = await host.Attacher.AttachAsync(target, cancellation).ConfigureAwait(false);
        if (!attached.IsOk) return AttachErrors.Of(attached);
        var device = attached.Value!;
        if (device.ReadOnly != target.ReadOnly)
            return CsiError.Exists($"Volume {target.FullName} is staged {(device.ReadOnly ? "read-only" : "for writing")} on this node; unstage it first.");
        if (device.SizeBytes >= target.SizeBytes) return device;
        var resized = await host.Attacher.ResizeAsync(device.Identity.Volume, target.SizeBytes, cancellation).ConfigureAwait(false);
        return resized.IsOk ? resized.Value! : AttachErrors.Of(resized);
    }

    /// <summary>
    /// Takes away what this host has of an older generation, in use or not: the volume was elsewhere since, so everything there fails, and nothing that is written
    /// there can ever arrive. A pod that waits for it would wait for ever.
    /// </summary>
    private async Task<CsiError?> MakeRoomAsync(AttachTarget target, IReadOnlyList<AttachedDevice> devices, CancellationToken cancellation)
    {
        var old = devices.Where(device => device.Identity.Generation < target.Identity.Generation || !device.IsServed).ToArray();
        if (devices.Any(device => device.Identity == target.Identity && device.IsServed) || old.Length < devices.Count) return null;
        foreach (var device in old)
        {
            var volume = _volumes.Of(device);
            if (volume.Error is { } unseen) return unseen;
            foreach (var mount in volume.Value!.All.Reverse())
            {
                var unmounted = await host.Mounter.UnmountAsync(mount.Path, force: true, cancellation).ConfigureAwait(false);
                if (!unmounted.IsOk) return AttachErrors.Of(unmounted);
            }
        }
        if (old.Length > 0)
        {
            var detached = await host.Attacher.DetachAsync(target.Identity.Volume, force: true, cancellation).ConfigureAwait(false);
            if (!detached.IsOk) return AttachErrors.Of(detached);
            var released = host.Users.Release(target.Identity.Volume);
            if (!released.IsOk) return AttachErrors.Of(released);
        }
        var all = await host.Attacher.ListAsync(cancellation).ConfigureAwait(false);
        if (!all.IsOk) return AttachErrors.Of(all);
        return all.Value!.Count < CsiLimits.VolumesPerNodeMax ? null
            : CsiError.Exhausted($"This node has {all.Value.Count} volumes attached, the most that it may have; unstage one first.");
    }

    private async Task<AttachResult<Done>> MountAsync(AttachedDevice device, NodeStageVolumeRequest request, Access access, CancellationToken cancellation)
    {
        var path = NodeVolumes.Real(request.StagingTargetPath);
        var mounts = host.Mounter.MountsOf(device.Path);
        if (!mounts.IsOk) return mounts.To<Done>();
        var binds = host.Mounter.BindsOf(device.Path);
        if (!binds.IsOk) return binds.To<Done>();
        var isStaged = mounts.Value!.Any(mount => mount.Path == path);
        // Of two staging paths neither could be told from a workload's, and none be taken away while the other is there. One that was unmounted by hand is made again: a kubelet that starts anew stages what its pods have.
        if (!isStaged && mounts.Value!.Concat(binds.Value!).FirstOrDefault(mount => host.Users.Of(device.Identity, mount) == DeviceUser.Other) is { } other
            && (!host.Staged.IsAt(device.Identity, path) || FileSystemHealth.Trouble(mounts.Value!).Length > 0))
            return AttachResult<Done>.Error(AttachStatus.InUse,
                $"Volume {request.VolumeId} is mounted at {other.Path} already, and is staged at one path of a node; unstage, unpublish or unmount it there first.");
        _ = FileSystems.TryParse(request.VolumeCapability.Mount.FsType, out var asked);
        var chosen = await FileSystems.ChooseAsync(host.Mounter, device, asked, cancellation).ConfigureAwait(false);
        if (!chosen.IsOk) return chosen.To<Done>();
        var kind = chosen.Value;
        var formatted = await host.Mounter.FormatAsync(device, kind, [], cancellation).ConfigureAwait(false);
        // A path that shows another file system of this volume: the request contradicts what it was staged as.
        if (formatted.Status == AttachStatus.NotBlank && host.Mounter.MountedAt(path) is { IsOk: true }) return AttachResult<Done>.Error(AttachStatus.Conflict, formatted.Reason);
        if (!formatted.IsOk) return formatted;
        var flags = access.MountFlags.Where(flag => flag is not ("ro" or "rw"));
        // Copies of a volume have its uuid, and xfs refuses to mount two of one uuid on one host otherwise.
        if (kind == FileSystemKind.Xfs) flags = flags.Append("nouuid");
        var readOnly = access.ReadOnly || access.MountFlags.Contains("ro");
        if (!device.ReadOnly)
        {
            var room = await host.Mounter.GrowUnmountedAsync(device, kind, cancellation).ConfigureAwait(false);
            if (!room.IsOk) return room;
        }
        var noted = host.Staged.Write(device.Identity, device.FullName, path);
        if (!noted.IsOk) return noted;
        var mounted = await host.Mounter.MountAsync(new MountRequest(device, path, kind, [.. flags], readOnly), cancellation).ConfigureAwait(false);
        if (!mounted.IsOk) return mounted.To<Done>();
        if (readOnly) return Done.Ok;
        var grown = await host.Mounter.GrowAsync(mounted.Value!, cancellation).ConfigureAwait(false);
        // What was staged before serves its workloads as it is; whoever wants it larger asks NodeExpandVolume, which tells what hinders that.
        return isStaged ? Done.Ok : grown;
    }

    private static bool IsTrue(NodeStageVolumeRequest request, string key) => request.PublishContext.GetValueOrDefault(key) == "true";
}
