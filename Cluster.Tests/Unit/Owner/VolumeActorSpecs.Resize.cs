using Akka.Actor;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Owner;

namespace Cluster.Tests.Unit.Owner;

public sealed partial class VolumeActorSpecs
{
    private static readonly VolumeSpec Smaller = Spec with { SizeBytes = 4096 };

    [Fact(DisplayName = "A smaller size that was allowed is left to the machine, asked once however often the order comes; what the machine journals answers it")]
    public void Shrink_is_journaled_by_the_machine()
    {
        var (actor, owner) = StartServed();
        actor.Tell(new VolumeProtocol.ChangeSpec(Volume, Smaller, 1, AllowShrink: true));
        actor.Tell(new VolumeProtocol.ChangeSpec(Volume, Smaller, 1, AllowShrink: true));
        actor.Tell(new VolumeProtocol.Scrub(Volume, false));
        ExpectMsg<VolumeProtocol.ScrubView>();
        var (change, answer) = Assert.Single(owner.Shrinks);
        Assert.Equal((4096UL, 1UL), (change.Spec.SizeBytes, change.Revision));
        owner.Say(new OwnerNotice.JournalThis(owner, change));
        AwaitCondition(() => owner.Journaled.OfType<SpecChanged>().Any());
        answer(IoStatus.Ok, "");
        ExpectMsg<VolumeProtocol.Done>();
        actor.Tell(new VolumeProtocol.ChangeSpec(Volume, Smaller, 1, AllowShrink: true));
        ExpectMsg<VolumeProtocol.Done>();
        ExpectNoMsg(TimeSpan.Zero);
    }

    [Fact(DisplayName = "Why a volume does not shrink is told to who asked last; one that does not serve says so")]
    public void Shrink_refused_by_the_machine()
    {
        var (actor, owner) = StartServed();
        actor.Tell(new VolumeProtocol.ChangeSpec(Volume, Smaller, 1, AllowShrink: true));
        AwaitCondition(() => owner.Shrinks.Count == 1);
        owner.Shrinks[0].Answer(IoStatus.Conflict, "there is data beyond the new end");
        var refused = ExpectMsg<VolumeProtocol.Refused>();
        Assert.Equal(IoStatus.Conflict, refused.Status);
        Assert.Contains("does not shrink: there is data beyond the new end", refused.Reason, StringComparison.Ordinal);
        owner.Say(new OwnerNotice.ServingChanged(owner, false, 1));
        actor.Tell(new VolumeProtocol.ChangeSpec(Volume, Smaller, 1, AllowShrink: true));
        Assert.Equal(IoStatus.Offline, ExpectMsg<VolumeProtocol.Refused>().Status);
    }

    [Fact(DisplayName = "What a newer change has overtaken is not journaled any more, though the machine wants it")]
    public void Overtaken_shrink()
    {
        var (actor, owner) = StartServed();
        actor.Tell(new VolumeProtocol.ChangeSpec(Volume, Smaller, 1, AllowShrink: true));
        AwaitCondition(() => owner.Shrinks.Count == 1);
        actor.Tell(new VolumeProtocol.ChangeSpec(Volume, Spec, 2));
        ExpectMsg<VolumeProtocol.Done>();
        owner.Say(new OwnerNotice.JournalThis(owner, owner.Shrinks[0].Change));
        actor.Tell(new VolumeProtocol.Scrub(Volume, false));
        ExpectMsg<VolumeProtocol.ScrubView>();
        Assert.Equal(2UL, Assert.Single(owner.Journaled.OfType<SpecChanged>()).Revision);
    }
}
