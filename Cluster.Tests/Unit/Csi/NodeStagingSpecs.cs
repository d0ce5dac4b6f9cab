using Cluster.Csi.Attach;
using Cluster.Csi.Csi;
using Cluster.Csi.Csi.V1;
using Cluster.Messages.Model;
using Cluster.Tests.Chaos.Devices;
using Cluster.Tests.Unit.Attach;
using Cluster.Tests.Unit.Fakes;
using Grpc.Core;
using Mode = Cluster.Csi.Csi.V1.VolumeCapability.Types.AccessMode.Types.Mode;

namespace Cluster.Tests.Unit.Csi;

public sealed class NodeStagingSpecs : IDisposable
{
    private const string Volume = "vol";

    private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-staging-").FullName;
    private readonly FakeAttacher _attacher = new(AttacherKind.FuseLoop);
    private readonly OneVolumeControl _control = new();

    private string Staging => Path.Combine(_directory, "staging");

    private DeviceUsers Users => new(Path.Combine(_directory, "operator"), Path.Combine(_directory, "docker"), "boot");

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact(DisplayName = "An operator who attaches a volume while CSI unstages it waits for that, and has a device in the end")]
    public async Task Operator_comes()
    {
        var volumes = new DockerDriverSpecs.FakeVolumes { AttachedNode = "node-1" };
        var devices = new VolumeDevices(volumes, _attacher, DockerDriverSpecs.MounterProxy.Create(), Users);
        _attacher.Devices.Add(new AttachedDevice(new DeviceIdentity(new VolumeId(7), 3), Volume, "/dev/x", 1 << 30, false, AttacherKind.FuseLoop));
        _attacher.Detaches = new TaskCompletionSource();
        var unstaging = NewStaging(_directory, devices.Locks).UnstageAsync(new NodeUnstageVolumeRequest { VolumeId = Volume, StagingTargetPath = Staging }, default);
        await _attacher.Detaching.Task;
        var attaching = devices.AttachAsync(Volume, new DeviceWish(), default);
        _attacher.Detaches.SetResult();
        Assert.Null((await unstaging).Error);
        Assert.True((await attaching).IsOk);
        Assert.Single(_attacher.Devices);
        Assert.True(Users.IsHeld(_attacher.Devices[0].Identity));
    }

    [Fact(DisplayName = "A volume whose staging path can't be noted is not staged: the call says which file it is, and no device is left")]
    public async Task Not_noted()
    {
        var file = Path.Combine(_directory, "file");
        await File.WriteAllTextAsync(file, "in the place of a directory");
        var attached = await _control.AttachAsync(Volume, _control.NodeName, null, default);
        var request = new NodeStageVolumeRequest
        {
            VolumeId = Volume,
            StagingTargetPath = Staging,
            VolumeCapability = new VolumeCapability { Mount = new() { FsType = "ext4" }, AccessMode = new() { Mode = Mode.SingleNodeWriter } },
            PublishContext = { [VolumePublication.GenerationKey] = $"{attached.Value!.Generation}" },
        };
        var error = (await NewStaging(file, new()).StageAsync(request, default)).Error!;
        Assert.Equal(StatusCode.Internal, error.Code);
        Assert.StartsWith($"The note {file}/", error.Message, StringComparison.Ordinal);
        Assert.Contains("can't be written", error.Message, StringComparison.Ordinal);
        Assert.Empty(_attacher.Devices);
    }

    private NodeStaging NewStaging(string notes, KeyedLocks<VolumeId> locks) =>
        new(_control, new HostDevices(_attacher, DockerDriverSpecs.MounterProxy.Create(), Users, new StagingNotes(notes, "boot")) { Locks = locks });
}
