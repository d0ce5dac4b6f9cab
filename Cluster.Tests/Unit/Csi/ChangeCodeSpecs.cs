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

    [Fact(DisplayName = "What is free while nobody tells how the nodes are is UNAVAILABLE, not nothing")]
    public async Task Unknown_capacity()
    {
        var lists = new VolumeLists(_control);
        Assert.True((await lists.CapacityAsync(new GetCapacityRequest(), default)).Value!.AvailableCapacity > 0);
        _cluster.SetState("node-1", "unknown");
        Assert.Equal(StatusCode.Unavailable, (await lists.CapacityAsync(new GetCapacityRequest(), default)).Error!.Code);
    }

    [Fact(DisplayName = "A label that is reserved is refused for what it is, and no error offers it")]
    public void Reserved()
    {
        var labels = ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal);
        var reserved = VolumeParameters.Read(new() { ["sync"] = "always" }, "parameters", _control, labels);
        Assert.Equal(CsiError.Invalid("The label myrmidon.dev/sync is 'always', which can't be honoured by this version: leave it out."), reserved);
        labels.Clear();
        Assert.Null(VolumeParameters.Read(new() { ["encryption"] = "off" }, "parameters", _control, labels));
        var unknown = VolumeParameters.Read(new() { ["speed"] = "9" }, "parameters", _control, labels)!.Message;
        var claim = VolumeParameters.AddClaim(ImmutableSortedDictionary<string, string>.Empty.Add("myrmidon.dev/speed", "9"), "default/db", _control, labels)!.Message;
        Assert.All(new[] { unknown, claim }, text => Assert.Contains("replicas", text, StringComparison.Ordinal));
        Assert.All(new[] { unknown, claim }, text => Assert.DoesNotContain("encryption", text, StringComparison.Ordinal));
        Assert.All(new[] { unknown, claim }, text => Assert.DoesNotContain("sync", text, StringComparison.Ordinal));
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
