using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Repair;

namespace Cluster.Tests.Unit.Owner;

/// <summary>The owner's part of a scrub; copies are played by hand. The rig's volume has 64 blocks: one range.</summary>
[Collection("Cluster simulation")]
public sealed class ScrubSpecs
{
    private static readonly byte[] Encoded = new byte[16];

    private static ulong Asked(OwnerRig rig, int index) => rig.Links[index].LastOf(FrameKind.ScrubRange).RequestId;

    private static void Report(OwnerRig rig, int index, ulong digest, ulong bad = 0, IoStatus status = IoStatus.Ok, ulong nextData = 0, ulong nextSnapshot = 0)
    {
        var asked = rig.Links[index].LastOf(FrameKind.ScrubRange);
        rig.Machine.OnReplicaFrame(rig.Links[index], FrameHeader.Of(FrameKind.ScrubReport, asked.Volume, asked.Epoch, asked.RequestId, bad, status),
            new ScrubReportBody(digest, nextData, 4096, nextSnapshot).Encode(new byte[ScrubReportBody.SizeBytes]), null);
    }

    /// <summary>The copy's 64 blocks: of sequence 1, but one.</summary>
    private static void Blocks(OwnerRig rig, int index, ulong odd, ulong oddSequence)
    {
        var asked = rig.Links[index].LastOf(FrameKind.ReadReplica);
        var reply = BufferPool.Shared.Rent(64 * (ReadDescriptor.SizeBytes + Encoded.Length));
        reply.Span.Clear();
        for (ulong block = 0; block < 64; block++)
        {
            new ReadDescriptor(BlockDescriptor.Of(BlockEncoding.Lz4, asked.Volume, 0, block, Encoded), block == odd ? oddSequence : 1)
                .Write(reply.Span[((int)block * ReadDescriptor.SizeBytes)..]);
        }
        rig.Machine.OnReplicaFrame(rig.Links[index],
            FrameHeader.Of(FrameKind.ReplicaBlocks, asked.Volume, asked.Epoch, asked.RequestId, 0, IoStatus.Ok), reply.Span, reply);
        reply.Release();
    }

    private static OwnerRig Scrubbing(int copies, FailureModeKind mode = FailureModeKind.Soft)
    {
        var rig = OwnerRig.Serving(copies, mode);
        rig.Write(1, 3);
        rig.Write(2, 3);
        for (var index = 0; index < copies; index++) rig.Appended(index, 2);
        rig.Machine.StartScrub();
        return rig;
    }

    [Fact(DisplayName = "All copies are asked for one watermark; equal ones end the scrub, and each copy keeps that it ended")]
    public void Equal_copies()
    {
        using var rig = Scrubbing(3);
        Assert.All(Enumerable.Range(0, 3), index => Assert.Equal(2UL, rig.Links[index].LastOf(FrameKind.ScrubRange).Argument));
        Assert.True(ScrubMark.TryDecode(rig.Links[2].Of(FrameKind.ScrubMark).Last().Body, out var begun) && begun.IsUnderWay);
        for (var index = 0; index < 3; index++) Report(rig, index, 77);
        rig.Tick();
        var (_, body) = rig.Links[2].Of(FrameKind.ScrubMark).Last();
        Assert.True(ScrubMark.TryDecode(body, out var mark));
        Assert.Equal((false, 4096UL, 0UL), (mark.IsUnderWay, mark.Last.CheckedBytes, mark.Last.DifferingBlocks));
        Assert.Equal("idle", rig.Machine.ScrubView().State);
        Assert.Equal((1L, 0L, 4096L), (rig.Repair.ScrubsEnded, rig.Repair.ScrubsUnderWay, rig.Repair.ScrubbedBytes));
    }

    [Fact(DisplayName = "Where digests differ the copies are read and compared, and the one with an older version gets the newer, the other nothing")]
    public void A_differing_copy_is_mended()
    {
        // Guards SendMends: Differing.
        using var rig = Scrubbing(2);
        Report(rig, 0, 77);
        Report(rig, 1, 78);
        Blocks(rig, 0, odd: 9, oddSequence: 2);
        Blocks(rig, 1, odd: 9, oddSequence: 1);
        Assert.Empty(rig.Links[0].Of(FrameKind.RepairRecord));
        var (header, body) = Assert.Single(rig.Links[1].Of(FrameKind.RepairRecord));
        Assert.Equal(IoStatus.Ok, RecordHeader.TryDecode(body, out var record));
        Assert.Equal((new BlockRange(9, 1), 2UL), (record.Range, record.Sequence));
        Assert.Equal("running", rig.Machine.ScrubView().State);
        rig.Machine.OnReplicaFrame(rig.Links[1], FrameHeader.Of(FrameKind.RepairAck, header.Volume, header.Epoch, header.RequestId, 1, IoStatus.Ok), default, null);
        rig.Tick();
        var view = rig.Machine.ScrubView();
        Assert.Equal(("idle", 1UL, 1UL, 0UL), (view.State, view.Last.MendedBlocks, view.Last.DifferingBlocks, view.Last.LostBlocks));
        Assert.Equal([new RepairEvent(RepairCause.Scrub, "n1", new BlockRange(9, 1), 1, 0)], rig.Repairs);
    }

    [Fact(DisplayName = "What a snapshot keeps is asked for after the volume's blocks, read as such from the copies where it differs, and mended as its version")]
    public void What_a_snapshot_keeps()
    {
        using var rig = Scrubbing(2);
        foreach (var index in new[] { 0, 1 }) Report(rig, index, 77, nextSnapshot: 2);
        rig.Tick();
        Assert.All(new[] { 0, 1 }, index => Assert.Equal(2UL, RangeOf(rig, index, FrameKind.ScrubRange).Snapshot));
        Assert.Equal("running", rig.Machine.ScrubView().State);
        Report(rig, 0, 5);
        Report(rig, 1, 5, bad: 1UL << 9);
        Assert.All(new[] { 0, 1 }, index => Assert.Equal(2UL, RangeOf(rig, index, FrameKind.ReadReplica).Snapshot));
        Blocks(rig, 0, odd: 9, oddSequence: 2);
        Blocks(rig, 1, odd: 9, oddSequence: 1);
        var (_, body) = Assert.Single(rig.Links[1].Of(FrameKind.RepairRecord));
        Assert.Equal(IoStatus.Ok, RecordHeader.TryDecode(body, out var record));
        Assert.Equal((new BlockRange(9, 1), 2UL, 2UL), (record.Range, record.Sequence, record.ExpectedSequence));
    }

    private static BlockRangeBody RangeOf(OwnerRig rig, int index, FrameKind kind)
    {
        Assert.True(BlockRangeBody.TryDecode(rig.Links[index].Of(kind).Last().Body, out var range));
        return range;
    }

    [Fact(DisplayName = "Copies that were read as of two moments are not compared: the range is asked for again")]
    public void Two_moments_are_not_compared()
    {
        // Guards OnScrubCompared: IsOfOneMoment.
        using var rig = Scrubbing(2);
        Report(rig, 0, 77);
        Report(rig, 1, 78);
        var asked = rig.Links[1].LastOf(FrameKind.ReadReplica);
        rig.Machine.OnReplicaFrame(rig.Links[1], FrameHeader.Of(FrameKind.ReplicaBlocks, asked.Volume, asked.Epoch, asked.RequestId, 0, IoStatus.Busy), default, null);
        rig.Write(3, 9);
        rig.Appended(0, 3);
        rig.Appended(1, 3);
        Blocks(rig, 0, odd: 9, oddSequence: 1);
        var before = Asked(rig, 0);
        rig.Tick();
        Blocks(rig, 1, odd: 9, oddSequence: 3);
        Assert.Empty(rig.Links[0].Of(FrameKind.RepairRecord));
        Assert.NotEqual(before, Asked(rig, 0));
        Assert.Equal(0UL, rig.Machine.ScrubView().Now.DifferingBlocks);
    }

    [Fact(DisplayName = "A copy that goes is waited for, and the range is asked for again when it is back; one that is busy is asked again")]
    public void A_copy_that_is_away()
    {
        using var rig = Scrubbing(2);
        Report(rig, 0, 77);
        rig.LinkDown(1);
        rig.Tick();
        Assert.Equal("waiting", rig.Machine.ScrubView().State);
        rig.Journal();
        rig.Stamped(0);
        var before = Asked(rig, 0);
        rig.Tick();
        Assert.Equal("running", rig.Machine.ScrubView().State);
        Assert.NotEqual(before, Asked(rig, 0));
        Report(rig, 0, 0, status: IoStatus.Busy);
        rig.Tick();
        Report(rig, 0, 77);
        rig.Tick();
        Assert.Equal("idle", rig.Machine.ScrubView().State);
    }

    [Fact(DisplayName = "The next owner goes on from the mark; a scrub starts by itself when the interval is over, and not before")]
    public void Marks_and_intervals()
    {
        using var resumed = new OwnerRig(1, FailureModeKind.Soft) { Scrub = new ScrubMark(new ScrubTally(5, 6, 7, 8, 9), 64, default, 0) };
        Serve(resumed);
        resumed.Tick();
        // All blocks are below the cursor.
        Assert.Equal(new ScrubTally(5, 6, 7, 8, 9), MarkOf(resumed).Last);

        using var due = new OwnerRig(1, FailureModeKind.Soft);
        due.Scrub = new ScrubMark(default, 0, new ScrubTally(1, 1, 1, 1, 1), due.NowUnixMs);
        due.Repair = new NodeRepair(new RepairOptions { ScrubInterval = TimeSpan.FromHours(1) });
        Serve(due);
        due.Tick(3_000_000);
        Assert.Equal("idle", due.Machine.ScrubView().State);
        due.Tick(700_000);
        Assert.Equal("running", due.Machine.ScrubView().State);

        using var never = new OwnerRig(1, FailureModeKind.Soft) { Repair = new NodeRepair(new RepairOptions { ScrubInterval = TimeSpan.Zero }) };
        Serve(never);
        never.Tick(int.MaxValue);
        Assert.Equal("idle", never.Machine.ScrubView().State);
    }

    [Fact(DisplayName = "A copy whose link breaks and is back before anybody looked is asked again: its answer went with the link")]
    public void A_copy_that_is_back_at_once()
    {
        using var rig = Scrubbing(2, FailureModeKind.Hard);
        var before = Asked(rig, 0);
        Report(rig, 0, 77);
        rig.LinkDown(1);
        rig.LinkUp(1);
        rig.Promised(1, last: 2, lastEpoch: 1, inSyncEpoch: 1);
        rig.Truncated(1, 2);
        rig.Tick();
        Assert.NotEqual(before, Asked(rig, 0));
        Report(rig, 0, 77);
        Report(rig, 1, 77);
        rig.Tick();
        Assert.Equal("idle", rig.Machine.ScrubView().State);
    }

    [Fact(DisplayName = "A copy that answered, lost its link and is not aligned again when the range is compared is sent nothing, which it would drop: the range is asked for again once it is aligned")]
    public void A_copy_that_is_not_aligned_yet()
    {
        // Guards EndGather: Aligned.
        using var rig = Scrubbing(2, FailureModeKind.Hard);
        Report(rig, 0, 77);
        Report(rig, 1, 78);
        Blocks(rig, 1, odd: 9, oddSequence: 1);
        rig.LinkDown(1);
        rig.LinkUp(1);
        Blocks(rig, 0, odd: 9, oddSequence: 2);
        Assert.Empty(rig.Links[1].Of(FrameKind.RepairRecord));
        Assert.Equal("waiting", rig.Machine.ScrubView().State);
        var before = Asked(rig, 0);
        rig.Promised(1, last: 2, lastEpoch: 1, inSyncEpoch: 1);
        rig.Truncated(1, 2);
        rig.Tick();
        Assert.NotEqual(before, Asked(rig, 0));
        Report(rig, 0, 77);
        Report(rig, 1, 78);
        Blocks(rig, 0, odd: 9, oddSequence: 2);
        Blocks(rig, 1, odd: 9, oddSequence: 1);
        var (header, _) = Assert.Single(rig.Links[1].Of(FrameKind.RepairRecord));
        rig.Machine.OnReplicaFrame(rig.Links[1], FrameHeader.Of(FrameKind.RepairAck, header.Volume, header.Epoch, header.RequestId, 1, IoStatus.Ok), default, null);
        rig.Tick();
        Assert.Equal("idle", rig.Machine.ScrubView().State);
    }

    [Fact(DisplayName = "A mark of an owner whose clock was ahead does not hold scrubs up: the interval begins anew")]
    public void Mark_from_the_future()
    {
        using var rig = new OwnerRig(1, FailureModeKind.Soft);
        rig.Scrub = new ScrubMark(default, 0, new ScrubTally(1, 1, 1, 1, 1), rig.NowUnixMs + 1_000_000_000);
        rig.Repair = new NodeRepair(new RepairOptions { ScrubInterval = TimeSpan.FromHours(1) });
        Serve(rig);
        rig.Tick();
        Assert.Equal("idle", rig.Machine.ScrubView().State);
        rig.Tick(3_700_000);
        Assert.Equal("running", rig.Machine.ScrubView().State);
    }

    private static void Serve(OwnerRig rig)
    {
        rig.Machine.Start();
        rig.Journal();
        rig.Promised(0);
        rig.Truncated(0, 0);
        rig.Journal();
        rig.Stamped(0);
    }

    private static ScrubMark MarkOf(OwnerRig rig)
    {
        Assert.True(ScrubMark.TryDecode(rig.Links[0].Of(FrameKind.ScrubMark).Last().Body, out var mark));
        return mark;
    }
}
