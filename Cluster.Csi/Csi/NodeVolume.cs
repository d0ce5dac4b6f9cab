using Cluster.Csi.Attach;
using Cluster.Messages.Model;

namespace Cluster.Csi.Csi;

/// <summary>
/// A volume on this host, as the kernel shows it at this moment. Nothing is remembered between two calls: after a reboot there is simply no device and no mount.
/// </summary>
/// <param name="Device">Of the newest generation here.</param>
/// <param name="Mounts">Of its file system, in the order of mounting.</param>
/// <param name="Binds">Of the device file itself.</param>
internal sealed record NodeVolume(AttachedDevice Device, IReadOnlyList<MountEntry> Mounts, IReadOnlyList<MountEntry> Binds)
{
    public IEnumerable<MountEntry> All => Mounts.Concat(Binds);

    /// <summary>The uppermost of its mounts at a path, or null.</summary>
    public MountEntry? At(string path) => All.LastOrDefault(mount => mount.Path == path);
}

internal sealed class NodeVolumes(HostDevices host)
{
    /// <summary>The volume's devices here, the newest last. They know the volume by its name; one that lost it is known by its id, if that is given.</summary>
    public async Task<CsiResult<IReadOnlyList<AttachedDevice>>> DevicesAsync(string fullName, VolumeId? id, CancellationToken cancellation)
    {
        var list = await host.Attacher.ListAsync(cancellation).ConfigureAwait(false);
        if (!list.IsOk) return AttachErrors.Of(list);
        return list.Value!.Where(device => id is { } known ? device.Identity.Volume == known : device.FullName == fullName)
            .OrderBy(device => device.Identity.Generation).ToArray();
    }

    /// <summary>NOT_FOUND when it has no device here.</summary>
    public async Task<CsiResult<NodeVolume>> FindAsync(string fullName, VolumeId? id, CancellationToken cancellation)
    {
        var devices = await DevicesAsync(fullName, id, cancellation).ConfigureAwait(false);
        if (devices.Error is { } error) return error;
        return devices.Value! is [.., var newest] ? Of(newest) : CsiError.NotFound($"Volume {fullName} is not staged on this node.");
    }

    public CsiResult<NodeVolume> Of(AttachedDevice device)
    {
        var mounts = host.Mounter.MountsOf(device.Path);
        if (!mounts.IsOk) return AttachErrors.Of(mounts);
        var binds = host.Mounter.BindsOf(device.Path);
        return binds.IsOk ? new NodeVolume(device, mounts.Value!, binds.Value!) : AttachErrors.Of(binds);
    }

    /// <summary>A path as the kernel's table of mounts writes it: without links, and without a slash at its end.</summary>
    public static string Real(string path)
    {
        var trimmed = path.Length > 1 ? path.TrimEnd('/') : path;
        return Native.RealPath(trimmed) ?? trimmed;
    }
}
