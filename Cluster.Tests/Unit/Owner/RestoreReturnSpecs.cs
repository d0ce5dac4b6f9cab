using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Owner;

namespace Cluster.Tests.Unit.Owner;

/// <summary>R19: for whom a restore waits, and for whom it does not.</summary>
public sealed class RestoreReturnSpecs
{
    [Fact(DisplayName = "R19: a volume whose clients all left in order, and which had no owner before, is put back at once, whatever they wrote")]
    public void Nobody_is_lost()
    {
        // Guards ReturnLeftMs: the windows of before, not those of now.
        using var rig = OwnerRig.Serving(1);
        var snapshot = Make(rig);
        Write(rig, 2);
        Close(rig, rig.Session);
        Assert.Null(Restore(rig, snapshot));
        Assert.Equal(3UL, rig.Machine.Sequence);
        rig.Appended(0, 3, durable: 3);
    }

    [Fact(DisplayName = "R19: one that had written when this owner began may come back for as long as it holds its requests, unless the attachment has moved on since")]
    public void An_earlier_owner_is_lost()
    {
        // Guards CommitPrefix: _wroteBefore.
        using (var rig = Taken())
        {
            var snapshot = Make(rig);
            Assert.Equal(IoStatus.Busy, Restore(rig, snapshot));
            rig.Tick(OwnerRig.HoldMs - 1);
            Assert.Equal(IoStatus.Busy, Restore(rig, snapshot));
            rig.Tick(1);
            Assert.Null(Restore(rig, snapshot));
        }
        using (var rig = Taken())
        {
            var snapshot = Make(rig);
            rig.Machine.OnJournaled(new AttachmentChanged(rig.Machine.Volume, new Attachment(1, AttachmentMode.Shared, default, "")));
            Assert.Null(Restore(rig, snapshot));
        }
    }

    [Fact(DisplayName = "R19: a session whose connection broke is not forgotten by a restore when it made place for another one, but by a new attachment it is")]
    public void A_lost_session_that_made_place()
    {
        // Guards AdmitOpen: _forgottenAtMs; OnAttachmentChanged.
        using var rig = OwnerRig.Serving(1);
        var snapshot = Make(rig);
        Write(rig, 2);
        rig.Machine.OnLinkDown(rig.Front);
        var other = new RecordingLink(rig.Front.Peer);
        for (ulong number = 0; number < Limits.SessionsPerVolumeMax / 2; number++)
        {
            var session = new SessionId(0, 100 + number);
            rig.Open(session, other);
            Assert.Equal(IoStatus.Ok, other.LastOf(FrameKind.SessionOpened).Status);
        }
        for (ulong number = 0; number < Limits.SessionsPerVolumeMax / 2; number++) Close(rig, new SessionId(0, 100 + number), other);
        Assert.Equal(IoStatus.Busy, Restore(rig, snapshot));
        rig.Tick(OwnerRig.HoldMs - 1);
        Assert.Equal(IoStatus.Busy, Restore(rig, snapshot));
        rig.Machine.OnJournaled(new AttachmentChanged(rig.Machine.Volume, new Attachment(1, AttachmentMode.Shared, default, "")));
        Assert.Null(Restore(rig, snapshot));
    }

    [Fact(DisplayName = "R19: what a session that left in order had held for want of room is not done behind a restore")]
    public void What_was_held_is_gone()
    {
        // Guards GiveHeld: AdmitWrite.
        using var rig = OwnerRig.Serving(1, grants: 0);
        var snapshot = Make(rig);
        rig.Write(1, 3);
        Assert.Equal((1UL, 1), (rig.Machine.Sequence, rig.Machine.HeldWrites));
        Close(rig, rig.Session);
        Assert.Null(Restore(rig, snapshot));
        rig.CreditBytes = (ulong)Limits.CreditBytesMax;
        rig.Appended(0, 2, durable: 2);
        rig.Tick();
        Assert.Equal((2UL, 0), (rig.Machine.Sequence, rig.Machine.HeldWrites));
    }

    /// <summary>The owner begins with a copy in whose windows a session is.</summary>
    private static OwnerRig Taken()
    {
        var rig = new OwnerRig(1, FailureModeKind.Soft);
        rig.Windows.Apply(rig.Session, 1, 1, 1);
        rig.Machine.Start();
        rig.Journal();
        rig.Promised(0);
        rig.Truncated(0, 0);
        rig.Journal();
        rig.Stamped(0);
        Assert.Equal(VolumePhase.Serving, rig.Machine.Phase);
        return rig;
    }

    private static ulong Make(OwnerRig rig)
    {
        Assert.Equal(IoStatus.Ok, rig.Machine.CreateSnapshot("a").Status);
        rig.Appended(0, rig.Machine.Sequence, durable: rig.Machine.Sequence);
        var created = (SnapshotCreated)rig.Journal();
        rig.Snapshots = [.. rig.Snapshots, created.Sequence];
        return created.Sequence;
    }

    private static void Write(OwnerRig rig, ulong sequence)
    {
        rig.Write(1, 3);
        rig.Appended(0, sequence, durable: sequence);
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(1));
    }

    private static void Close(OwnerRig rig, SessionId session, RecordingLink? from = null) =>
        rig.Client(from, FrameKind.SessionClose, 0, new SessionOpenBody(session, 1).Encode(new byte[SessionOpenBody.SizeBytes]));

    /// <summary>Why it is refused; null: it is under way, and journaled to be.</summary>
    private static IoStatus? Restore(OwnerRig rig, ulong snapshot)
    {
        IoStatus? answer = null;
        rig.Machine.RestoreSnapshot(snapshot, (status, _) => answer = status);
        if (answer is null) Assert.IsType<RestoreStarted>(rig.Journal());
        return answer;
    }
}
