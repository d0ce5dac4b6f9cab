using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Owner;
using Cluster.Tests.Simulation.Volumes;

namespace Cluster.Tests.Unit.Owner;

/// <summary>R19: how an owner makes, deletes and goes back to snapshots. Each scenario names the line whose removal breaks it.</summary>
[Collection("Cluster simulation")]
public sealed class SnapshotSpecs
{
    private static readonly long WriteCost = Limits.CreditOf(RecordHeader.SizeBytes + BlockDescriptor.SizeBytes + SimRecords.EncodedBytesMin);

    private static SnapshotMarker? MarkerAt(OwnerRig rig, int index, ulong sequence)
    {
        foreach (var (_, body) in rig.Links[index].Of(FrameKind.Append))
        {
            Assert.Equal(IoStatus.Ok, RecordHeader.TryDecode(body, out var record));
            if (record.Sequence == sequence) return record.Kind == RecordKind.Marker ? SnapshotMarker.TryDecode(body.AsSpan(record.PayloadOffset)) : null;
        }
        return null;
    }

    private static ulong[] KeptAt(OwnerRig rig, ulong sequence) => [.. MarkerAt(rig, 1, sequence)!.Kept];

    private static void OnMedia(OwnerRig rig, ulong sequence, int copies)
    {
        for (var index = 0; index < copies; index++) rig.Appended(index, sequence, durable: sequence);
    }

    /// <summary>A snapshot of that name is made, next in the order, and journaled.</summary>
    private static ulong Make(OwnerRig rig, string name, int copies)
    {
        Assert.Equal(IoStatus.Ok, rig.Machine.CreateSnapshot(name).Status);
        OnMedia(rig, rig.Machine.Sequence, copies);
        var created = (SnapshotCreated)rig.Journal();
        rig.Snapshots = [.. rig.Snapshots, created.Sequence];
        return created.Sequence;
    }

    /// <summary>The next epoch serves a volume of two copies, with these events before it, whose copies end there.</summary>
    private static OwnerRig Taken(ulong[] held, Func<OwnerRig, VolumeEvent[]> events, ulong last = 8)
    {
        var rig = new OwnerRig(2, FailureModeKind.Soft) { Snapshots = held };
        rig.Journaled(events(rig));
        rig.Machine.Start();
        rig.Journal();
        for (var index = 0; index < 2; index++) rig.Promised(index, last, lastEpoch: 3, inSyncEpoch: 3, tailFrom: last);
        for (var index = 0; index < 2; index++) rig.Truncated(index, last);
        rig.Journal();
        for (var index = 0; index < 2; index++) rig.Stamped(index);
        Assert.Equal(VolumePhase.Serving, rig.Machine.Phase);
        return rig;
    }

    private static VolumeEvent[] Opened(OwnerRig rig, params VolumeEvent[] more) =>
        [new EpochStarted(rig.Machine.Volume, new Epoch(3), rig.Nodes[1], "n1"), new EpochOpened(rig.Machine.Volume, new Epoch(3), 0, 1, [rig.Member(0), rig.Member(1)]), .. more];

    private static void CloseSession(OwnerRig rig) =>
        rig.Client(null, FrameKind.SessionClose, 0, new SessionOpenBody(rig.Session, 1).Encode(new byte[SessionOpenBody.SizeBytes]));

    private static void Trim(OwnerRig rig, ulong requestId, ulong block)
    {
        var record = SimRecords.Trim(new RecordHeader { Session = rig.Session, RequestId = requestId, AnsweredBelow = 1, Range = new BlockRange(block, 1) });
        rig.Machine.OnClientFrame(rig.Front, FrameHeader.Of(FrameKind.ClientWrite, rig.Machine.Volume, 0, requestId), record.Span, record);
        record.Release();
    }

    private static RecordKind KindAt(OwnerRig rig, ulong sequence)
    {
        foreach (var (_, body) in rig.Links[0].Of(FrameKind.Append))
        {
            if (RecordHeader.TryDecode(body, out var record) == IoStatus.Ok && record.Sequence == sequence) return record.Kind;
        }
        return default;
    }

    [Fact(DisplayName = "R19: a snapshot is journaled only when its marker is on media on every copy in sync")]
    public void R19_journaled_from_media()
    {
        // Guards PumpMarker: DurableEverywhere, and AppendMarker: AskSync.
        using var rig = OwnerRig.Serving(3);
        Assert.Equal(IoStatus.Ok, rig.Machine.CreateSnapshot("a").Status);
        for (var index = 0; index < 3; index++)
        {
            var marker = MarkerAt(rig, index, 1);
            Assert.True(marker is { Creates: true, RestoreFrom: 0 } && marker.Kept.IsEmpty);
            Assert.Equal(1UL, BitConverter.ToUInt64(rig.Links[index].Of(FrameKind.Sync).Last().Body));
        }
        OnMedia(rig, 1, 2);
        rig.Appended(2, 1);
        rig.Tick();
        Assert.Equal(1UL, rig.Machine.Committed);
        Assert.Empty(rig.Proposals);
        rig.Appended(2, 1, durable: 1);
        var created = (SnapshotCreated)rig.Proposals.Single();
        Assert.Equal((1UL, "a"), (created.Sequence, created.Name));
    }

    [Fact(DisplayName = "R19: until a marker is on media everywhere no write and no trim is sequenced behind it; then the trims go first")]
    public void R19_writes_are_held()
    {
        // Guards MustHold and MayGiveHeld: IsMarkerOnItsWay; PumpHeldTrims.
        using var rig = OwnerRig.Serving(2, grants: (ulong)WriteCost);
        rig.CreditBytes = 0;
        rig.Write(1, 3);
        rig.Machine.CreateSnapshot("a");
        rig.Write(2, 4);
        Trim(rig, 3, 5);
        for (var index = 0; index < 2; index++) rig.Appended(index, 2);
        rig.Tick();
        Assert.Equal((IoStatus.Ok, 2UL, 2), (rig.AnswerTo(1), rig.Machine.Sequence, rig.Machine.HeldWrites));
        OnMedia(rig, 2, 2);
        // There is no room for the write, and the trim may be what makes it.
        Assert.Equal((3UL, 1, RecordKind.Trim), (rig.Machine.Sequence, rig.Machine.HeldWrites, KindAt(rig, 3)));
        rig.CreditBytes = (ulong)WriteCost;
        OnMedia(rig, 3, 2);
        Assert.Equal((4UL, 0, RecordKind.Write), (rig.Machine.Sequence, rig.Machine.HeldWrites, KindAt(rig, 4)));
    }

    [Fact(DisplayName = "R19, R13: a session is not told of a marker that is on no media: it would claim what it can't present")]
    public void R19_no_claim_to_a_marker()
    {
        // Guards SendClientAck: CommittedForSessions.
        using var rig = OwnerRig.Serving(2);
        rig.Write(1, 3);
        rig.Machine.CreateSnapshot("a");
        for (var index = 0; index < 2; index++) rig.Appended(index, 2);
        Assert.Equal(2UL, rig.Machine.Committed);
        rig.Write(1, 3);
        Assert.True(ClientAckBody.TryDecode(rig.Front.Of(FrameKind.ClientAck).Last().Body, out var ack));
        Assert.Equal(1UL, ack.CommittedSequence);
        OnMedia(rig, 2, 2);
        rig.Write(1, 3);
        Assert.True(ClientAckBody.TryDecode(rig.Front.Of(FrameKind.ClientAck).Last().Body, out ack));
        Assert.Equal(2UL, ack.CommittedSequence);
    }

    [Fact(DisplayName = "R19: as long as a snapshot is not journaled no other marker is appended, and the next one names it")]
    public void R19_one_at_a_time()
    {
        // Guards WhyNoMarker: _marker; AppendMarker: Kept.
        using var rig = OwnerRig.Serving(2);
        rig.Machine.CreateSnapshot("a");
        Assert.Equal(IoStatus.Busy, rig.Machine.CreateSnapshot("a").Status);
        Assert.Equal(IoStatus.Busy, rig.Machine.CreateSnapshot("b").Status);
        OnMedia(rig, 1, 2);
        rig.Snapshots = [1];
        rig.Tick();
        Assert.Equal((IoStatus.Busy, 1UL), (rig.Machine.CreateSnapshot("b").Status, rig.Machine.Sequence));
        rig.Journal();
        Assert.Equal(IoStatus.Conflict, rig.Machine.CreateSnapshot("a").Status);
        Assert.Equal(IoStatus.Ok, rig.Machine.CreateSnapshot("b").Status);
        Assert.Equal([1UL], KeptAt(rig, 2));
    }

    [Fact(DisplayName = "R19: a snapshot whose owner ended before it was journaled goes, and its name can be used again")]
    public void R19_an_orphan_goes()
    {
        // Guards TryServe: PumpSnapshots.
        using var rig = Taken([3, 7], rig => Opened(rig, new SnapshotCreated(rig.Machine.Volume, 3, "kept", 1)));
        Assert.True(MarkerAt(rig, 1, 9) is { Creates: false, RestoreFrom: 0, Kept: [3] });
        rig.Snapshots = [3];
        OnMedia(rig, 9, 2);
        rig.Tick();
        Assert.Equal(9UL, rig.Machine.Sequence);
        Assert.Equal(IoStatus.Ok, rig.Machine.CreateSnapshot("orphan").Status);
        Assert.Equal([3UL], KeptAt(rig, 10));
    }

    [Fact(DisplayName = "R19: a deletion is journaled first; the marker follows, from the next owner if this one ends in between")]
    public void R19_a_deletion_is_finished()
    {
        // Guards OnSnapshotDeleted and TryServe: PumpSnapshots.
        using var rig = OwnerRig.Serving(2);
        Make(rig, "a", 2);
        Make(rig, "b", 2);
        rig.Machine.Propose(new SnapshotDeleted(rig.Machine.Volume, 1));
        rig.Tick();
        Assert.Equal(2UL, rig.Machine.Sequence);
        rig.Journal();
        Assert.True(MarkerAt(rig, 1, 3) is { Creates: false, Kept: [2] });

        using var next = Taken([3, 7], rig => Opened(rig, new SnapshotCreated(rig.Machine.Volume, 3, "a", 1), new SnapshotCreated(rig.Machine.Volume, 7, "b", 1),
            new SnapshotDeleted(rig.Machine.Volume, 3)));
        Assert.Equal([7UL], KeptAt(next, 9));
    }

    [Fact(DisplayName = "R19: a copy that catches up never gets a restore to apply: it begins anew behind the restore, before any frame says that this is committed")]
    public void R19_no_restore_for_a_copy_that_catches_up()
    {
        // Guards TryCommit: KeepFromRestores.
        using var rig = OwnerRig.Serving(3);
        Make(rig, "a", 3);
        rig.LinkDown(2);
        rig.Journal();
        for (var index = 0; index < 2; index++) rig.Stamped(index);
        CloseSession(rig);
        rig.LinkUp(2);
        rig.Promised(2, last: 1, lastEpoch: 1);
        Assert.True(SnapshotsBody.TryDecode(rig.Links[2].Of(FrameKind.CatchUpSnapshots).Single().Body, out var sent));
        Assert.Equal([1UL], [.. sent.Sequences]);
        rig.CaughtUp(2, 0);

        rig.Tick(VolumeMachine.ReturnGraceMs);
        IoStatus? answer = null;
        rig.Machine.RestoreSnapshot(1, (status, _) => answer = status);
        Assert.Equal(new RestoreStarted(rig.Machine.Volume, 1), rig.Journal());
        Assert.True(MarkerAt(rig, 1, 2) is { Creates: false, RestoreFrom: 1, Kept: [1] });
        OnMedia(rig, 2, 2);
        Assert.Null(answer);
        Assert.Equal(new RestoreEnded(rig.Machine.Volume), rig.Journal());
        Assert.Equal(IoStatus.Ok, answer);
        Assert.All(rig.Links[2].Of(FrameKind.Append), frame => Assert.InRange(frame.Header.Argument, 0UL, 1UL));
        rig.Promised(2, last: 1, lastEpoch: 1, catchingUp: true);
        rig.Tick(5000 - VolumeMachine.ReturnGraceMs);
        Assert.Equal(2, rig.Links[2].Of(FrameKind.CatchUpBegin).Count());
        Assert.True(CatchUpBody.TryDecode(rig.Links[2].Of(FrameKind.CatchUpBegin).Last().Body, out var begin));
        Assert.Equal((1UL, 2UL), (begin.From, begin.Join));
    }

    [Fact(DisplayName = "R19: a restore that waits for copies to come in sync keeps none of them from being caught up")]
    public void R19_a_restore_waits_for_copies()
    {
        // Guards StartNextCatchUp: InSyncMin.
        using var rig = OwnerRig.Serving(3);
        Make(rig, "a", 3);
        CloseSession(rig);
        rig.Tick(VolumeMachine.ReturnGraceMs);
        IoStatus? answer = null;
        rig.Machine.RestoreSnapshot(1, (status, _) => answer = status);
        rig.Journal();
        foreach (var index in new[] { 1, 2 })
        {
            rig.Appended(index, 1, status: IoStatus.DeviceError);
            rig.Journal();
            rig.Stamped(0);
        }
        Assert.Single(rig.State.InSync);
        Assert.Null(answer);
        rig.LinkDown(2);
        rig.LinkUp(2);
        rig.Promised(2, last: 1, lastEpoch: 1);
        rig.Tick(2000);
        Assert.Single(rig.Links[2].Of(FrameKind.CatchUpBegin));
    }

    [Fact(DisplayName = "R19: a volume is not put back under those who use it, or may be on their way back, and none of them is let in before it is done")]
    public void R19_nobody_uses_it()
    {
        // Guards WhyNoRestore; AdmitOpen: IsRestoring.
        using var rig = OwnerRig.Serving(2);
        Make(rig, "a", 2);
        rig.Tick(VolumeMachine.ReturnGraceMs);
        IoStatus? answer = null;
        void Restore(ulong snapshot) => rig.Machine.RestoreSnapshot(snapshot, (status, _) => answer = status);
        Restore(7);
        Assert.Equal(IoStatus.Missing, answer);
        Restore(1);
        Assert.Equal(IoStatus.Busy, answer);
        rig.Machine.OnLinkDown(rig.Front);
        Restore(1);
        Assert.Equal(IoStatus.Busy, answer);
        rig.Tick(VolumeMachine.ReturnGraceMs);
        rig.Machine.OnJournaled(new AttachmentChanged(rig.Machine.Volume, new Attachment(1, AttachmentMode.Exclusive, rig.Front.Peer, "front")));
        Restore(1);
        Assert.Equal((IoStatus.Busy, 1UL), (answer, rig.Machine.Sequence));
        rig.Machine.OnJournaled(new AttachmentChanged(rig.Machine.Volume, new Attachment(2, AttachmentMode.Shared, default, "")));

        answer = null;
        Restore(1);
        rig.Open(new SessionId(2, 9));
        Assert.Equal(IoStatus.Offline, rig.Front.LastOf(FrameKind.SessionOpened).Status);
        rig.Journal();
        rig.Open(new SessionId(2, 9));
        Assert.Equal(IoStatus.Offline, rig.Front.LastOf(FrameKind.SessionOpened).Status);
        rig.Appended(0, 2, durable: 2);
        rig.Appended(1, 2);
        Assert.Null(answer);
        rig.Open(new SessionId(2, 9));
        Assert.Equal(IoStatus.Offline, rig.Front.LastOf(FrameKind.SessionOpened).Status);
        rig.Appended(1, 2, durable: 2);
        Assert.Null(answer);
        rig.Open(new SessionId(2, 9));
        Assert.Equal(IoStatus.Offline, rig.Front.LastOf(FrameKind.SessionOpened).Status);
        rig.Journal();
        Assert.Equal(IoStatus.Ok, answer);
        rig.Open(new SessionId(2, 9));
        Assert.Equal(IoStatus.Ok, rig.Front.LastOf(FrameKind.SessionOpened).Status);
    }

    [Fact(DisplayName = "R19: as long as a client whose connection was lost holds its requests, the volume is not put back under it")]
    public void R19_a_lost_client_may_return()
    {
        // Guards ReturnLeftMs.
        using var rig = OwnerRig.Serving(2);
        Make(rig, "a", 2);
        rig.Machine.OnLinkDown(rig.Front);
        var answers = new List<(IoStatus Status, string Sentence)>();
        rig.Tick(VolumeMachine.ReturnGraceMs);
        rig.Machine.RestoreSnapshot(1, (status, sentence) => answers.Add((status, sentence)));
        Assert.Equal(IoStatus.Busy, Assert.Single(answers).Status);
        Assert.Contains("may be on the way back, with writes, for 4 s more; to cut them off", answers[0].Sentence, StringComparison.Ordinal);
        Assert.Equal(1UL, rig.Machine.Sequence);
        rig.Tick(OwnerRig.HoldMs);
        rig.Machine.RestoreSnapshot(1, (status, sentence) => answers.Add((status, sentence)));
        rig.Journal();
        Assert.Equal(2UL, rig.Machine.Sequence);
    }

    [Fact(DisplayName = "R19: who waits for a restore is told when its owner ends before it knows")]
    public void R19_an_owner_that_ends_answers()
    {
        using var rig = OwnerRig.Serving(2);
        Make(rig, "a", 2);
        CloseSession(rig);
        var answers = new List<IoStatus>();
        rig.Tick(VolumeMachine.ReturnGraceMs);
        rig.Machine.RestoreSnapshot(1, (status, _) => answers.Add(status));
        rig.Machine.Stop();
        Assert.Equal([IoStatus.Offline], answers);
    }

    [Fact(DisplayName = "R19: an owner that is moved away journals the snapshot that it is making first")]
    public void R19_a_move_waits()
    {
        // Guards TryFinishDraining: _marker.
        using var rig = OwnerRig.Serving(2);
        rig.Machine.CreateSnapshot("a");
        rig.Machine.Drain();
        OnMedia(rig, 1, 2);
        Assert.False(rig.Machine.IsDrained);
        rig.Journal();
        Assert.True(rig.Machine.IsDrained);
    }

    [Fact(DisplayName = "R19, P7: the snapshots of a volume that was recovered are adopted before any marker, and one that is deleted since is not adopted again")]
    public void R19_adoption_after_a_recovery()
    {
        // Guards PumpSnapshots: Adopt; WhyNoMarker: _adopting; VolumeState: RecoveredAndDeleted.
        static VolumeEvent Recovered(OwnerRig rig) => new VolumeRecovered(rig.Machine.Volume, rig.State.Spec!, [rig.Placement(0), rig.Placement(1)], new Epoch(100), 3, 5, 100,
            [rig.Member(0), rig.Member(1)]);
        using var rig = Taken([2, 4], rig => [Recovered(rig)], last: 5);
        Assert.Equal([(2UL, "recovered-2"), (4UL, "recovered-4")], rig.Proposals.Cast<SnapshotCreated>().Select(created => (created.Sequence, created.Name)));
        Assert.Equal(IoStatus.Busy, rig.Machine.CreateSnapshot("b").Status);
        rig.Journal();
        rig.Tick();
        Assert.Equal(IoStatus.Busy, rig.Machine.CreateSnapshot("b").Status);
        rig.Journal();
        Assert.Equal(IoStatus.Ok, rig.Machine.CreateSnapshot("b").Status);
        Assert.Equal([2UL, 4UL], KeptAt(rig, rig.Machine.Sequence));

        using var next = Taken([2, 4], rig => [Recovered(rig), new SnapshotCreated(rig.Machine.Volume, 2, "recovered-2", 1),
            new SnapshotCreated(rig.Machine.Volume, 4, "recovered-4", 1), new SnapshotDeleted(rig.Machine.Volume, 2)], last: 5);
        Assert.Empty(next.Proposals);
        Assert.Equal([4UL], KeptAt(next, next.Machine.Sequence));
    }

    [Fact(DisplayName = "R19: with fewer copies in sync than the minimum, or beyond the most that a volume may have, no snapshot is made")]
    public void R19_refusals()
    {
        // Guards CreateSnapshot and WhyNoMarker.
        using var rig = OwnerRig.Serving(2, FailureModeKind.Hard);
        rig.LinkDown(1);
        rig.LinkUp(1);
        rig.Promised(1, status: IoStatus.Missing);
        rig.Journal();
        Assert.Equal(IoStatus.Offline, rig.Machine.CreateSnapshot("a").Status);

        using var full = Taken([.. Enumerable.Range(1, Limits.SnapshotsMax).Select(index => (ulong)index)], rig => Opened(rig,
            [.. Enumerable.Range(1, Limits.SnapshotsMax).Select(index => new SnapshotCreated(rig.Machine.Volume, (ulong)index, $"s{index}", 1))]));
        Assert.Equal(IoStatus.OutOfRange, full.Machine.CreateSnapshot("one more").Status);
    }

    [Fact(DisplayName = "R19: a client's record of kind Marker is refused as malformed")]
    public void R19_clients_make_no_markers()
    {
        // Guards OnClientWrite: RecordKind.Marker.
        using var rig = OwnerRig.Serving(2);
        var record = new SnapshotMarker(false, 0, ImmutableArray<ulong>.Empty).Build(rig.Machine.Volume, out var header);
        (header.Session, header.RequestId, header.AnsweredBelow) = (rig.Session, 1, 1);
        header.Encode(record.Span);
        rig.Machine.OnClientFrame(rig.Front, FrameHeader.Of(FrameKind.ClientWrite, rig.Machine.Volume, 0, 1), record.Span, record);
        record.Release();
        Assert.Equal((IoStatus.Malformed, 0UL), (rig.AnswerTo(1), rig.Machine.Sequence));
    }
}
