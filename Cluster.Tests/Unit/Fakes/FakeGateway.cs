using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Messages.Wire;

namespace Cluster.Tests.Unit.Fakes;

/// <summary>A cluster of one volume and one fake owner, as a front end sees it.</summary>
internal sealed class FakeGateway : IOwnerGateway
{
    private ulong _incarnation;

    public FakeGateway(ILoop loop, ulong sizeBytes, int holdMs = 60_000, bool automatic = false)
    {
        Loop = loop;
        Owner = new FakeOwner(loop, new VolumeId(7), sizeBytes) { Automatic = automatic };
        Info = new VolumeInfo(new VolumeId(7), "vol", sizeBytes, holdMs, true, Attachment.Default, false);
    }

    public ILoop Loop { get; }

    public FakeOwner Owner { get; }

    public VolumeInfo Info { get; set; }

    /// <summary>Null: there is an owner. Else what Connect says.</summary>
    public IoStatus? Absent { get; set; }

    /// <summary>Set: links of the test's own instead of the fake owner's.</summary>
    public Func<IOwnerEvents, IOwnerLink>? LinkOf { get; set; }

    /// <summary>Times, on the loop's clock, at which the owner was looked for.</summary>
    public List<long> Connects { get; } = [];

    public NodeId Node { get; } = new(Guid.Parse("11111111-1111-1111-1111-111111111111"));

    public string NodeName => "node-0";

    public ulong NewIncarnation() => ++_incarnation;

    public ILoop LoopOf(VolumeId volume) => Loop;

    public Task<VolumeLookup> LookupAsync(string fullName, CancellationToken cancellation) => Task.FromResult(
        fullName == Info.FullName
            ? new VolumeLookup(IoStatus.Ok, Info, "")
            : new VolumeLookup(IoStatus.Missing, null, $"there is no volume {fullName}"));

    public Task<IReadOnlyList<string>> ListAsync(CancellationToken cancellation) => Task.FromResult<IReadOnlyList<string>>([Info.FullName]);

    public void Connect(VolumeId volume, IOwnerEvents events)
    {
        Connects.Add(Loop.NowMs);
        Loop.Post(() =>
        {
            if (Absent is { } status) events.OnNotLinked(status, "no owner now");
            else events.OnLinked(LinkOf?.Invoke(events) ?? Owner.Connect(events));
        });
    }
}
