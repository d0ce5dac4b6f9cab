using Cluster.Csi.Attach;
using Cluster.Csi.Client;
using Cluster.Csi.Nbd;
using Cluster.Messages.Model;
using Cluster.Tests.Unit.Fakes;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Unit.Client;

/// <summary>R11 for devices of a host: a device belongs to one generation of the attachment.</summary>
public class DeviceSessionSpecs
{
    private const int Block = Limits.BlockBytes;
    private readonly FakeLoop _loop = new();
    private readonly FakeGateway _gateway;
    private readonly VolumeSessions _sessions;

    public DeviceSessionSpecs()
    {
        _gateway = new FakeGateway(_loop, 64UL << 20);
        _sessions = new VolumeSessions(_gateway, NullLoggerFactory.Instance);
        AttachHere(5);
    }

    [Fact(DisplayName = "A device's export is refused for good once the attachment has another generation, though it is to the same node")]
    public void Old_generation_is_refused()
    {
        Assert.Equal(IoStatus.Ok, Open(Device(5)).Status);
        AttachHere(6);
        var open = Open(Device(5));
        Assert.Equal(IoStatus.StaleSession, open.Status);
        Assert.Contains("moved on", open.Reason, StringComparison.Ordinal);
        var exports = new VolumeExports(_gateway, _sessions);
        Assert.Equal(IoStatus.Missing, Await(exports.OpenAsync("vol@v7.5", default)).Status);
        var now = Await(exports.OpenAsync("vol@v7.6", default));
        Assert.Equal((IoStatus.Ok, "vol@v7.6"), (now.Status, now.FullName));
    }

    [Fact(DisplayName = "A volume of the same name with another id is refused to the device of the old one")]
    public void Another_volume_of_the_name() =>
        Assert.Equal(IoStatus.StaleSession, Open(new DeviceIdentity(new VolumeId(8), 5)).Status);

    [Fact(DisplayName = "A device's session that is fenced ends, and never goes over to the new generation: what it holds would undo what was written since")]
    public void Fenced_device_ends()
    {
        var session = Open(Device(5)).Session!;
        AttachHere(6);
        _gateway.Owner.Notice(IoStatus.StaleSession);
        _gateway.Owner.Link!.StepOut();
        var late = ProbeRequest.Write(0, new byte[Block]);
        session.Submit(late);
        _loop.RunUntil(() => late.IsDone);
        Assert.Equal(IoStatus.StaleSession, late.Status);
        Assert.True(session.IsOver);
        Assert.Equal(5UL, session.Session.Generation);
    }

    [Fact(DisplayName = "A bare connection on the node of the attachment shares the device's session, and does not fence it")]
    public void Shared_with_bare_connections()
    {
        var device = Open(Device(5)).Session!;
        Assert.Same(device, Open(null).Session);
        Assert.Same(device, Open(Device(5)).Session);
    }

    [Fact(DisplayName = "A device of a new generation takes the place of the process's older session, which does not fence it in turn")]
    public void Older_session_gives_way()
    {
        var bare = Open(null).Session!;
        AttachHere(6);
        var device = Open(Device(6)).Session!;
        Assert.NotSame(bare, device);
        Assert.Equal(IoStatus.StaleSession, bare.EndStatus);
        var write = ProbeRequest.Write(0, new byte[Block]);
        device.Submit(write);
        _loop.RunUntil(() =>
        {
            _gateway.Owner.Settle();
            return write.IsDone;
        });
        Assert.Equal(IoStatus.Ok, write.Status);
        Assert.False(device.IsOver);
    }

    private static DeviceIdentity Device(ulong generation) => new(new VolumeId(7), generation);

    private void AttachHere(ulong generation)
    {
        _gateway.Info = _gateway.Info with { Attachment = new Attachment(generation, AttachmentMode.Exclusive, _gateway.Node, "node-0") };
        _gateway.Owner.Generation = generation;
    }

    private VolumeOpen Open(DeviceIdentity? device) => Await(_sessions.OpenAsync("vol", device));

    private T Await<T>(Task<T> task)
    {
        _loop.RunUntil(() =>
        {
            _gateway.Owner.Settle();
            return task.IsCompleted;
        });
        return task.Result;
    }
}
