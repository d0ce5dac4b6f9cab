using System.Collections.Immutable;
using Cluster.Csi.Csi;
using Cluster.Csi.Csi.V1;
using Cluster.Node.Api;
using Cluster.Node.Hosting.FrontEnds;
using Cluster.Tests.Integration.Api;
using Grpc.Core;

namespace Cluster.Tests.Unit.Csi;

/// <summary>What the sidecars are told of a change that is refused: they try ABORTED again soon, and INVALID_ARGUMENT seldom.</summary>
public sealed class ChangeCodeSpecs
{
    private readonly FakeControlPlane _cluster = new();
    private readonly VolumeChanges _changes;
    private readonly CsiVolumeControl _control;

    public ChangeCodeSpecs()
    {
        _control = new CsiVolumeControl("node-0", "", _cluster, new Health(TimeProvider.System), null);
        _changes = new VolumeChanges(_control);
    }

    [Theory(DisplayName = "A change that another one under way holds up is ABORTED; what the cluster can't do is INVALID_ARGUMENT for labels and FAILED_PRECONDITION for a size")]
    [InlineData(ControlStatus.Conflict, StatusCode.Aborted, StatusCode.Aborted)]
    [InlineData(ControlStatus.Stale, StatusCode.Aborted, StatusCode.Aborted)]
    [InlineData(ControlStatus.Impossible, StatusCode.InvalidArgument, StatusCode.FailedPrecondition)]
    [InlineData(ControlStatus.TimedOut, StatusCode.DeadlineExceeded, StatusCode.DeadlineExceeded)]
    public async Task Codes(ControlStatus refused, StatusCode modified, StatusCode expanded)
    {
        Assert.Null((await _control.CreateAsync(new NewVolume("db", 1 << 30, ImmutableSortedDictionary<string, string>.Empty, null), default)).Error);
        _cluster.ChangeFailure = new ControlFailure(refused, "Volume db is being given 3 copies.");
        var modify = new ControllerModifyVolumeRequest { VolumeId = "db", MutableParameters = { ["compression"] = "on" } };
        Assert.Equal(new CsiError(modified, "Volume db is being given 3 copies."), (await _changes.ModifyAsync(modify, default)).Error);
        var expand = new ControllerExpandVolumeRequest { VolumeId = "db", CapacityRange = new() { RequiredBytes = 2L << 30 } };
        Assert.Equal(new CsiError(expanded, "Volume db is being given 3 copies."), (await _changes.ExpandAsync(expand, default)).Error);
    }
}
