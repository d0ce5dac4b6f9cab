using Cluster.Csi.Attach;
using Cluster.Node.Api;
using Cluster.Node.Hosting.Devices;

namespace Cluster.Tests.Unit.Hosting;

public sealed class DeviceControlSpecs
{
    [Theory(DisplayName = "Only what the cluster can't do now is told to be tried again; what a program of the host failed with is a failure")]
    [InlineData(AttachStatus.Failed, ControlStatus.Failed)]
    [InlineData(AttachStatus.Unavailable, ControlStatus.Unavailable)]
    [InlineData(AttachStatus.TimedOut, ControlStatus.TimedOut)]
    [InlineData(AttachStatus.Running, ControlStatus.TimedOut)]
    [InlineData(AttachStatus.Damaged, ControlStatus.Conflict)]
    [InlineData(AttachStatus.NotFound, ControlStatus.NotFound)]
    [InlineData(AttachStatus.Invalid, ControlStatus.Invalid)]
    public void Statuses(AttachStatus status, ControlStatus told)
    {
        var failure = DeviceControl.Failure(status, "mount failed");
        Assert.Equal((told, "Mount failed."), (failure.Status, failure.Reason));
    }

    [Theory(DisplayName = "What the control plane can't do now is not a failure of a device")]
    [InlineData(ControlStatus.Unavailable, AttachStatus.Unavailable)]
    [InlineData(ControlStatus.TimedOut, AttachStatus.TimedOut)]
    [InlineData(ControlStatus.Impossible, AttachStatus.Conflict)]
    public void Of_the_cluster(ControlStatus status, AttachStatus told) => Assert.Equal(told, HostVolumes.StatusOf(status));
}
