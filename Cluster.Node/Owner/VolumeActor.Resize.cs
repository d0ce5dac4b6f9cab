using Akka.Actor;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Node.Owner;

// Another size, other labels. What makes a volume smaller is the machine's to decide; all else is journaled at once.
public sealed partial class VolumeActor
{
    private Shrinking? _shrinking;

    /// <summary>The machine looks whether that may be.</summary>
    /// <param name="Who">Asked last; the order is sent again and again until it is answered.</param>
    private sealed record Shrinking(ulong Revision, IActorRef Who);

    private sealed record ShrinkAnswered(IOwnerHandle Owner, ulong Revision, IoStatus Status, string Reason) : INoSerializationVerificationNeeded;

    private void OnChangeSpec(VolumeProtocol.ChangeSpec change)
    {
        var sender = Sender;
        if (_state.Spec is not { } spec || _state.Deleted) Refuse(sender, IoStatus.Missing, "it does not exist");
        // Told again, or overtaken by a newer change.
        else if (change.Revision <= _state.SpecRevision) sender.Tell(new VolumeProtocol.Done(_volume));
        else if (change.Spec.SizeBytes < spec.SizeBytes) Shrink(change, spec.SizeBytes);
        else Commit(new SpecChanged(_volume, change.Spec, change.Revision), () => sender.Tell(new VolumeProtocol.Done(_volume), ActorRefs.NoSender));
    }

    private void Shrink(VolumeProtocol.ChangeSpec change, ulong sizeBytes)
    {
        if (!change.AllowShrink) Refuse(Sender, IoStatus.OutOfRange, $"it has {sizeBytes} bytes and can't shrink to {change.Spec.SizeBytes}; that was not allowed explicitly");
        else if (_owner is not { } owner || !_serving) Refuse(Sender, IoStatus.Offline, $"it does not shrink to {change.Spec.SizeBytes} B: {NotServingReason()}");
        else if (_shrinking?.Revision == change.Revision) _shrinking = _shrinking with { Who = Sender };
        else
        {
            var self = Self;
            _shrinking = new Shrinking(change.Revision, Sender);
            owner.Shrink(new SpecChanged(_volume, change.Spec, change.Revision),
                (status, reason) => self.Tell(new ShrinkAnswered(owner, change.Revision, status, reason), ActorRefs.NoSender));
        }
    }

    private void OnShrinkAnswered(ShrinkAnswered answer)
    {
        if (answer.Owner != _owner || _shrinking is not { } shrinking || shrinking.Revision != answer.Revision) return;
        _shrinking = null;
        if (answer.Status == IoStatus.Ok) shrinking.Who.Tell(new VolumeProtocol.Done(_volume));
        else Refuse(shrinking.Who, answer.Status, $"it does not shrink: {answer.Reason}");
    }
}
