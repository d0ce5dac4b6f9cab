using Cluster.Csi.Csi;
using Cluster.Csi.Csi.V1;
using Cluster.Tests.Chaos.Devices;
using Cluster.Tests.Integration.Csi;

namespace Cluster.Tests.Unit.Csi;

/// <summary>From whom an unpublish may take a volume.</summary>
public sealed class UnpublishSpecs
{
    private readonly OneVolumeControl _control = new();
    private readonly VolumePublication _publication;

    public UnpublishSpecs() => _publication = new VolumePublication(_control);

    [Fact(DisplayName = "While nobody can say what nodes there are, an unpublish takes the volume from nobody; once an operator is known to have it he keeps it, and once nobody has it goes")]
    public async Task Whose_else()
    {
        Assert.Null((await _publication.PublishAsync(
            new ControllerPublishVolumeRequest { VolumeId = DeviceRig.Target().FullName, NodeId = _control.NodeName, VolumeCapability = CsiNode.Mount() }, default)).Error);
        (_control.IsUsedOutsideCsi, _control.NodesUnknown) = (true, CsiError.Unavailable("No answer."));
        Assert.Equal(Grpc.Core.StatusCode.Unavailable, (await UnpublishAsync()).Error!.Code);
        Assert.Equal((_control.NodeName, 1), await KnownAsync());
        _control.NodesUnknown = null;
        Assert.Null((await UnpublishAsync()).Error);
        Assert.Equal((_control.NodeName, 0), await KnownAsync());
        _control.IsUsedOutsideCsi = false;
        Assert.Null((await UnpublishAsync()).Error);
        Assert.True(_control.IsFree);
    }

    private Task<CsiResult<ControllerUnpublishVolumeResponse>> UnpublishAsync() =>
        _publication.UnpublishAsync(new ControllerUnpublishVolumeRequest { VolumeId = DeviceRig.Target().FullName, NodeId = _control.NodeName }, default);

    private async Task<(string? Node, int Notes)> KnownAsync()
    {
        var facts = (await _control.GetAsync(DeviceRig.Target().FullName, default)).Value!;
        return (facts.AttachedNode, facts.Labels.Count);
    }
}
