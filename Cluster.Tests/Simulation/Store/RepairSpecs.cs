using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>Bad blocks of a store are found one by one, and written anew without touching the order.</summary>
public sealed class RepairSpecs
{
    private const int Blocks = 8;

    private static StoreRig Filled(out IVolumeStore volume)
    {
        var rig = new StoreRig().Open();
        volume = rig.Create();
        Assert.Equal(IoStatus.Ok, StoreRig.Append(volume, StoreRig.Write(StoreRig.Volume, 1, 0,
            [.. Enumerable.Range(0, Blocks).Select(index => StoreRig.Bytes((ulong)index))])));
        volume.Commit(1);
        rig.Sync(volume);
        return rig;
    }

    /// <summary>Flips a bit of the block's bytes where they lie now.</summary>
    private static void Rot(StoreRig rig, IVolumeStore volume, ulong block, ulong snapshot = 0)
    {
        Assert.True(((VolumeStore)volume).Map.TryGetKept(snapshot, block, out var entry));
        rig.Disk.FlipBit(rig.Store.Segments[entry.Segment].Name, (entry.OffsetBytes + 100L) * 8);
    }

    private static (IoStatus Status, ulong Bad, int LengthBytes) ReadEach(StoreRig rig, IVolumeStore volume, BlockRange range, bool background = false, ulong snapshot = 0)
    {
        var reader = new Reader();
        volume.ReadEach(range, snapshot, background, reader, 5);
        rig.Loop.Settle();
        return reader.Answer ?? throw new InvalidOperationException("the read was not answered");
    }

    private static (IoStatus Status, int Blocks) Repair(IVolumeStore volume, ulong sequence, ulong first, params byte[][] blocks) => Mend(volume, 0, sequence, first, blocks);

    private static (IoStatus Status, int Blocks) Mend(IVolumeStore volume, ulong snapshot, ulong sequence, ulong first, params byte[][] blocks)
    {
        var record = StoreRig.Write(StoreRig.Volume, sequence, first, blocks, flags: RecordFlags.Resync);
        Assert.Equal(IoStatus.Ok, RecordHeader.TryDecode(record.Span, out var header));
        header.ExpectedSequence = snapshot;
        header.Encode(record.Span);
        var result = volume.Repair(record, in header);
        record.Release();
        return result;
    }

    [Theory(DisplayName = "Each bad block is named, the others are read; a repair puts good bytes in its place, and they survive restarts and checkpoints")]
    [InlineData(PowerLoss.LoseAll, false)]
    [InlineData(PowerLoss.ProcessOnly, true)]
    public void A_bad_block_is_named_and_mended(PowerLoss loss, bool checkpoint)
    {
        var rig = Filled(out var volume);
        foreach (var block in new[] { 2UL, 3UL, 6UL }) Rot(rig, volume, block);
        Assert.Equal(IoStatus.BadChecksum, rig.Read(volume, 0, Blocks).Status);
        Assert.Equal((IoStatus.Ok, 0b01001100UL, (Blocks * ReadDescriptor.SizeBytes) + (5 * Limits.BlockBytes)), ReadEach(rig, volume, new BlockRange(0, Blocks)));
        var before = (volume.LastSequence, volume.CommitWatermark, volume.LastRecordEpoch);

        Assert.Equal((IoStatus.Ok, 2), Repair(volume, 1, 2, StoreRig.Bytes(2), StoreRig.Bytes(3)));
        Assert.Equal((IoStatus.Ok, 1), Repair(volume, 1, 6, StoreRig.Bytes(6)));
        Check(rig, volume);
        rig.Sync(volume);
        if (checkpoint) rig.StopClean();
        rig.Restart(loss);
        volume = rig.Find();
        volume.Commit(1);
        Check(rig, volume);
        Assert.Equal(before, (volume.LastSequence, volume.CommitWatermark, volume.LastRecordEpoch));
        Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, 0, StoreRig.Bytes(77)));
    }

    private static void Check(StoreRig rig, IVolumeStore volume)
    {
        var (status, blocks) = rig.Read(volume, 0, Blocks);
        Assert.Equal(IoStatus.Ok, status);
        Assert.All(blocks, block => Assert.Equal(1UL, block.Sequence));
        Assert.All(blocks.Select((block, index) => (block.Bytes, index)), each => Assert.Equal(StoreRig.Bytes((ulong)each.index), each.Bytes));
        Assert.Equal(0UL, ReadEach(rig, volume, new BlockRange(0, Blocks), background: true).Bad);
    }

    [Fact(DisplayName = "A repair never takes the place of a newer block, fills in what is older here, and takes no bytes that don't match")]
    public void A_repair_is_bounded_by_sequences()
    {
        var rig = Filled(out var volume);
        StoreRig.AppendBlock(volume, 4, StoreRig.Bytes(44));
        StoreRig.Append(volume, StoreRig.Trim(StoreRig.Volume, 3, new BlockRange(5, 1)));
        volume.Commit(3);
        Assert.Equal((IoStatus.Ok, 0), Repair(volume, 1, 4, StoreRig.Bytes(4), StoreRig.Bytes(5)));
        Assert.Equal((IoStatus.Ok, 2), Repair(volume, 2, 6, StoreRig.Bytes(66), StoreRig.Bytes(77)));
        var forged = StoreRig.Write(StoreRig.Volume, 1, 0, [StoreRig.Bytes(0)], flags: RecordFlags.Resync);
        forged.Span[^1] ^= 1;
        RecordHeader.TryDecode(forged.Span, out var header);
        Assert.Equal((IoStatus.BadChecksum, 0), volume.Repair(forged, in header));
        forged.Release();
        rig.Sync(volume);
        rig.Restart(PowerLoss.LoseAll);
        volume = rig.Find();
        volume.Commit(3);
        var blocks = rig.Read(volume, 4, 4).Blocks;
        Assert.Equal([2UL, 3, 2, 2], blocks.Select(block => block.Sequence));
        Assert.Equal(StoreRig.Bytes(44), blocks[0].Bytes);
        Assert.Empty(blocks[1].Bytes);
        Assert.Equal(StoreRig.Bytes(77), blocks[3].Bytes);
        Assert.Equal(3UL, volume.LastSequence);
    }

    [Theory(DisplayName = "What only a snapshot keeps is read, named and mended like the rest, also where it is not there at all; the volume does not change, and it survives restarts and checkpoints")]
    [InlineData(PowerLoss.LoseAll, false)]
    [InlineData(PowerLoss.ProcessOnly, true)]
    public void What_a_snapshot_keeps(PowerLoss loss, bool checkpoint)
    {
        var rig = Filled(out var volume);
        var marker = new SnapshotMarker(true, 0, []).Build(StoreRig.Volume, out var header);
        (header.Sequence, header.Epoch) = (2, 1);
        header.Encode(marker.Span);
        StoreRig.Append(volume, marker);
        StoreRig.Append(volume, StoreRig.Write(StoreRig.Volume, 3, 2, [StoreRig.Bytes(22), StoreRig.Bytes(33)]));
        volume.Commit(3);
        rig.Sync(volume);
        var all = new BlockRange(0, Blocks);
        Assert.Equal((2UL, 0UL, 0UL), (volume.NextSnapshot(all, ulong.MaxValue), volume.NextSnapshot(all, 2), volume.NextSnapshot(new BlockRange(4, 4), ulong.MaxValue)));
        var whole = volume.Digest(all, 2);
        Assert.NotEqual(whole, volume.Digest(all));
        Rot(rig, volume, 3, snapshot: 2);
        // Of the blocks that the volume has still as they were then nothing is read twice.
        Assert.Equal((IoStatus.Ok, 0b1000UL, (Blocks * ReadDescriptor.SizeBytes) + Limits.BlockBytes), ReadEach(rig, volume, all, snapshot: 2));
        Assert.Equal(0UL, ReadEach(rig, volume, all).Bad);
        Assert.Equal((IoStatus.Ok, 1), Mend(volume, 2, 1, 3, StoreRig.Bytes(3)));

        // A fault of the store itself: it has lost the other one.
        ((VolumeStore)volume).Map.Layer(2)!.Remove(2);
        Assert.NotEqual(whole, volume.Digest(all, 2));
        Assert.Equal((IoStatus.Ok, 1), Mend(volume, 2, 1, 2, StoreRig.Bytes(2)));
        Assert.Equal(whole, volume.Digest(all, 2));
        rig.Sync(volume);
        if (checkpoint) rig.StopClean();
        rig.Restart(loss);
        volume = rig.Find();
        volume.Commit(3);
        Assert.Equal(whole, volume.Digest(all, 2));
        Assert.Equal((IoStatus.Ok, 0UL, (Blocks * ReadDescriptor.SizeBytes) + (2 * Limits.BlockBytes)), ReadEach(rig, volume, all, snapshot: 2));
        Assert.Equal([1UL, 1, 3, 3, 1, 1, 1, 1], rig.Read(volume, 0, Blocks).Blocks.Select(block => block.Sequence));
        Assert.Equal(3UL, volume.LastSequence);
    }

    [Fact(DisplayName = "The next data is the volume's or a snapshot's, whichever comes first")]
    public void Next_data_of_snapshots()
    {
        var rig = Filled(out var volume);
        var marker = new SnapshotMarker(true, 0, []).Build(StoreRig.Volume, out var header);
        (header.Sequence, header.Epoch) = (2, 1);
        header.Encode(marker.Span);
        StoreRig.Append(volume, marker);
        StoreRig.Append(volume, StoreRig.Trim(StoreRig.Volume, 3, new BlockRange(0, 1 << 20)));
        StoreRig.Append(volume, StoreRig.Write(StoreRig.Volume, 4, 5000, [StoreRig.Bytes(1)]));
        volume.Commit(4);
        Assert.Equal([0UL, 7, 5000, 9000], new ulong[] { 0, 7, 8, 5001 }.Select(from => volume.NextData(from, 9000)));
        Assert.Equal(3UL, volume.NextData(3, 5));
        Assert.Equal(4UL, volume.NextData(4, 4));
    }

    [Fact(DisplayName = "A block that the device can't read is named like a bad one, and a store without room for data still mends; one without any says so and changes nothing")]
    public void Device_errors_and_full_stores()
    {
        var rig = Filled(out var volume);
        rig.Disk.FailReads = 1;
        Assert.Equal(1UL, ReadEach(rig, volume, new BlockRange(0, Blocks)).Bad);
        var full = new StoreRig(1, new StoreOptions { CapacityBytes = 8L << 20 }).Open();
        volume = full.Create();
        while (StoreRig.AppendBlock(volume, volume.LastSequence % 4, StoreRig.Bytes(volume.LastSequence % 4)) == IoStatus.Ok) full.Loop.Settle();
        var sequence = volume.LastSequence;
        volume.Commit(sequence);
        // What trims may use is there for mends too, until that is used up as well: nothing is freed here, as the loop does not turn.
        var answers = new List<(IoStatus Status, int Blocks)>();
        do answers.Add(Repair(volume, sequence, (sequence - 1) % 4, StoreRig.Bytes((sequence - 1) % 4)));
        while (answers[^1].Status == IoStatus.Ok && answers.Count < 10_000);
        Assert.Equal((IoStatus.Ok, 1), answers[0]);
        Assert.Equal((IoStatus.NoSpace, 0), answers[^1]);
        Assert.Equal(sequence, volume.LastSequence);
    }

    private sealed class Reader : IEachReadCompletion
    {
        public (IoStatus Status, ulong Bad, int LengthBytes)? Answer { get; private set; }

        public void OnReadEach(ulong token, IoStatus status, ulong bad, IoBuffer? reply)
        {
            Assert.Null(Answer);
            Answer = (status, bad, reply?.Length ?? 0);
            reply?.Release();
        }
    }
}
