namespace Cluster.Node.Api;

/// <summary>
/// What REST asks of the devices of this host. Every method may be called by any thread, is idempotent, and answers operating errors as values.
/// </summary>
public interface IDeviceControl
{
    /// <summary>Attaches the volume to this node, makes it a block device, and mounts that where the request says so.</summary>
    Task<ControlResult<DeviceResource>> AttachAsync(VolumeName name, DeviceRequest request, CancellationToken cancellation);

    /// <summary>Takes mounts, device and this node's attachment away; answers the devices that are left. Ok if there are none of the volume.</summary>
    Task<ControlResult<DeviceListResource>> DetachAsync(VolumeName name, bool force, CancellationToken cancellation);

    Task<ControlResult<DeviceListResource>> ListAsync(CancellationToken cancellation);
}
