using Cluster.Messages.Model;

namespace Cluster.Csi.Attach;

/// <summary>How a volume is wanted on this host.</summary>
/// <param name="MountPath">Null: only a device.</param>
/// <param name="FileSystem">Of the mount; made if the volume is blank. Unset: the one that the volume has, ext4 if it is blank.</param>
public sealed record DeviceWish(string? MountPath = null, FileSystemKind FileSystem = FileSystemKind.Unset, bool ReadOnly = false)
{
    /// <summary>As for mount -o.</summary>
    public IReadOnlyList<string> MountOptions { get; init; } = [];

    /// <summary>For mkfs, if it is made.</summary>
    public IReadOnlyList<string> FormatOptions { get; init; } = [];

    /// <summary>Who wishes it: the operator's lasts until a detach, Docker keeps account of its own.</summary>
    public DeviceUser User { get; init; } = DeviceUser.Operator;
}

/// <summary>A device of this host and where it is mounted.</summary>
public sealed record DeviceView(AttachedDevice Device, IReadOnlyList<MountEntry> Mounts);

/// <summary>
/// Volumes as devices and mounts of this host, from the attachment to the mount. Order: attachment (fences everybody else), device, file
/// system, mount; and back in the reverse order, so that nothing is ever cut off from below. Every call is idempotent, and finishes what one before it
/// left half done.
/// </summary>
public sealed class VolumeDevices(IHostVolumes volumes, IAttacher attacher, IMounter mounter, DeviceUsers users)
{
    private readonly KeyedLocks<VolumeId> _locks = new();

    /// <summary>Who changes what a volume has on this host holds its lock, also outside of this class: between a look at who else has it and what is done on that, nobody may come or go.</summary>
    public KeyedLocks<VolumeId> Locks => _locks;

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
        // A detach that was waited for has changed it.
        known = await volumes.GetAsync(fullName, cancellation).ConfigureAwait(false);
        if (!known.IsOk) return known.To<DeviceView>();
        var stale = await RemoveStaleAsync(known.Value!, cancellation).ConfigureAwait(false);
        if (!stale.IsOk) return stale.To<DeviceView>();
        var attached = await volumes.AttachAsync(fullName, cancellation).ConfigureAwait(false);
        if (!attached.IsOk) return attached.To<DeviceView>();
        var volume = attached.Value!;
        var identity = new DeviceIdentity(volume.Id, volume.Generation);
        // First noted, then made: what a crash leaves is the operator's, and goes with a detach.
        var noted = wish.User == DeviceUser.Operator ? users.Hold(identity, volume.FullName, wish.MountPath) : Done.Ok;
        if (!noted.IsOk) return noted.To<DeviceView>();
        var target = new AttachTarget(identity, volume.FullName, volume.SizeBytes, volume.HoldMs, wish.ReadOnly);
        var made = await attacher.AttachAsync(target, cancellation).ConfigureAwait(false);
        if (made.IsOk && made.Value!.SizeBytes < volume.SizeBytes) made = await attacher.ResizeAsync(volume.Id, volume.SizeBytes, cancellation).ConfigureAwait(false);
        if (!made.IsOk) return made.To<DeviceView>();
        if (made.Value!.ReadOnly != wish.ReadOnly)
            return AttachResult<DeviceView>.Error(AttachStatus.Conflict, $"{made.Value.Path} is attached {(wish.ReadOnly ? "for writing" : "read-only")}; detach it first");
        return wish.MountPath is null ? View(made.Value) : await MountAsync(made.Value, wish, cancellation).ConfigureAwait(false);
    }

    /// <summary>
    /// Takes away mounts, device and attachment, for the operator. InUse while files are open there, or Docker or CSI has it on this host, unless forced: then their mounts go too, and their I/O
    /// fails. A volume that is attached to another node by now, or deleted, leaves only what is here, whoever's it was: nothing of it works any more.
    /// </summary>
    public async Task<AttachResult<Done>> DetachAsync(string fullName, bool force, CancellationToken cancellation)
    {
        var seen = await LookAsync(fullName, cancellation).ConfigureAwait(false);
        if (!seen.IsOk) return seen.To<Done>();
        var ids = IdsOf(seen.Value!, device => device.FullName == fullName);
        if (ids.Length == 0) return AttachResult<Done>.Error(AttachStatus.NotFound, seen.Value!.Missing);
        foreach (var id in ids)
        {
            using var held = await _locks.EnterAsync(id, cancellation).ConfigureAwait(false);
            // Somebody may have attached it since.
            seen = await LookAsync(fullName, cancellation).ConfigureAwait(false);
            if (!seen.IsOk) return seen.To<Done>();
            var (volume, devices, _) = seen.Value!;
            if (!force && volume is not null && Others(volume, devices) is { } others) return others;
            foreach (var device in devices.Where(device => device.Identity.Volume == id && device.IsServed))
            {
                var unmounted = await UnmountAsync(device, force, cancellation).ConfigureAwait(false);
                if (!unmounted.IsOk) return unmounted;
            }
            var detached = await attacher.DetachAsync(id, force, cancellation).ConfigureAwait(false);
            if (!detached.IsOk) return detached;
            var released = users.Release(id);
            if (!released.IsOk) return released;
            // Before anybody else has the volume: whoever attaches it next must not lose that to this detach.
            if (id == volume?.Id) return await volumes.DetachAsync(fullName, cancellation).ConfigureAwait(false);
        }
        return Done.Ok;
    }

    /// <summary>
    /// Takes away Docker's mount, and with it the device unless somebody else has that too, and the attachment if that is Docker's and the device is gone.
    /// </summary>
    /// <param name="ownsAttachment">It was made for Docker.</param>
    public async Task<AttachResult<Done>> LeaveAsync(string fullName, string path, bool ownsAttachment, CancellationToken cancellation)
    {
        var seen = await LookAsync(fullName, cancellation).ConfigureAwait(false);
        if (!seen.IsOk) return seen.To<Done>();
        var at = mounter.MountedAt(path);
        var ids = IdsOf(seen.Value!, device => device.FullName == fullName || (at.IsOk && device.Path == at.Value!.Source));
        // One whose device is dead never lets go by itself.
        var isDead = at.IsOk && seen.Value!.Devices.Any(device => device.Path == at.Value!.Source && !device.IsServed);
        var unmounted = await mounter.UnmountAsync(path, isDead, cancellation).ConfigureAwait(false);
        if (!unmounted.IsOk) return unmounted;
        var isLast = true;
        foreach (var id in ids)
        {
            using var held = await _locks.EnterAsync(id, cancellation).ConfigureAwait(false);
            seen = await LookAsync(fullName, cancellation).ConfigureAwait(false);
            if (!seen.IsOk) return seen.To<Done>();
            var (volume, devices, _) = seen.Value!;
            var used = IsUsed([.. devices.Where(device => device.Identity.Volume == id)], volume);
            if (!used.IsOk) return used.To<Done>();
            isLast &= !used.Value;
            var detached = used.Value ? Done.Ok : await attacher.DetachAsync(id, force: false, cancellation).ConfigureAwait(false);
            if (!detached.IsOk) return detached;
            // Before anybody else has the volume: an operator who attaches it next must not lose that to this unmount.
            if (isLast && ownsAttachment && id == volume?.Id) return await volumes.DetachAsync(fullName, cancellation).ConfigureAwait(false);
        }
        return Done.Ok;
    }

    /// <summary>Takes away one mount; the device stays.</summary>
    public Task<AttachResult<Done>> UnmountAsync(string path, bool force, CancellationToken cancellation) => mounter.UnmountAsync(path, force, cancellation);

    public async Task<AttachResult<IReadOnlyList<DeviceView>>> ListAsync(CancellationToken cancellation)
    {
        var devices = await attacher.ListAsync(cancellation).ConfigureAwait(false);
        return devices.IsOk ? new(AttachStatus.Ok, [.. devices.Value!.Select(View)], "") : devices.To<IReadOnlyList<DeviceView>>();
    }

    /// <param name="Volume">Null: there is none of that name, as <paramref name="Missing"/> says.</param>
    private sealed record Seen(HostVolume? Volume, IReadOnlyList<AttachedDevice> Devices, string Missing);

    /// <summary>What the volume and this host's devices are at this moment.</summary>
    private async Task<AttachResult<Seen>> LookAsync(string fullName, CancellationToken cancellation)
    {
        var volume = await volumes.GetAsync(fullName, cancellation).ConfigureAwait(false);
        if (!volume.IsOk && volume.Status != AttachStatus.NotFound) return volume.To<Seen>();
        var devices = await attacher.ListAsync(cancellation).ConfigureAwait(false);
        return devices.IsOk ? new Seen(volume.Value, devices.Value!, volume.Reason) : devices.To<Seen>();
    }

    /// <summary>Of all volumes with such a device, and of the one that has the name now. That comes last: what is done to it then is done to the attachment too.</summary>
    private static VolumeId[] IdsOf(Seen seen, Func<AttachedDevice, bool> isMeant)
    {
        var others = seen.Devices.Where(isMeant).Select(device => device.Identity.Volume).Distinct().Where(id => id != seen.Volume?.Id);
        return seen.Volume is { } volume ? [.. others, volume.Id] : [.. others];
    }

    /// <summary>A device of an attachment that has ended is of no use, and must be out of the way before anybody is fenced for the new one.</summary>
    private async Task<AttachResult<Done>> RemoveStaleAsync(HostVolume volume, CancellationToken cancellation)
    {
        var local = await attacher.FindAsync(volume.Id, cancellation).ConfigureAwait(false);
        if (!local.IsOk) return local.Status == AttachStatus.NotFound ? Done.Ok : local.To<Done>();
        if (volume.AttachedNode == volumes.NodeName && local.Value!.Identity.Generation == volume.Generation) return Done.Ok;
        var unmounted = local.Value!.IsServed ? await UnmountAsync(local.Value, force: false, cancellation).ConfigureAwait(false) : Done.Ok;
        if (!unmounted.IsOk) return AttachResult<Done>.Error(unmounted.Status, $"{unmounted.Reason}; it is of an attachment that has ended: end what uses it, and try again");
        var detached = await attacher.DetachAsync(volume.Id, force: false, cancellation).ConfigureAwait(false);
        return detached.IsOk ? users.Release(volume.Id) : detached;
    }

    /// <summary>Docker and CSI, where they have the volume here as it is attached now; null where nothing of theirs would be lost.</summary>
    private AttachResult<Done>? Others(HostVolume volume, IEnumerable<AttachedDevice> devices)
    {
        var published = volume.Publications.FirstOrDefault(publication => publication.Node == volumes.NodeName);
        var lost = new List<string>();
        foreach (var device in devices.Where(device => device.IsServed && IsCurrent(device, volume)))
        {
            var mounts = All(device);
            if (!mounts.IsOk) return mounts.To<Done>();
            foreach (var mount in mounts.Value!)
            {
                var user = users.Of(device.Identity, mount);
                if (user == DeviceUser.Docker) lost.Add($"Docker has it mounted at {mount.Path} for its containers");
                else if (user == DeviceUser.Other && published is not null) lost.Add($"CSI has it mounted at {mount.Path}");
            }
            if (published is not null) lost.Add($"it is published to this node by CSI ({published.Mode})");
        }
        return lost.Count == 0 ? null : AttachResult<Done>.Error(AttachStatus.InUse,
            $"volume {volume.FullName} is not only yours on this host: {string.Join("; ", lost)}. Stop these workloads first; a forced detach (--force) takes all of it away, and their I/O fails");
    }

    /// <summary>Whether anybody is left on a device of the volume, once Docker has gone.</summary>
    private AttachResult<bool> IsUsed(IReadOnlyList<AttachedDevice> devices, HostVolume? volume)
    {
        if (volume?.Publications.Any(publication => publication.Node == volumes.NodeName) == true) return true;
        foreach (var device in devices.Where(device => device.IsServed))
        {
            if (users.IsHeld(device.Identity)) return true;
            var mounts = All(device);
            if (!mounts.IsOk) return mounts.To<bool>();
            if (mounts.Value!.Count > 0) return true;
        }
        return false;
    }

    private static bool IsCurrent(AttachedDevice device, HostVolume volume) => device.Identity == new DeviceIdentity(volume.Id, volume.Generation);

    /// <summary>Of its file system, and of the device's file itself.</summary>
    private AttachResult<IReadOnlyList<MountEntry>> All(AttachedDevice device)
    {
        var mounts = mounter.MountsOf(device.Path);
        if (!mounts.IsOk) return mounts;
        var binds = mounter.BindsOf(device.Path);
        return binds.IsOk ? new(AttachStatus.Ok, [.. mounts.Value!, .. binds.Value!], "") : binds;
    }

    private DeviceView View(AttachedDevice device) => new(device, mounter.MountsOf(device.Path).Value ?? []);

    private async Task<AttachResult<DeviceView>> MountAsync(AttachedDevice device, DeviceWish wish, CancellationToken cancellation)
    {
        var chosen = await FileSystems.ChooseAsync(mounter, device, wish.FileSystem, cancellation).ConfigureAwait(false);
        if (!chosen.IsOk) return chosen.To<DeviceView>();
        var kind = chosen.Value;
        var formatted = await mounter.FormatAsync(device, kind, wish.FormatOptions, cancellation).ConfigureAwait(false);
        if (!formatted.IsOk) return formatted.To<DeviceView>();
        // While it is mounted ext4 grows only with a privilege of the kernel's (CAP_SYS_RESOURCE).
        var room = wish.ReadOnly ? Done.Ok : await mounter.GrowUnmountedAsync(device, kind, cancellation).ConfigureAwait(false);
        if (!room.IsOk) return room.To<DeviceView>();
        var request = new MountRequest(device, wish.MountPath!, kind, wish.MountOptions, wish.ReadOnly);
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
