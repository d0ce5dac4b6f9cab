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

    /// <summary>Why nothing works here any more though the volume does: it was attached anew, here or elsewhere, since this device was made. Null: it was not.</summary>
    public string? CutOff(VolumeFacts volume, string node) =>
        volume.AttachedNode is { } other && other != node ? $"Volume {volume.FullName} is attached to node {other}, and what node {node} has of it ({Device.Path}) is cut off"
        : volume.Generation > Device.Identity.Generation ? $"Volume {volume.FullName} was detached or attached anew since node {node} staged it, and what that has of it ({Device.Path}) is cut off" : null;
}

internal sealed class NodeVolumes(HostDevices host)
{
    private const string Deleted = "//deleted";

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

    /// <summary>Whether a mount can be of a volume: a file system of a device as attachers make them, also one that is not known any more, or such a device's file.</summary>
    public static bool IsOfDevice(MountEntry mount) => Attachers.IsDeviceName(Path.GetFileName(mount.Source)) || Attachers.IsDeviceName(Path.GetFileName(Undeleted(mount.Root)));

    /// <summary>The kernel marks a file that was unlinked since.</summary>
    private static string Undeleted(string root) => root.EndsWith(Deleted, StringComparison.Ordinal) ? root[..^Deleted.Length] : root;

    /// <summary>A path as the kernel's table of mounts writes it: without links, and without a slash at its end.</summary>
    public static string Real(string path)
    {
        var trimmed = path.Length > 1 ? path.TrimEnd('/') : path;
        return Native.RealPath(trimmed) ?? trimmed;
    }
}
