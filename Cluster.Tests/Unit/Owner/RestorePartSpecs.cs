using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Owner;

namespace Cluster.Tests.Unit.Owner;

/// <summary>R19: a restore goes part by part, and ends. Each scenario names the line whose removal breaks it.</summary>
public sealed class RestorePartSpecs
{
    private const ulong Part = 24;
    private readonly List<(IoStatus Status, string Sentence)> _answers = [];

    [Fact(DisplayName = "R19: each part of a restore waits until the one before it is on media everywhere, nobody is let in or makes a snapshot between them, and it ends after the last")]
    public void Parts_in_turn()
    {
        // Guards PumpMarker: DurableEverywhere; AdmitOpen: IsRestoring; WhyNoMarker: IsRestoring; PumpRestore: MaxValue.
        using var rig = Serving(2);
        Restore(rig);
        Assert.Equal(new RestoreStarted(rig.Machine.Volume, 1), rig.Journal());
        foreach (var (sequence, part) in new[] { (2UL, new BlockSpan(0, 24)), (3UL, new BlockSpan(24, 48)), (4UL, new BlockSpan(48, ulong.MaxValue)) })
        {
            Assert.Equal(sequence, rig.Machine.Sequence);
            Assert.True(MarkerAt(rig, sequence) is { Creates: false, RestoreFrom: 1, Kept: [1] } marker && marker.Part == part);
            rig.Appended(0, sequence, durable: sequence);
            rig.Appended(1, sequence);
            Assert.Equal(sequence, rig.Machine.Sequence);
            Assert.Equal(IoStatus.Offline, Opened(rig));
            Assert.Equal(IoStatus.Busy, rig.Machine.CreateSnapshot("b").Status);
            Assert.Empty(rig.Proposals);
            rig.Appended(1, sequence, durable: sequence);
        }
        Assert.Equal(4UL, rig.Machine.Sequence);
        Assert.Equal((IoStatus.Offline, IoStatus.Busy), (Opened(rig), rig.Machine.CreateSnapshot("b").Status));
        Assert.Contains("it is being put back to snapshot \"a\": 100 % of its blocks are", rig.Machine.View().Reason, StringComparison.Ordinal);
        Assert.Empty(_answers);
        Assert.Equal(new RestoreEnded(rig.Machine.Volume), rig.Journal());
        Assert.Equal([IoStatus.Ok], _answers.Select(answer => answer.Status));
        Assert.Equal(("", IoStatus.Ok), (rig.Machine.View().Reason, Opened(rig)));
    }

    [Fact(DisplayName = "R19: an owner that finds a restore that has not ended begins it anew, without a wait for anybody, and lets nobody in before; who asks for it waits with it")]
    public void A_new_owner_goes_on()
    {
        // Guards PumpRestore: _restore is null; RestoreSnapshot: underWay.
        using var rig = Taken();
        Assert.True(MarkerAt(rig, 9) is { RestoreFrom: 1 } marker && marker.Part == new BlockSpan(0, 24));
        Assert.Equal(IoStatus.Offline, Opened(rig));
        Restore(rig);
        rig.Machine.RestoreSnapshot(2, (status, sentence) => _answers.Add((status, sentence)));
        Assert.Equal(IoStatus.Busy, Assert.Single(_answers).Status);
        for (ulong sequence = 9; sequence < 12; sequence++) OnMedia(rig, sequence);
        Assert.Single(_answers);
        Assert.Equal(IoStatus.Offline, Opened(rig));
        Assert.IsType<RestoreEnded>(rig.Journal());
        Assert.Equal(IoStatus.Ok, _answers[1].Status);
        Assert.Equal(IoStatus.Ok, Opened(rig));
    }

    [Fact(DisplayName = "R19: of two who wait for the same restore the newer one is answered, the other at once")]
    public void The_newest_waits()
    {
        using var rig = Serving(2);
        Restore(rig);
        Restore(rig);
        Assert.Equal(IoStatus.Offline, Assert.Single(_answers).Status);
        Assert.Single(rig.Proposals);
        rig.Journal();
        Restore(rig);
        Assert.Equal(2, _answers.Count);
        rig.Machine.Stop();
        Assert.Equal(3, _answers.Count);
        Assert.Equal("its owner ended meanwhile; the next one goes on with it; ask again to wait for that", _answers[2].Sentence);
    }

    [Fact(DisplayName = "R19: a restore that has just ended is done already when it is asked for again, until somebody writes")]
    public void Done_already()
    {
        // Guards RestoreSnapshot: _restored.
        using var rig = Serving(2);
        rig.RestorePart = ulong.MaxValue;
        Restore(rig);
        rig.Journal();
        OnMedia(rig, 2);
        rig.Journal();
        Restore(rig);
        Assert.Equal([IoStatus.Ok, IoStatus.Ok], _answers.Select(answer => answer.Status));
        Assert.Empty(rig.Proposals);
        rig.Open(new SessionId(0, 9));
        rig.Write(1, 3, session: new SessionId(0, 9));
        OnMedia(rig, 3);
        rig.Client(null, FrameKind.SessionClose, 0, new SessionOpenBody(new SessionId(0, 9), 1).Encode(new byte[SessionOpenBody.SizeBytes]));
        Restore(rig);
        Assert.Equal(2, _answers.Count);
        Assert.IsType<RestoreStarted>(rig.Journal());
    }

    [Fact(DisplayName = "R19: where a copy is on a node of an earlier version the volume goes back by one marker, which that node reads")]
    public void Earlier_versions()
    {
        // Guards AreParts.
        using var rig = Serving(2);
        rig.Links[1].CompatFeatures = ~MeshFeatures.PartialRestores;
        Restore(rig);
        rig.Journal();
        Assert.True(MarkerAt(rig, 2) is { RestoreFrom: 1 } marker && marker.Part == BlockSpan.All);
        OnMedia(rig, 2);
        Assert.IsType<RestoreEnded>(rig.Journal());
        Assert.Equal(IoStatus.Ok, Assert.Single(_answers).Status);
    }

    [Fact(DisplayName = "R19: a restore to a snapshot whose deletion was journaled just before it ends without a marker")]
    public void Deleted_before()
    {
        // Guards OnRestoreStarted: IsJournaled.
        using var rig = Serving(2);
        rig.Machine.Propose(new SnapshotDeleted(rig.Machine.Volume, 1));
        Restore(rig);
        rig.Journal();
        Assert.IsType<RestoreStarted>(rig.Journal());
        Assert.Equal(1UL, rig.Machine.Sequence);
        Assert.IsType<RestoreEnded>(rig.Journal());
        Assert.Equal(IoStatus.Missing, Assert.Single(_answers).Status);
        Assert.Equal(IoStatus.Ok, Opened(rig));
    }

    [Fact(DisplayName = "R19: a copy that comes back in the middle of a restore that needs it not is caught up once, behind its end")]
    public void Catch_up_afterwards()
    {
        // Guards StartNextCatchUp: IsRestoring; OnRestoreEnded.
        using var rig = Serving(3);
        rig.LinkDown(2);
        rig.Journal();
        for (var index = 0; index < 2; index++) rig.Stamped(index);
        Restore(rig);
        rig.Journal();
        rig.LinkUp(2);
        rig.Links[2].CompatFeatures = MeshFeatures.Current.Compat;
        rig.Promised(2, last: 1, lastEpoch: 1);
        for (ulong sequence = 2; sequence < 5; sequence++)
        {
            rig.Tick(2000);
            Assert.Empty(rig.Links[2].Of(FrameKind.CatchUpBegin));
            OnMedia(rig, sequence);
        }
        rig.Journal();
        rig.Tick(2000);
        Assert.True(CatchUpBody.TryDecode(rig.Links[2].Of(FrameKind.CatchUpBegin).Single().Body, out var begin));
        Assert.Equal(4UL, begin.Join);
    }

    [Fact(DisplayName = "R19: an owner that is moved away ends with the part that is under way")]
    public void A_move_in_between()
    {
        // Guards PumpRestore: Phase.
        using var rig = Serving(2);
        Restore(rig);
        rig.Journal();
        rig.Machine.Drain();
        Assert.False(rig.Machine.IsDrained);
        OnMedia(rig, 2);
        Assert.Equal((true, 2UL), (rig.Machine.IsDrained, rig.Machine.Sequence));
        Assert.Equal(IoStatus.Offline, Assert.Single(_answers).Status);
        Assert.Empty(rig.Proposals);
    }

    /// <summary>Two copies, one snapshot at sequence 1, and nobody who uses it.</summary>
    private static OwnerRig Serving(int copies)
    {
        var rig = OwnerRig.Serving(copies);
        Parts(rig);
        Assert.Equal(IoStatus.Ok, rig.Machine.CreateSnapshot("a").Status);
        for (var index = 0; index < copies; index++) rig.Appended(index, 1, durable: 1);
        rig.Journal();
        rig.Snapshots = [1];
        rig.Client(null, FrameKind.SessionClose, 0, new SessionOpenBody(rig.Session, 1).Encode(new byte[SessionOpenBody.SizeBytes]));
        return rig;
    }

    /// <summary>The next epoch, of copies with somebody's windows, which end at 8, in the middle of a restore.</summary>
    private static OwnerRig Taken()
    {
        var rig = new OwnerRig(2, FailureModeKind.Soft) { Snapshots = [1, 2] };
        Parts(rig);
        rig.Windows.Apply(rig.Session, 1, 1, 1);
        rig.Journaled(new EpochStarted(rig.Machine.Volume, new Epoch(3), rig.Nodes[1], "n1"), new EpochOpened(rig.Machine.Volume, new Epoch(3), 0, 1, [rig.Member(0), rig.Member(1)]),
            new SnapshotCreated(rig.Machine.Volume, 1, "a", 1), new SnapshotCreated(rig.Machine.Volume, 2, "b", 1), new RestoreStarted(rig.Machine.Volume, 1));
        rig.Machine.Start();
        rig.Journal();
        for (var index = 0; index < 2; index++) rig.Promised(index, 8, lastEpoch: 3, inSyncEpoch: 3, tailFrom: 8);
        for (var index = 0; index < 2; index++) rig.Truncated(index, 8);
        rig.Journal();
        for (var index = 0; index < 2; index++) rig.Stamped(index);
        Assert.Equal(VolumePhase.Serving, rig.Machine.Phase);
        return rig;
    }

    private static void Parts(OwnerRig rig)
    {
        rig.RestorePart = Part;
        foreach (var link in rig.Links) link.CompatFeatures = MeshFeatures.Current.Compat;
    }

    private void Restore(OwnerRig rig) => rig.Machine.RestoreSnapshot(1, (status, sentence) => _answers.Add((status, sentence)));

    private static void OnMedia(OwnerRig rig, ulong sequence)
    {
        for (var index = 0; index < 2; index++) rig.Appended(index, sequence, durable: sequence);
    }

    private static IoStatus Opened(OwnerRig rig)
    {
        rig.Open(new SessionId(0, 9));
        return rig.Front.LastOf(FrameKind.SessionOpened).Status;
    }

    private static SnapshotMarker? MarkerAt(OwnerRig rig, ulong sequence)
    {
        foreach (var (_, body) in rig.Links[1].Of(FrameKind.Append))
        {
            Assert.Equal(IoStatus.Ok, RecordHeader.TryDecode(body, out var record));
            if (record.Sequence == sequence) return SnapshotMarker.TryDecode(body.AsSpan(record.PayloadOffset));
        }
        return null;
    }
}
