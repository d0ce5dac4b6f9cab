using Cluster.Node.Api;

namespace Cluster.Tests.Integration.Api;

/// <summary>Devices in memory.</summary>
public sealed class FakeDevices : IDeviceControl
{
    private readonly Dictionary<string, DeviceResource> _devices = [];

    public ControlFailure? Failure { get; set; }

    public Task<ControlResult<DeviceResource>> AttachAsync(VolumeName name, DeviceRequest request, CancellationToken cancellation)
    {
        if (Failure is { } failure) return Task.FromResult<ControlResult<DeviceResource>>(failure);
        _devices[name.ToString()] = new DeviceResource
        {
            Volume = name.ToString(),
            Id = "v1",
            Node = "node-0",
            Generation = 1,
            Device = "/dev/loop9",
            SizeBytes = 4096,
            Kind = "fuse-loop",
            Served = true,
            Mounts = request.Mount is null ? [] : [new MountResource { Path = request.Mount, FileSystem = request.FileSystem ?? "ext4", Options = "rw" }],
        };
        return Task.FromResult<ControlResult<DeviceResource>>(_devices[name.ToString()]);
    }

    public Task<ControlResult<DeviceListResource>> DetachAsync(VolumeName name, bool force, CancellationToken cancellation)
    {
        _devices.Remove(name.ToString());
        return ListAsync(cancellation);
    }

    public Task<ControlResult<DeviceListResource>> ListAsync(CancellationToken cancellation) => Task.FromResult<ControlResult<DeviceListResource>>(
        Failure is { } failure ? failure : new DeviceListResource { Devices = [.. _devices.Values] });
}
