using System.Collections.Immutable;
using Cluster.Csi.Csi;
using Cluster.Csi.Csi.V1;
using Cluster.Tests.Chaos.Devices;
using Cluster.Tests.Integration.Csi;

namespace Cluster.Tests.Unit.Csi;

/// <summary>The note of a publication while the node that has the catalogue hangs.</summary>
public sealed class LateNoteSpecs
{
    private readonly OneVolumeControl _control = new();
    private readonly TaskCompletionSource<CsiError?> _late = new();
    private readonly VolumePublication _publication;

    public LateNoteSpecs() => _publication = new VolumePublication(_control, (_, refused, broken) =>
    {
        Assert.Null(broken);
        _late.SetResult(refused);
    });

    private static ControllerPublishVolumeRequest Request { get; } = new() { VolumeId = DeviceRig.Target().FullName, NodeId = "node-0", VolumeCapability = CsiNode.Mount() };

    [Fact(DisplayName = "A publication is answered once the volume is attached while the catalogue hangs; it is noted when that answers, and the same call finds it")]
    public async Task Answered_before()
    {
        (_control.Held, _control.IsCatalogueSilent) = (new TaskCompletionSource(), true);
        var first = await _publication.PublishAsync(Request, default);
        Assert.Null(first.Error);
        var attached = (await _control.GetAsync(Request.VolumeId, default)).Value!;
        Assert.Equal(("node-0", 0), (attached.AttachedNode, attached.Labels.Count));
        _control.Held.SetResult();
        Assert.Null(await _late.Task.WaitAsync(TimeSpan.FromSeconds(30)));
        Assert.Single((await _control.GetAsync(Request.VolumeId, default)).Value!.Labels);
        Assert.Equal(first.Value, (await _publication.PublishAsync(Request, default)).Value);
    }

    [Fact(DisplayName = "While the catalogue's node is heard a publication waits for its note, and ends with the call")]
    public async Task Waited_for()
    {
        _control.Held = new TaskCompletionSource();
        using var end = new CancellationTokenSource();
        var call = _publication.PublishAsync(Request, end.Token);
        await Assert.ThrowsAsync<TimeoutException>(() => call.WaitAsync(TimeSpan.FromMilliseconds(4 * CsiLimits.NoteLookMs)));
        await end.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => call);
        Assert.False(_late.Task.IsCompleted);
    }

    [Fact(DisplayName = "A late note that is refused, since the volume was changed meanwhile, is told")]
    public async Task Refused_late()
    {
        (_control.Held, _control.IsCatalogueSilent) = (new TaskCompletionSource(), true);
        Assert.Null((await _publication.PublishAsync(Request, default)).Error);
        var held = _control.Held;
        _control.Held = null;
        await _control.ChangeAsync(Request.VolumeId, null, ImmutableSortedDictionary<string, string>.Empty, null, default);
        held.SetResult();
        Assert.Equal(Grpc.Core.StatusCode.Aborted, (await _late.Task.WaitAsync(TimeSpan.FromSeconds(30)))!.Code);
    }

    [Theory(DisplayName = "The volume's next call ends a note that is still under way: it does not land after that")]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Ended_by_the_next_call(bool isSame)
    {
        (_control.Held, _control.IsCatalogueSilent) = (new TaskCompletionSource(), true);
        Assert.Null((await _publication.PublishAsync(Request, default)).Error);
        var held = _control.Held;
        _control.Held = null;
        if (isSame) Assert.Null((await _publication.PublishAsync(Request, default)).Error);
        else Assert.Null((await _publication.UnpublishAsync(new ControllerUnpublishVolumeRequest { VolumeId = Request.VolumeId }, default)).Error);
        Assert.Equal(Grpc.Core.StatusCode.Aborted, (await _late.Task.WaitAsync(TimeSpan.FromSeconds(30)))!.Code);
        held.SetResult();
        Assert.Equal(isSame ? 1 : 0, (await _control.GetAsync(Request.VolumeId, default)).Value!.Labels.Count);
    }

    [Fact(DisplayName = "Notes that end late give their places back, however they end")]
    public async Task Places_come_back()
    {
        var publication = new VolumePublication(_control);
        _control.IsCatalogueSilent = true;
        for (var count = 0; count <= 2 * CsiLimits.LateNotesMax; count++)
        {
            var held = _control.Held = new TaskCompletionSource();
            Assert.Null((await publication.PublishAsync(Request, default).WaitAsync(TimeSpan.FromSeconds(30))).Error);
            _control.Held = null;
            if (count % 2 == 0) held.SetResult();
            Assert.Null((await publication.UnpublishAsync(new ControllerUnpublishVolumeRequest { VolumeId = Request.VolumeId }, default)).Error);
        }
    }
}
