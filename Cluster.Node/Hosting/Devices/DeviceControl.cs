using Cluster.Csi.Attach;
using Cluster.Node.Api;

namespace Cluster.Node.Hosting.Devices;

/// <summary>REST's way to the devices of this host.</summary>
public sealed class DeviceControl : IDeviceControl
{
    private static readonly ControlFailure NotReady =
        new(ControlStatus.Unavailable, "This node does not serve yet; try again in a moment.");

    private volatile Parts? _parts;

    private sealed record Parts(VolumeDevices Devices, string NodeName);

    /// <summary>From here on requests are carried out.</summary>
    public void Open(VolumeDevices devices, string nodeName) => _parts = new Parts(devices, nodeName);

    /// <summary>From here on requests are refused: the node stops. Devices stay.</summary>
    public void Close() => _parts = null;

    public async Task<ControlResult<DeviceResource>> AttachAsync(VolumeName name, DeviceRequest request, CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotReady;
        if (request.Node is { } node && node != parts.NodeName)
            return new ControlFailure(ControlStatus.Invalid, $"This is node {parts.NodeName}: ask node {node}, on its own host, for a device there.");
        var wish = new DeviceWish(request.Mount, ReadOnly: request.ReadOnly)
        {
            MountOptions = request.MountOptions ?? [],
            FormatOptions = request.FormatOptions ?? [],
        };
        if (request.FileSystem is { } text)
        {
            if (!FileSystems.TryParse(text, out var kind))
                return new ControlFailure(ControlStatus.Invalid, $"The file system \"{text}\" is not known: use one of {FileSystems.Names}.");
            wish = wish with { FileSystem = kind };
        }
        var attached = await parts.Devices.AttachAsync(name.ToString(), wish, cancellation);
        return attached.IsOk ? Of(attached.Value!, parts.NodeName) : Failure(attached.Status, attached.Reason);
    }

    public async Task<ControlResult<DeviceListResource>> DetachAsync(VolumeName name, bool force, CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotReady;
        var detached = await parts.Devices.DetachAsync(name.ToString(), force, cancellation);
        return detached.IsOk ? await ListAsync(cancellation) : Failure(detached.Status, detached.Reason);
    }

    public async Task<ControlResult<DeviceListResource>> ListAsync(CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotReady;
        var list = await parts.Devices.ListAsync(cancellation);
        return list.IsOk
            ? new DeviceListResource { Devices = [.. list.Value!.Select(view => Of(view, parts.NodeName))] }
            : Failure(list.Status, list.Reason);
    }

    private static DeviceResource Of(DeviceView view, string node) => new()
    {
        Volume = view.Device.FullName,
        Id = view.Device.Identity.Volume.ToString(),
        Node = node,
        Generation = view.Device.Identity.Generation,
        Device = view.Device.Path,
        SizeBytes = view.Device.SizeBytes,
        ReadOnly = view.Device.ReadOnly,
        Kind = view.Device.Kind == AttacherKind.KernelNbd ? Attachers.KernelNbd : Attachers.FuseLoop,
        Served = view.Device.IsServed,
        Mounts = [.. view.Mounts.Select(mount => new MountResource { Path = mount.Path, FileSystem = mount.FileSystem, Options = mount.Options, ReadOnly = mount.IsReadOnly, Trouble = FileSystemHealth.Trouble(mount) })],
    };

    /// <summary>"Try again" is said only of what may go well the next time as it is: a program of the host that fails does so again.</summary>
    internal static ControlFailure Failure(AttachStatus status, string reason) => new(status switch
    {
        AttachStatus.NotFound => ControlStatus.NotFound,
        AttachStatus.Invalid => ControlStatus.Invalid,
        AttachStatus.TimedOut or AttachStatus.Running => ControlStatus.TimedOut,
        AttachStatus.Unavailable => ControlStatus.Unavailable,
        AttachStatus.Failed => ControlStatus.Failed,
        _ => ControlStatus.Conflict,
    }, Sentence(reason));

    private static string Sentence(string reason) =>
        reason.Length == 0 ? reason : $"{char.ToUpperInvariant(reason[0])}{reason[1..]}{(reason[^1] == '.' ? "" : ".")}";
}
