using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Owner;
using Cluster.Tests.Simulation.Volumes;

namespace Cluster.Tests.Unit.Owner;

/// <summary>R13, second half: an owner whose copies all lost their power lets sessions present what they were answered, and nothing else before that.</summary>
public class PresentedSpecs
{
    private const ulong Left = 5;
    private const ulong Epoch = 3;

    private readonly SessionId _session = new(0, 7);
    private readonly SessionId _other = new(0, 8);

    [Fact(DisplayName = "What was presented is put where it was, in its order, and then the session goes on")]
    public void Restores()
    {
        using var rig = Served();
        Open(rig, _session, seen: 8);
        Assert.True(SequenceBody.TryDecode(rig.Front.Of(FrameKind.Present).Single().Body, out var left));
        Assert.Equal(Left, left.Sequence);
        foreach (var sequence in (ulong[])[8, 6, 7, 7, 5]) Present(rig, _session, sequence);
        Assert.Empty(Appends(rig));
        Assert.Empty(rig.Front.Of(FrameKind.SessionOpened));
        rig.Tick(Limits.PresentMs);
        Assert.Equal([(6UL, 106UL), (7UL, 107UL), (8UL, 108UL)], Appends(rig));
        Assert.Empty(rig.Front.Of(FrameKind.SessionOpened));
        for (var index = 0; index < 2; index++) rig.Appended(index, 8);
        Assert.Equal(IoStatus.Ok, Opened(rig));
        Assert.Equal([3], rig.Presented);
    }

    [Fact(DisplayName = "Nobody is opened before the sessions had their time, also who claims nothing")]
    public void Admits_nothing_before()
    {
        using var rig = Served();
        Open(rig, _other, seen: 0);
        rig.Write(1, 3, session: _other);
        rig.Tick(Limits.PresentMs - 100);
        Assert.Empty(Appends(rig));
        Assert.Empty(rig.Front.Of(FrameKind.SessionOpened));
        rig.Tick();
        Assert.Equal(IoStatus.Ok, Opened(rig));
    }

    [Fact(DisplayName = "Two sessions fill each other's gaps; where one does not come, the other is told of the loss")]
    public void Gaps()
    {
        using (var rig = Served())
        {
            Open(rig, _session, seen: 8);
            Open(rig, _other, seen: 7);
            Present(rig, _session, 6);
            Present(rig, _session, 8);
            Present(rig, _other, 7);
            rig.Tick(Limits.PresentMs);
            for (var index = 0; index < 2; index++) rig.Appended(index, 8);
            Assert.Equal([IoStatus.Ok, IoStatus.Ok], rig.Front.Of(FrameKind.SessionOpened).Select(sent => sent.Header.Status));
        }
        using (var rig = Served())
        {
            Open(rig, _session, seen: 8);
            Present(rig, _session, 6);
            Present(rig, _session, 8);
            rig.Tick(Limits.PresentMs);
            Assert.Equal([(6UL, 106UL)], Appends(rig));
            for (var index = 0; index < 2; index++) rig.Appended(index, 6);
            Assert.Equal(IoStatus.DataLost, Opened(rig));
        }
    }

    [Fact(DisplayName = "Who comes too late is told of the loss; who claims what was restored goes on")]
    public void Late()
    {
        using var rig = Served();
        Open(rig, _session, seen: 6);
        Present(rig, _session, 6);
        rig.Tick(Limits.PresentMs);
        for (var index = 0; index < 2; index++) rig.Appended(index, 6);
        Open(rig, _other, seen: 7);
        Assert.Equal(IoStatus.DataLost, Opened(rig));
        Open(rig, new SessionId(0, 9), seen: 6);
        Assert.Equal(IoStatus.Ok, Opened(rig));
    }

    [Fact(DisplayName = "A claim of an order that had been left before the power went is lost at once")]
    public void Older_orders()
    {
        // Epoch 2's records above 2 were dropped when epoch 3 began there: their sequences have been given out again.
        using var rig = Served();
        Open(rig, _session, seen: 8, epoch: 2);
        Assert.Equal(IoStatus.DataLost, Opened(rig));
        Assert.Empty(rig.Front.Of(FrameKind.Present));
    }

    [Fact(DisplayName = "P4: a session fenced while it waits presents nothing more")]
    public void Fenced()
    {
        using var rig = Served(new Attachment(0, AttachmentMode.Exclusive, new NodeId(new Guid(99, 0, 0, new byte[8])), "front"));
        Open(rig, _session, seen: 8);
        Open(rig, _other, seen: 0);
        Assert.Equal(IoStatus.StaleSession, rig.Front.LastOf(FrameKind.SessionNotice).Status);
        Present(rig, _session, 6);
        rig.Tick(Limits.PresentMs);
        Assert.Empty(Appends(rig));
        Open(rig, _session, seen: 8);
        Assert.Equal(IoStatus.StaleSession, Opened(rig));
    }

    [Fact(DisplayName = "R19: one whose connection breaks while it presents may be on its way back: the volume is not put back under it")]
    public void Lost_while_it_presents()
    {
        // Guards OnClientLinkDown: _forgottenAtMs.
        using var rig = Served();
        Open(rig, _session, seen: 6);
        rig.Machine.OnLinkDown(rig.Front);
        rig.Tick(Limits.PresentMs);
        Assert.Equal(IoStatus.Ok, rig.Machine.CreateSnapshot("a").Status);
        for (var index = 0; index < 2; index++) rig.Appended(index, 6, durable: 6);
        rig.Journal();
        rig.Snapshots = [6];
        var answers = new List<IoStatus>();
        rig.Machine.RestoreSnapshot(6, (status, _) => answers.Add(status));
        Assert.Equal([IoStatus.Busy], answers);
        rig.Tick(OwnerRig.HoldMs);
        rig.Machine.RestoreSnapshot(6, (status, _) => answers.Add(status));
        Assert.Single(answers);
        rig.Journal();
        Assert.Equal(7UL, rig.Machine.Sequence);
    }

    [Fact(DisplayName = "Without a loss of power nobody waits")]
    public void No_gathering()
    {
        using var rig = Served(suspectSince: 0);
        Open(rig, _other, seen: 5);
        Assert.Equal(IoStatus.Ok, Opened(rig));
        Open(rig, _session, seen: 6);
        Assert.Equal(IoStatus.DataLost, Opened(rig));
    }

    [Fact(DisplayName = "A planned stop waits until what was presented is in the order")]
    public void Drains_afterwards()
    {
        using var rig = Served();
        Open(rig, _session, seen: 6);
        Present(rig, _session, 6);
        rig.Machine.Drain();
        rig.Tick(Limits.PresentMs);
        Assert.Equal(VolumePhase.Serving, rig.Machine.Phase);
        for (var index = 0; index < 2; index++) rig.Appended(index, 6);
        Assert.Equal(VolumePhase.Stopped, rig.Machine.Phase);
    }

    [Fact(DisplayName = "A write with FUA is told its sequence when it is committed, before what follows it is answered")]
    public void Committed_is_told()
    {
        using var rig = OwnerRig.Serving(2);
        rig.Write(1, 3, RecordFlags.ForceUnitAccess);
        rig.Write(2, 4);
        for (var index = 0; index < 2; index++) rig.Appended(index, 2);
        var kinds = rig.Front.Sent.Select(sent => (sent.Header.Kind, sent.Header.RequestId)).Where(sent => sent.RequestId != 0);
        Assert.Equal([(FrameKind.ClientCommitted, 1UL), (FrameKind.ClientAck, 2UL)], kinds);
        Assert.True(SequenceBody.TryDecode(rig.Front.Of(FrameKind.ClientCommitted).Single().Body, out var committed));
        Assert.Equal(1UL, committed.Sequence);
    }

    /// <summary>Epoch 3 began at 2; both copies have 5 of its records left, the last one of epoch 3, and lost their power.</summary>
    private static OwnerRig Served(Attachment? attachment = null, ulong suspectSince = 2)
    {
        var rig = new OwnerRig(2, FailureModeKind.AlwaysOn);
        VolumeEvent[] before =
        [
            new EpochStarted(rig.Machine.Volume, new Epoch(2), rig.Nodes[0], "n0"), new EpochOpened(rig.Machine.Volume, new Epoch(2), 0, 1, [rig.Member(0), rig.Member(1)]),
            new EpochStarted(rig.Machine.Volume, new Epoch(Epoch), rig.Nodes[0], "n0"), new EpochOpened(rig.Machine.Volume, new Epoch(Epoch), 2, 2, [rig.Member(0), rig.Member(1)]),
        ];
        rig.Journaled(before);
        if (attachment is not null) rig.Journaled(new AttachmentChanged(rig.Machine.Volume, attachment));
        rig.Machine.Start();
        rig.Journal();
        for (var index = 0; index < 2; index++) rig.Promised(index, Left, Epoch, Epoch, openCount: 2, suspectSince: suspectSince);
        for (var index = 0; index < 2; index++) rig.Truncated(index, Left);
        rig.Journal();
        for (var index = 0; index < 2; index++) rig.Stamped(index);
        Assert.Equal(VolumePhase.Serving, rig.Machine.Phase);
        return rig;
    }

    private static void Open(OwnerRig rig, SessionId session, ulong seen, ulong epoch = Epoch) =>
        rig.Client(null, FrameKind.SessionOpen, 0, new SessionOpenBody(session, 1000, seen == 0 ? 0 : epoch, seen).Encode(new byte[SessionOpenBody.SizeBytes]));

    private static void Present(OwnerRig rig, SessionId session, ulong sequence)
    {
        var header = new RecordHeader { Session = session, RequestId = 100 + sequence, AnsweredBelow = 100, Range = new BlockRange(sequence, 1), Sequence = sequence };
        var record = SimRecords.Write(header, sequence);
        rig.Machine.OnClientFrame(rig.Front, FrameHeader.Of(FrameKind.Presented, rig.Machine.Volume, 0, header.RequestId), record.Span, record);
        record.Release();
    }

    private static IoStatus Opened(OwnerRig rig) => rig.Front.LastOf(FrameKind.SessionOpened).Status;

    private static List<(ulong Sequence, ulong RequestId)> Appends(OwnerRig rig) => [.. rig.Links[1].Of(FrameKind.Append).Select(sent =>
    {
        RecordHeader.TryDecode(sent.Body, out var record);
        return (record.Sequence, record.RequestId);
    })];
}
