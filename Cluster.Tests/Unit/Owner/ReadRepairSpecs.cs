using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Repair;

namespace Cluster.Tests.Unit.Owner;

/// <summary>P6: what is bad on the owner's copy is read from another one and mended. Replicas are played by hand.</summary>
[Collection("Cluster simulation")]
public sealed class ReadRepairSpecs
{
    private const ulong Block = 3;

    /// <summary>The copy's answer for one block of 16 encoded bytes, good or bad.</summary>
    private static void Answer(OwnerRig rig, int index, bool good, ulong sequence = 1)
    {
        var asked = rig.Links[index].LastOf(FrameKind.ReadReplica);
        var reply = new byte[ReadDescriptor.SizeBytes + (good ? 16 : 0)];
        new ReadDescriptor(BlockDescriptor.Of(BlockEncoding.Lz4, asked.Volume, 0, Block, new byte[16]), sequence).Write(reply);
        rig.Machine.OnReplicaFrame(rig.Links[index],
            FrameHeader.Of(FrameKind.ReplicaBlocks, asked.Volume, asked.Epoch, asked.RequestId, good ? 0UL : 1, IoStatus.Ok), reply, null);
    }

    private static OwnerRig WithBadRead(int copies, FailureModeKind mode = FailureModeKind.Soft, IoStatus status = IoStatus.BadChecksum)
    {
        var rig = OwnerRig.Serving(copies, mode);
        rig.Read(7, Block);
        rig.FailRead(status);
        return rig;
    }

    [Theory(DisplayName = "P6: a read that is bad here is answered from another copy, and the bad block is written anew where it is bad, there only")]
    [InlineData(IoStatus.BadChecksum)]
    [InlineData(IoStatus.DeviceError)]
    public void A_bad_read_is_answered_and_mended(IoStatus status)
    {
        // Guards OnLocalRead: ReadElsewhere; EndGather: SendMends.
        using var rig = WithBadRead(3, status: status);
        Assert.Equal(IoStatus.Unset, rig.AnswerTo(7));
        Answer(rig, 0, good: false);
        Answer(rig, 1, good: true);
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(7));
        Assert.Empty(rig.Links[0].Of(FrameKind.RepairRecord));
        Answer(rig, 2, good: true);
        var (header, body) = Assert.Single(rig.Links[0].Of(FrameKind.RepairRecord));
        Assert.Equal(IoStatus.Ok, RecordHeader.TryDecode(body, out var record));
        Assert.Equal((new BlockRange(Block, 1), 1UL, RecordFlags.Resync), (record.Range, record.Sequence, record.Flags));
        Assert.Empty(rig.Links[1].Of(FrameKind.RepairRecord));
        Assert.Empty(rig.Links[2].Of(FrameKind.RepairRecord));
        rig.Machine.OnReplicaFrame(rig.Links[0], FrameHeader.Of(FrameKind.RepairAck, header.Volume, header.Epoch, header.RequestId, 1, IoStatus.Ok), default, null);
        Assert.Equal([new RepairEvent(RepairCause.Read, "n0", new BlockRange(Block, 1), 1, 0)], rig.Repairs);
    }

    [Fact(DisplayName = "P6: only when no in-sync copy has the block does its reader get an error")]
    public void Bad_everywhere()
    {
        using var rig = WithBadRead(2);
        Answer(rig, 1, good: false);
        Assert.Equal(IoStatus.Unset, rig.AnswerTo(7));
        Answer(rig, 0, good: false);
        Assert.Equal(IoStatus.BadChecksum, rig.AnswerTo(7));
        Assert.Equal([new RepairEvent(RepairCause.Read, "", new BlockRange(Block, 1), 0, 1)], rig.Repairs);
        Assert.Empty(rig.Links[0].Of(FrameKind.RepairRecord));
        // The next block is read as ever.
        rig.Read(8, Block + 1);
        rig.AnswerRead();
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(8));
    }

    [Fact(DisplayName = "P5, P6: a member that can't be asked now may have the block: its reader waits until it returns")]
    public void A_member_that_is_away_is_waited_for()
    {
        // Guards Advance: every member must have answered; AskCopies: over the new link.
        using var rig = WithBadRead(2, FailureModeKind.Hard);
        rig.LinkDown(1);
        Answer(rig, 0, good: false);
        rig.Tick(5000);
        Assert.Equal(IoStatus.Unset, rig.AnswerTo(7));
        rig.LinkUp(1);
        rig.Promised(1);
        rig.Truncated(1, 0);
        rig.Tick();
        Answer(rig, 1, good: true);
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(7));
        Assert.Single(rig.Links[0].Of(FrameKind.RepairRecord));
    }

    [Fact(DisplayName = "P6: a copy that left the set is waited for no more")]
    public void A_copy_that_left_is_not_waited_for()
    {
        using var rig = WithBadRead(3);
        Answer(rig, 0, good: false);
        Answer(rig, 2, good: false);
        rig.LinkDown(1);
        rig.Journal();
        rig.Tick();
        Assert.Equal(IoStatus.BadChecksum, rig.AnswerTo(7));
    }

    [Fact(DisplayName = "R16: a block from another copy is held as long as a lease is missing")]
    public void Leases_count_for_gathered_reads_too()
    {
        // Guards Advance: AreLeasesValid.
        using var rig = WithBadRead(2);
        rig.LeaseUntil[1] = rig.NowMs;
        Answer(rig, 1, good: true);
        Assert.Equal(IoStatus.Unset, rig.AnswerTo(7));
        rig.LeaseUntil[1] = rig.NowMs + 1000;
        rig.Tick();
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(7));
    }

    [Fact(DisplayName = "A copy that is busy is asked again, and a stop gives every buffer back")]
    public void A_busy_copy_is_asked_again()
    {
        using var rig = WithBadRead(2);
        var asked = rig.Links[1].LastOf(FrameKind.ReadReplica);
        rig.Machine.OnReplicaFrame(rig.Links[1],
            FrameHeader.Of(FrameKind.ReplicaBlocks, asked.Volume, asked.Epoch, asked.RequestId, 0, IoStatus.Busy), default, null);
        rig.Tick();
        Assert.Equal(2, rig.Links[1].Of(FrameKind.ReadReplica).Count());
        Answer(rig, 1, good: true);
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(7));
    }
}
