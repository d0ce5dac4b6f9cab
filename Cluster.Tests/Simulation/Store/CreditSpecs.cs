using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>R21, in the store: what was promised is there.</summary>
public sealed class CreditSpecs
{
    private const long SegmentBytes = StoreOptions.SegmentBytesMin;
    private static readonly long Largest = Limits.CreditOf(Limits.RecordBytesMax);
    private static readonly long OneBlock = Limits.CreditOf(RecordHeader.SizeBytes + BlockDescriptor.SizeBytes + Limits.BlockBytes);
    private static readonly VolumeId OtherVolume = new(9);

    [Fact(DisplayName = "R21: data that was promised room is taken whatever other volumes, trims, headers and the cleaner have written meanwhile")]
    public void A_promise_is_kept()
    {
        var rig = Rig();
        var (first, second) = (rig.Create(), rig.Create(OtherVolume));
        var granted = first.Grant();
        Assert.True(granted >= Largest, $"{granted} bytes were granted by an empty store");
        Assert.Equal(IoStatus.NoSpace, Fill(rig, second));
        for (var index = 0UL; index < 40; index++)
            Assert.Equal(IoStatus.Ok, StoreRig.Append(second, StoreRig.Trim(OtherVolume, second.LastSequence + 1, new BlockRange(10_000 + index, 1))));
        second.SaveHeader(new byte[5000]);
        for (; granted >= OneBlock; granted -= OneBlock)
        {
            Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(first, first.LastSequence, StoreRig.Bytes(1)));
            rig.Loop.Settle();
        }
        Assert.Null(rig.Store.FailureReason);
    }

    [Fact(DisplayName = "R21: what was promised is kept while a disk is drained that had the room for it: its free segments go only as long as the others have that much")]
    public void A_promise_outlasts_a_drain()
    {
        var rig = new StoreRig(2, new StoreOptions { FileSystemReservePercent = 0 }, disks: 2);
        (rig.Directories[0].FreeLimit, rig.Directories[1].FreeLimit) = (12 * SegmentBytes, 120 * SegmentBytes);
        rig.Open();
        var volumes = Enumerable.Range(1, 16).Select(id => rig.Create(new VolumeId((ulong)id))).ToArray();
        for (var block = 0UL; block < 2000; block++)
        {
            Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volumes[0], block, StoreRig.Bytes(block)));
            if (block % 20 == 0) rig.Loop.Settle();
        }
        Assert.Equal(IoStatus.Ok, StoreRig.Append(volumes[0], StoreRig.Trim(volumes[0].Volume, volumes[0].LastSequence + 1, new BlockRange(0, 2000))));
        volumes[0].Commit(volumes[0].LastSequence);
        rig.Sync(volumes[0]);
        var granted = volumes.Select(volume => volume.Grant()).ToArray();
        DrainSpecs.Drain(rig);
        for (var step = 0; step < 200; step++) rig.Loop.Advance(200);
        for (var index = 0; index < volumes.Length; index++)
        {
            for (var left = granted[index]; left >= OneBlock; left -= OneBlock)
            {
                Assert.Equal((IoStatus.Ok, index, granted[index]), (StoreRig.AppendBlock(volumes[index], volumes[index].LastSequence, StoreRig.Bytes(1)), index, granted[index]));
                rig.Loop.Settle();
            }
        }
        Assert.Null(rig.Store.FailureReason);
    }

    [Fact(DisplayName = "R21: a drain moves nothing into room that was promised, for what it has emptied is of no use before a checkpoint; it goes on once the promises are used or gone")]
    public void A_promise_is_not_drained_into()
    {
        var rig = new StoreRig(2, new StoreOptions { FileSystemReservePercent = 0, CleanBelowFreePercent = 1 }, disks: 2);
        (rig.Directories[0].FreeLimit, rig.Directories[1].FreeLimit) = (48 * SegmentBytes, 120 * SegmentBytes);
        var held = new HeldScheduler(rig.Loop, DiskLane.Background);
        rig.Scheduler = held;
        rig.Open();
        var volumes = Enumerable.Range(1, 5).Select(id => rig.Create(new VolumeId((ulong)id))).ToArray();
        for (var block = 0UL; block < 2000; block++)
        {
            Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volumes[0], block, StoreRig.Bytes(block)));
            if (block % 20 == 0) rig.Loop.Settle();
        }
        volumes[0].Commit(volumes[0].LastSequence);
        rig.Sync(volumes[0]);
        var granted = volumes.Select(volume => volume.Grant()).ToArray();
        Assert.All(granted, bytes => Assert.True(bytes >= Largest));
        held.IsHolding = true;
        DrainSpecs.Drain(rig);
        for (var step = 0; step < 200; step++) rig.Loop.Advance(200);
        Assert.True(rig.Store.DrainedBytes > 0, "there was room to move something");
        Assert.True(rig.Store.Segments.All.Any(segment => segment is { IsAvoided: true, IsDead: false }), "all of it was moved, and the promises with it");
        for (var index = 0; index < volumes.Length; index++)
        {
            for (var left = granted[index]; left >= OneBlock; left -= OneBlock)
                Assert.Equal((IoStatus.Ok, index, granted[index]), (StoreRig.AppendBlock(volumes[index], volumes[index].LastSequence, StoreRig.Bytes(1)), index, granted[index]));
        }
        Assert.Null(rig.Store.FailureReason);
        held.IsHolding = false;
        held.Complete();
        foreach (var volume in volumes)
        {
            volume.Commit(volume.LastSequence);
            rig.Sync(volume);
        }
        foreach (var volume in volumes.Skip(1)) Assert.Equal(IoStatus.Ok, rig.Store.Delete(volume.Volume));
        DrainSpecs.UntilDrained(rig);
    }

    [Fact(DisplayName = "R21: promises of all volumes together are never more than there is room for, and leave most of it to who writes")]
    public void Promises_are_bounded()
    {
        var rig = Rig(segments: 200);
        var volumes = Enumerable.Range(1, 40).Select(id => rig.Create(new VolumeId((ulong)id))).ToArray();
        rig.Loop.Settle();
        var free = rig.Store.UnpromisedBytes;
        var granted = volumes.Sum(volume => volume.Grant());
        Assert.All(volumes, volume => Assert.Equal(volume.Grant(), volume.Grant()));
        Assert.Equal(free - granted, rig.Store.UnpromisedBytes);
        Assert.InRange(granted, 1, free);
        var busy = volumes[0];
        while (busy.Grant() >= OneBlock)
        {
            Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(busy, busy.LastSequence % 50_000, StoreRig.Bytes(1)));
            if (busy.LastSequence % 16 == 0) rig.Loop.Settle();
        }
        Assert.Equal(0L, rig.Store.UnpromisedBytes / OneBlock);
        Assert.All(volumes.Skip(1), volume => Assert.True(volume.Grant() <= Largest));
    }

    [Fact(DisplayName = "R21: a volume that was promised too little hears when there is room, after a trim and after another volume is deleted")]
    public void Room_again()
    {
        var rig = Rig();
        var (first, second) = (rig.Create(), rig.Create(OtherVolume));
        FillPromised(rig, first);
        Assert.True(first.Grant() < OneBlock);
        var rooms = rig.Events.Rooms;
        Assert.Equal(IoStatus.Ok, StoreRig.Append(first, StoreRig.Trim(first.Volume, first.LastSequence + 1, new BlockRange(0, 200))));
        first.Commit(first.LastSequence);
        rig.Sync(first);
        rig.Loop.Settle();
        Assert.True(rig.Events.Rooms > rooms, "nobody heard that a trim made room");
        Assert.True(first.Grant() >= OneBlock);

        FillPromised(rig, first);
        FillPromised(rig, second);
        rooms = rig.Events.Rooms;
        Assert.Equal(IoStatus.Ok, rig.Store.Delete(first.Volume));
        rig.Sync(second);
        rig.Loop.Settle();
        Assert.True(rig.Events.Rooms > rooms, "nobody heard that a deletion made room");
        Assert.True(second.Grant() >= OneBlock);
    }

    [Fact(DisplayName = "What is staged and not written yet is counted apart, so that an ack of what is written says what is left beyond it")]
    public void Unwritten()
    {
        var rig = Rig();
        var volume = rig.Create();
        rig.Loop.Settle();
        var granted = volume.Grant();
        StoreRig.AppendBlock(volume, 1, StoreRig.Bytes(1));
        StoreRig.AppendBlock(volume, 2, StoreRig.Bytes(2));
        Assert.Equal(2 * OneBlock, volume.UnwrittenCredit);
        Assert.True(volume.Grant() + volume.UnwrittenCredit >= granted, "a promise was taken back");
        rig.Loop.Settle();
        Assert.Equal(0, volume.UnwrittenCredit);
        StoreRig.AppendBlock(volume, 3, StoreRig.Bytes(3));
        Assert.Equal(IoStatus.Ok, volume.Truncate(2));
        Assert.Equal(0, volume.UnwrittenCredit);
    }

    private static StoreRig Rig(int segments = 14) =>
        new StoreRig(6, new StoreOptions { CapacityBytes = segments * SegmentBytes, CheckpointIntervalBytes = 1 << 20 }).Open();

    private static IoStatus Fill(StoreRig rig, IVolumeStore volume)
    {
        for (var index = 0UL; ; index++)
        {
            var status = StoreRig.AppendBlock(volume, index, StoreRig.Bytes(index), 1, volume.CommitWatermark);
            if (status != IoStatus.Ok) return status;
            if (index % 16 == 0) rig.Loop.Settle();
            volume.Commit(volume.LastSequence);
        }
    }

    /// <summary>As an owner does it that sequences no more than was promised.</summary>
    private static void FillPromised(StoreRig rig, IVolumeStore volume)
    {
        while (volume.Grant() >= OneBlock)
        {
            Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, volume.LastSequence, StoreRig.Bytes(volume.LastSequence), 1, volume.CommitWatermark));
            volume.Commit(volume.LastSequence);
            rig.Sync(volume);
        }
    }
}
