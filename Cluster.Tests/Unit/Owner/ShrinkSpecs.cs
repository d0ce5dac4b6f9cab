using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Tests.Simulation.Volumes;

namespace Cluster.Tests.Unit.Owner;

/// <summary>How an owner makes its volume smaller (docs/consistency.md, C20). Each scenario names the line whose removal breaks it. The rig's volume has 64 blocks.</summary>
[Collection("Cluster simulation")]
public sealed class ShrinkSpecs
{
    private readonly List<(IoStatus Status, string Sentence)> _answers = [];

    private void Shrink(OwnerRig rig, ulong blocks, ulong revision = 1) => rig.Machine.Shrink(
        new SpecChanged(rig.Machine.Volume, rig.State.Spec! with { SizeBytes = blocks * Limits.BlockBytes }, revision), (status, sentence) => _answers.Add((status, sentence)));

    private static void OnMedia(OwnerRig rig, ulong sequence)
    {
        for (var index = 0; index < 2; index++) rig.Appended(index, sequence, durable: sequence);
    }

    private static void Trim(OwnerRig rig, ulong requestId, BlockRange range)
    {
        var record = SimRecords.Trim(new RecordHeader { Session = rig.Session, RequestId = requestId, AnsweredBelow = 1, Range = range });
        rig.Machine.OnClientFrame(rig.Front, FrameHeader.Of(FrameKind.ClientWrite, rig.Machine.Volume, 0, requestId), record.Span, record);
        record.Release();
    }

    private static ulong SizeTold(OwnerRig rig)
    {
        Assert.True(SessionOpenedBody.TryDecode(rig.Front.Of(FrameKind.SessionNotice).Last().Body, out var volume));
        return volume.SizeBytes;
    }

    [Fact(DisplayName = "C20: a volume shrinks only once all that was sequenced before is committed and on media on every copy in sync: nothing can come back beyond the end")]
    public void Waits_for_media()
    {
        // Guards PumpShrink: Committed, DurableEverywhere; Shrink: AskSync.
        using var rig = OwnerRig.Serving(2);
        rig.Write(1, 40);
        Trim(rig, 2, new BlockRange(32, 32));
        Shrink(rig, 32);
        Assert.Equal(2UL, BitConverter.ToUInt64(rig.Links[1].Of(FrameKind.Sync).Last().Body));
        for (var index = 0; index < 2; index++) rig.Appended(index, 2);
        rig.Appended(0, 2, durable: 2);
        rig.Appended(1, 2, durable: 1);
        rig.Tick();
        Assert.Empty(rig.Proposals);
        rig.Appended(1, 2, durable: 2);
        Assert.Equal(32 * Limits.BlockBytes, (long)Assert.IsType<SpecChanged>(rig.Proposals.Single()).Spec.SizeBytes);
        Assert.Empty(_answers);
        rig.Journal();
        Assert.Equal((IoStatus.Ok, ""), _answers.Single());
        Assert.Equal(32UL * Limits.BlockBytes, SizeTold(rig));
    }

    [Fact(DisplayName = "C20: what reaches beyond the new end is held from the moment that the shrink begins, and refused once it is journaled; what does not goes on")]
    public void Holds_what_is_beyond()
    {
        // Guards MustHold and MayGiveHeld: IsBeyondShrink.
        using var rig = OwnerRig.Serving(2);
        rig.Write(1, 3);
        Shrink(rig, 32);
        Trim(rig, 2, new BlockRange(31, 2));
        Trim(rig, 3, new BlockRange(31, 1));
        Assert.Equal((2UL, 1), (rig.Machine.Sequence, rig.Machine.HeldWrites));
        rig.Write(4, 31);
        Assert.Equal(2, rig.Machine.HeldWrites);
        rig.Write(5, 32);
        OnMedia(rig, 2);
        rig.Tick();
        Assert.Equal((2UL, 3), (rig.Machine.Sequence, rig.Machine.HeldWrites));
        rig.Journal();
        Assert.Equal((IoStatus.OutOfRange, IoStatus.Ok, IoStatus.OutOfRange), (rig.AnswerTo(2), rig.AnswerTo(3), rig.AnswerTo(5)));
        Assert.Equal((3UL, 0), (rig.Machine.Sequence, rig.Machine.HeldWrites));
        rig.Write(6, 40);
        rig.Read(7, 32);
        Assert.Equal((IoStatus.OutOfRange, IoStatus.OutOfRange), (rig.AnswerTo(6), rig.AnswerTo(7)));
    }

    [Fact(DisplayName = "C20: data beyond the new end refuses the shrink and names its place; what was held goes on then")]
    public void Refused_over_data()
    {
        // Guards FindBeyond.
        using var rig = OwnerRig.Serving(2);
        rig.Data.AddRange([3, 40, 50]);
        rig.Write(1, 3);
        Shrink(rig, 32);
        rig.Write(2, 33);
        OnMedia(rig, 1);
        var (status, sentence) = _answers.Single();
        Assert.Equal(IoStatus.Conflict, status);
        Assert.Contains($"offset {40 * Limits.BlockBytes}", sentence, StringComparison.Ordinal);
        Assert.Equal((2UL, 0), (rig.Machine.Sequence, rig.Machine.HeldWrites));
        Assert.Empty(rig.Proposals);
        // Data that ends where the new end is does not matter.
        rig.Data.Remove(40);
        rig.Data.Remove(50);
        Shrink(rig, 4);
        OnMedia(rig, 2);
        Assert.IsType<SpecChanged>(rig.Proposals.Single());
    }

    [Fact(DisplayName = "C20: a map with much in it is looked through bit by bit, and what reaches beyond the new end is held until that is done")]
    public void Looks_bit_by_bit()
    {
        // Guards PumpShrink: LookedUpTo.
        using var rig = OwnerRig.Serving(2);
        rig.LookMax = 8;
        Shrink(rig, 32);
        rig.Write(1, 60);
        for (var tick = 0; tick < 3; tick++)
        {
            Assert.Empty(rig.Proposals);
            Assert.Equal(1, rig.Machine.HeldWrites);
            rig.Tick();
        }
        Assert.IsType<SpecChanged>(rig.Proposals.Single());
    }

    [Fact(DisplayName = "C20: a volume with snapshots does not shrink, nor while deleted ones are still in the map; and none is made while it shrinks")]
    public void Snapshots_block_it()
    {
        // Guards WhyNoShrink; WhyNoMarker: _shrink.
        using var rig = OwnerRig.Serving(2);
        Assert.Equal(IoStatus.Ok, rig.Machine.CreateSnapshot("a").Status);
        Shrink(rig, 32);
        Assert.Equal(IoStatus.Busy, _answers[^1].Status);
        OnMedia(rig, 1);
        rig.Journal();
        rig.Snapshots = [1];
        Shrink(rig, 32);
        Assert.Equal(IoStatus.Conflict, _answers[^1].Status);
        Assert.Contains("1 snapshot", _answers[^1].Sentence, StringComparison.Ordinal);
        rig.Machine.Propose(new SnapshotDeleted(rig.Machine.Volume, 1));
        rig.Journal();
        Shrink(rig, 32);
        Assert.Equal(IoStatus.Busy, _answers[^1].Status);
        rig.Snapshots = [];
        OnMedia(rig, 2);
        Shrink(rig, 32);
        Assert.Equal(3, _answers.Count);
        Assert.Equal(IoStatus.Busy, rig.Machine.CreateSnapshot("b").Status);
        rig.Journal();
        Assert.Equal(IoStatus.Ok, _answers[^1].Status);
        Assert.Equal(IoStatus.Ok, rig.Machine.CreateSnapshot("b").Status);
    }

    [Fact(DisplayName = "C20: another change that is journaled first ends the shrink; so does an owner that ends or drains, which answers that nobody knows")]
    public void Overtaken_or_ended()
    {
        // Guards SettleShrink; Stop and Drain: EndShrink.
        using var rig = OwnerRig.Serving(2);
        rig.Write(1, 3);
        Shrink(rig, 32);
        rig.Write(2, 60);
        rig.Machine.Propose(new SpecChanged(rig.Machine.Volume, rig.State.Spec!, 2));
        rig.Journal();
        Assert.Equal(IoStatus.Conflict, _answers.Single().Status);
        Assert.Equal(2UL, rig.Machine.Sequence);
        // One that comes late overtakes nothing: the shrink may be on its way to the journal, and what reaches beyond must stay held.
        for (var index = 0; index < 2; index++) rig.Stamped(index);
        Shrink(rig, 32, revision: 4);
        OnMedia(rig, 2);
        rig.Write(3, 60);
        Assert.IsType<SpecChanged>(rig.Proposals.Single());
        rig.Machine.OnJournaled(new SpecChanged(rig.Machine.Volume, rig.State.Spec!, 3));
        Assert.Equal((1, 1), (rig.Machine.HeldWrites, _answers.Count));
        rig.Journal();
        Assert.Equal((IoStatus.Ok, IoStatus.OutOfRange), (_answers[^1].Status, rig.AnswerTo(3)));
        Shrink(rig, 16, revision: 5);
        rig.Write(4, 3);
        Shrink(rig, 16, revision: 6);
        Assert.Equal(IoStatus.Busy, _answers[^1].Status);
        rig.Machine.Drain();
        Assert.Equal((IoStatus.Offline, 4), (_answers[^1].Status, _answers.Count));

        using var other = OwnerRig.Serving(2);
        Shrink(other, 32);
        Assert.IsType<SpecChanged>(other.Proposals.Single());
        other.Machine.Stop();
        Assert.Equal((IoStatus.Offline, 5), (_answers[^1].Status, _answers.Count));
    }
}
