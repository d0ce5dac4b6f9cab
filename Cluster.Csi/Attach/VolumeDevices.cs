using Cluster.Messages.Model;

namespace Cluster.Csi.Attach;

/// <summary>How a volume is wanted on this host.</summary>
/// <param name="MountPath">Null: only a device.</param>
/// <param name="FileSystem">Of the mount; made if the volume is blank.</param>
public sealed record DeviceWish(string? MountPath = null, FileSystemKind FileSystem = FileSystemKind.Ext4, bool ReadOnly = false)
{
    /// <summary>As for mount -o.</summary>
    public IReadOnlyList<string> MountOptions { get; init; } = [];

    /// <summary>For mkfs, if it is made.</summary>
    public IReadOnlyList<string> FormatOptions { get; init; } = [];
}

/// <summary>A device of this host and where it is mounted.</summary>
public sealed record DeviceView(AttachedDevice Device, IReadOnlyList<MountEntry> Mounts);

/// <summary>
/// Volumes as devices and mounts of this host, from the attachment to the mount. Order: attachment (fences everybody else), device, file
/// system, mount; and back in the reverse order, so that nothing is ever cut off from below. Every call is idempotent, and finishes what one before it
/// left half done.
/// </summary>
public sealed class VolumeDevices(IHostVolumes volumes, IAttacher attacher, IMounter mounter)
{
    private readonly KeyedLocks<VolumeId> _locks = new();

    public IAttacher Attacher => attacher;

    public IMounter Mounter => mounter;

    /// <summary>
    /// Attaches the volume here. What is there already stays as it is; a volume that has grown meanwhile shows its new size, and a mounted file
    /// system is grown with it.
    /// </summary>
    public async Task<AttachResult<DeviceView>> AttachAsync(string fullName, DeviceWish wish, CancellationToken cancellation)
    {
        // Before anybody is fenced for nothing.
        var supported = attacher.Supported();
        if (!supported.IsOk) return supported.To<DeviceView>();
        var known = await volumes.GetAsync(fullName, cancellation).ConfigureAwait(false);
        if (!known.IsOk) return known.To<DeviceView>();
        using var held = await _locks.EnterAsync(known.Value!.Id, cancellation).ConfigureAwait(false);
        var stale = await RemoveStaleAsync(known.Value, cancellation).ConfigureAwait(false);
        if (!stale.IsOk) return stale.To<DeviceView>();
        var attached = await volumes.AttachAsync(fullName, cancellation).ConfigureAwait(false);
        if (!attached.IsOk) return attached.To<DeviceView>();
        var volume = attached.Value!;
        var target = new AttachTarget(new DeviceIdentity(volume.Id, volume.Generation), volume.FullName, volume.SizeBytes, volume.HoldMs, wish.ReadOnly);
        var made = await attacher.AttachAsync(target, cancellation).ConfigureAwait(false);
        if (made.IsOk && made.Value!.SizeBytes < volume.SizeBytes) made = await attacher.ResizeAsync(volume.Id, volume.SizeBytes, cancellation).ConfigureAwait(false);
        if (!made.IsOk) return made.To<DeviceView>();
        if (made.Value!.ReadOnly != wish.ReadOnly)
            return AttachResult<DeviceView>.Error(AttachStatus.Conflict, $"{made.Value.Path} is attached {(wish.ReadOnly ? "for writing" : "read-only")}; detach it first");
        return wish.MountPath is null ? View(made.Value) : await MountAsync(made.Value, wish, cancellation).ConfigureAwait(false);
    }

    /// <summary>
    /// Takes away mounts, device and attachment. InUse while files are open there, unless forced: then their I/O fails. A volume that is attached to another node by
    /// now, or deleted, leaves only what is here.
    /// </summary>
    public async Task<AttachResult<Done>> DetachAsync(string fullName, bool force, CancellationToken cancellation)
    {
        var known = await volumes.GetAsync(fullName, cancellation).ConfigureAwait(false);
        if (!known.IsOk && known.Status != AttachStatus.NotFound) return known.To<Done>();
        var there = await attacher.ListAsync(cancellation).ConfigureAwait(false);
        if (!there.IsOk) return there.To<Done>();
        var ids = there.Value!.Where(device => device.FullName == fullName).Select(device => device.Identity.Volume).ToHashSet();
        if (known.IsOk) ids.Add(known.Value!.Id);
        if (ids.Count == 0) return known.To<Done>();
        foreach (var id in ids)
        {
            using var held = await _locks.EnterAsync(id, cancellation).ConfigureAwait(false);
            foreach (var device in there.Value!.Where(device => device.Identity.Volume == id && device.IsServed))
            {
                var unmounted = await UnmountAsync(device, force, cancellation).ConfigureAwait(false);
                if (!unmounted.IsOk) return unmounted;
            }
            var detached = await attacher.DetachAsync(id, force, cancellation).ConfigureAwait(false);
            if (!detached.IsOk) return detached;
        }
        return known.IsOk ? await volumes.DetachAsync(fullName, cancellation).ConfigureAwait(false) : Done.Ok;
    }

    /// <summary>Takes away one mount; the device stays.</summary>
    public Task<AttachResult<Done>> UnmountAsync(string path, bool force, CancellationToken cancellation) => mounter.UnmountAsync(path, force, cancellation);

    public async Task<AttachResult<IReadOnlyList<DeviceView>>> ListAsync(CancellationToken cancellation)
    {
        var devices = await attacher.ListAsync(cancellation).ConfigureAwait(false);
        return devices.IsOk ? new(AttachStatus.Ok, [.. devices.Value!.Select(View)], "") : devices.To<IReadOnlyList<DeviceView>>();
    }

    /// <summary>A device of an attachment that has ended is of no use, and must be out of the way before anybody is fenced for the new one.</summary>
    private async Task<AttachResult<Done>> RemoveStaleAsync(HostVolume volume, CancellationToken cancellation)
    {
        var local = await attacher.FindAsync(volume.Id, cancellation).ConfigureAwait(false);
        if (!local.IsOk) return local.Status == AttachStatus.NotFound ? Done.Ok : local.To<Done>();
        if (volume.AttachedNode == volumes.NodeName && local.Value!.Identity.Generation == volume.Generation) return Done.Ok;
        var unmounted = local.Value!.IsServed ? await UnmountAsync(local.Value, force: false, cancellation).ConfigureAwait(false) : Done.Ok;
        if (!unmounted.IsOk) return AttachResult<Done>.Error(unmounted.Status, $"{unmounted.Reason}; it is of an attachment that has ended: end what uses it, and try again");
        return await attacher.DetachAsync(volume.Id, force: false, cancellation).ConfigureAwait(false);
    }

    private DeviceView View(AttachedDevice device) => new(device, mounter.MountsOf(device.Path).Value ?? []);

    private async Task<AttachResult<DeviceView>> MountAsync(AttachedDevice device, DeviceWish wish, CancellationToken cancellation)
    {
        var formatted = await mounter.FormatAsync(device, wish.FileSystem, wish.FormatOptions, cancellation).ConfigureAwait(false);
        if (!formatted.IsOk) return formatted.To<DeviceView>();
        // While it is mounted ext4 grows only with a privilege of the kernel's (CAP_SYS_RESOURCE).
        var room = wish.ReadOnly ? Done.Ok : await mounter.GrowUnmountedAsync(device, wish.FileSystem, cancellation).ConfigureAwait(false);
        if (!room.IsOk) return room.To<DeviceView>();
        var request = new MountRequest(device, wish.MountPath!, wish.FileSystem, wish.MountOptions, wish.ReadOnly);
        var mounted = await mounter.MountAsync(request, cancellation).ConfigureAwait(false);
        if (!mounted.IsOk) return mounted.To<DeviceView>();
        if (wish.ReadOnly) return View(device);
        var grown = await mounter.GrowAsync(mounted.Value!, cancellation).ConfigureAwait(false);
        return grown.IsOk ? View(device) : grown.To<DeviceView>();
    }

    private async Task<AttachResult<Done>> UnmountAsync(AttachedDevice device, bool force, CancellationToken cancellation)
    {
        var mounts = mounter.MountsOf(device.Path);
        if (!mounts.IsOk) return mounts.To<Done>();
        foreach (var mount in mounts.Value!.Reverse())
        {
            var unmounted = await mounter.UnmountAsync(mount.Path, force, cancellation).ConfigureAwait(false);
            if (!unmounted.IsOk) return unmounted;
        }
        return Done.Ok;
    }
}
