using System.Collections.Immutable;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>Clones within one store; StoreModelSpecs has them at random.</summary>
public sealed class CloneSpecs
{
    private static readonly VolumeId Clone = new(8);
    private const ulong Blocks = 64;

    [Theory(DisplayName = "Origin, snapshot and clone go in any order: what the clone sees stays until it goes, and then all space is free; through restarts and cleaning")]
    [InlineData("snapshot", "origin", "clone")]
    [InlineData("origin", "clone")]
    [InlineData("clone", "snapshot", "origin")]
    [InlineData("snapshot", "clone", "origin")]
    public void Any_order(params string[] goes)
    {
        var rig = Filled(out var snapshot);
        var clone = Make(rig, Clone, StoreRig.Volume, snapshot);
        foreach (var what in goes)
        {
            // Overwritten, so that nothing of what the clone sees is the origin's own any more.
            if (rig.Store.Find(StoreRig.Volume) is { } origin)
            {
                if (what == "snapshot") Mark(origin, creates: false, []);
                else Write(origin, 0, Blocks, salt: 1000 + origin.LastSequence);
                rig.Sync(origin);
            }
            if (what == "origin") Assert.Equal(IoStatus.Ok, rig.Store.Delete(StoreRig.Volume));
            if (what == "clone") Assert.Equal(IoStatus.Ok, rig.Store.Delete(Clone));
            rig.Loop.Settle();
            for (var restart = 0; restart < 2; restart++)
            {
                if (rig.Store.Find(Clone) is { } there) AssertHolds(rig, there, 0, Blocks, salt: 0);
                if (restart == 0) rig.StopClean();
                else rig.Sync(rig.Store.Volumes.Count > 0 ? rig.Store.Volumes.First() : rig.Create(new VolumeId(99)));
                if (restart == 1) rig.Disk.Restart(PowerLoss.LoseAll);
                rig.Open();
            }
        }
        Assert.NotNull(clone);
        if (!goes.Contains("origin")) return;
        Assert.Empty(rig.Store.Detached);
        Assert.Equal(0, rig.Store.Segments.LiveBytes);
    }

    [Fact(DisplayName = "To make a clone costs the same for one block and for many: its bytes in the log are its header and two short records")]
    public void Constant_time()
    {
        var sizes = new List<long>();
        foreach (var blocks in (ulong[])[1, 200])
        {
            var rig = Filled(out var snapshot, blocks);
            var before = rig.Store.Activity.AppendedBytes;
            Make(rig, Clone, StoreRig.Volume, snapshot);
            rig.Sync(rig.Find(Clone));
            sizes.Add(rig.Store.Activity.AppendedBytes - before);
            Assert.Equal(0, rig.Find(Clone).Usage.StoredBytes);
            Assert.Equal((long)blocks, rig.Find(Clone).Usage.SharedBlocks);
        }
        Assert.Equal(sizes[0], sizes[1]);
        Assert.InRange(sizes[0], 1, 1024);
    }

    [Fact(DisplayName = "What a scrub is to read is told with what a clone shares with its origin, and without what the origin keeps for clones of deleted snapshots")]
    public void Scrubbed_bytes()
    {
        var rig = Filled(out var snapshot);
        var clone = Make(rig, Clone, StoreRig.Volume, snapshot);
        var origin = rig.Find(StoreRig.Volume);
        var bytes = origin.Usage.StoredBytes;
        Assert.True(bytes > 0);
        Write(origin, 0, Blocks, salt: 1000);
        Assert.Equal((bytes, 0L), (origin.Usage.SnapshotBytes, origin.Usage.ClonesBytes));
        Assert.Equal(origin.Usage.StoredBytes + bytes, origin.Usage.ScrubBytes);
        Mark(origin, creates: false, []);
        Assert.Equal((bytes, bytes), (origin.Usage.SnapshotBytes, origin.Usage.ClonesBytes));
        Assert.Equal(origin.Usage.StoredBytes, origin.Usage.ScrubBytes);
        Assert.Equal((0L, bytes), (clone.Usage.StoredBytes, clone.Usage.ScrubBytes));
    }

    [Fact(DisplayName = "A clone is refused of a snapshot that is not here, is deleted, or is not committed yet, and on too many clones of clones")]
    public void Refusals()
    {
        var rig = Filled(out var snapshot);
        var origin = rig.Find();
        Assert.Equal(IoStatus.Missing, rig.Store.CreateClone(Clone, new byte[] { 1 }, new VolumeId(50), snapshot).Status);
        Assert.Equal(IoStatus.Missing, rig.Store.CreateClone(Clone, new byte[] { 1 }, StoreRig.Volume, snapshot - 1).Status);
        Assert.Equal(IoStatus.Missing, rig.Store.CreateClone(Clone, new byte[] { 1 }, StoreRig.Volume, snapshot + 50).Status);
        var next = Mark(origin, creates: true, [snapshot], isCommitted: false);
        Assert.Equal(IoStatus.Busy, rig.Store.CreateClone(Clone, new byte[] { 1 }, StoreRig.Volume, next).Status);
        origin.Commit(next);
        var (below, seen) = (StoreRig.Volume, next);
        for (var depth = 0UL; depth < Limits.CloneDepthMax; depth++)
        {
            var clone = Make(rig, new VolumeId(100 + depth), below, seen);
            (below, seen) = (clone.Volume, Mark(clone, creates: true, []));
        }
        Assert.Equal(IoStatus.Missing, rig.Store.CreateClone(Clone, new byte[] { 1 }, below, seen).Status);
        AssertHolds(rig, rig.Find(below), 0, Blocks, salt: 0);
        Mark(origin, creates: false, [next]);
        Assert.Equal(IoStatus.Missing, rig.Store.CreateClone(Clone, new byte[] { 1 }, StoreRig.Volume, snapshot).Status);
    }

    [Fact(DisplayName = "A bad block that a clone shares is named, and mended for the clone with bytes of its own; the origin's stays bad until that is mended")]
    public void Repair()
    {
        var rig = Filled(out var snapshot);
        var clone = Make(rig, Clone, StoreRig.Volume, snapshot);
        rig.Sync(clone);
        Assert.True(((VolumeStore)rig.Find()).Map.Find(5, out var entry, out _));
        rig.Disk.FlipBit(rig.Store.Segments[entry.Segment].Name, (entry.OffsetBytes + 100L) * 8);
        Assert.Equal(IoStatus.BadChecksum, rig.Read(clone, 5).Status);
        Assert.Equal(IoStatus.BadChecksum, rig.Read(rig.Find(), 5).Status);

        var good = StoreRig.Write(Clone, entry.Sequence, 5, [StoreRig.Bytes(5)], 0, 0, RecordFlags.Resync);
        Assert.Equal(IoStatus.Ok, RecordHeader.TryDecode(good.Span, out var header));
        Assert.Equal((IoStatus.Ok, 1), clone.Repair(good, in header));
        good.Release();
        rig.Sync(clone);
        rig.Disk.Restart(PowerLoss.LoseAll);
        rig.Open();
        AssertHolds(rig, rig.Find(Clone), 0, Blocks, salt: 0);
        Assert.Equal(IoStatus.BadChecksum, rig.Read(rig.Find(), 5).Status);
        Assert.Equal(1, rig.Find(Clone).Usage.MappedBlocks);
    }

    [Fact(DisplayName = "A store whose origin is damaged says so of its clones: they are lost with it, and never read as something else")]
    public void Damage()
    {
        var rig = Filled(out var snapshot);
        Make(rig, Clone, StoreRig.Volume, snapshot);
        rig.Sync(rig.Find(Clone));
        rig.StopClean();
        var content = rig.Disk.Content(CheckpointWriter.Name);
        // The first page of the origin, by its frame: kind 6, volume 7.
        for (var at = 0; at + CheckpointFrame.SizeBytes <= content.Length;)
        {
            Assert.Equal(IoStatus.Ok, CheckpointFrame.TryDecode(content.AsSpan(at), out var frame));
            at += CheckpointFrame.SizeBytes;
            if (frame is { Kind: CheckpointFrameKind.Page, Volume: 7 }) content[at + 20] ^= 1;
            at += (int)frame.LengthBytes;
        }
        rig.Open();
        Assert.NotNull(rig.Find().Damage);
        Assert.NotNull(rig.Find(Clone).Damage);
        Assert.Equal(IoStatus.BadChecksum, rig.Read(rig.Find(Clone), 0).Status);
        Assert.Equal(IoStatus.Ok, rig.Find(Clone).SetPosition(0, 0, discardAll: true));
        Assert.Null(rig.Find(Clone).Damage);
        rig.Sync(rig.Find(Clone));
        rig.StopClean();
        rig.Open();
        Assert.Null(rig.Find(Clone).Damage);
    }

    [Fact(DisplayName = "The room of the next checkpoint has the masks of a clone that was trimmed: one for each block of its base")]
    public void Masks_have_room()
    {
        const int blocks = 6000;
        var rig = Filled(out var snapshot, blocks, segments: 120);
        var clone = Make(rig, Clone, StoreRig.Volume, snapshot);
        rig.Sync(clone);
        rig.Loop.Advance(1000);
        var before = rig.Store.CheckpointReserve.Bytes;
        Assert.Equal(IoStatus.Ok, StoreRig.Append(clone, StoreRig.Trim(Clone, clone.LastSequence + 1, new BlockRange(0, blocks))));
        clone.Commit(clone.LastSequence);
        rig.Sync(clone);
        rig.Loop.Advance(1000);
        Assert.Equal(0, clone.Usage.MappedBlocks);
        var need = rig.Store.CheckpointReserve.Bytes;
        // Told in steps of 64 KiB.
        Assert.InRange(need - before, (blocks * CheckpointWriter.PageEntryBytes) - (64 << 10), 2 * blocks * CheckpointWriter.PageEntryBytes);
        for (var round = 0; round < 2; round++)
        {
            rig.StopClean();
            var written = rig.Disk.Content(CheckpointWriter.Name).Length;
            Assert.True(written <= need, $"the checkpoint is of {written} bytes, {need} were reserved");
            rig.Open();
            rig.Loop.Advance(1000);
            need = rig.Store.CheckpointReserve.Bytes;
        }
    }

    private static StoreRig Filled(out ulong snapshot, ulong blocks = Blocks, long segments = 16)
    {
        var rig = new StoreRig(options: new StoreOptions { CapacityBytes = segments * StoreOptions.SegmentBytesMin, CleanBelowFreePercent = 95 }).Open();
        var origin = rig.Create();
        Write(origin, 0, blocks, salt: 0);
        snapshot = Mark(origin, creates: true, []);
        rig.Sync(origin);
        return rig;
    }

    private static IVolumeStore Make(StoreRig rig, VolumeId id, VolumeId origin, ulong snapshot)
    {
        var (status, clone) = rig.Store.CreateClone(id, new byte[] { 4, 5 }, origin, snapshot);
        Assert.Equal(IoStatus.Ok, status);
        clone!.Events = rig.Events;
        Assert.Equal((snapshot, snapshot), (clone.LastSequence, clone.CommitWatermark));
        return clone;
    }

    private static void Write(IVolumeStore volume, ulong first, ulong count, ulong salt)
    {
        for (var block = first; block < first + count; block++) Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, block, StoreRig.Bytes(block + salt), 1, volume.CommitWatermark));
        volume.Commit(volume.LastSequence);
    }

    private static ulong Mark(IVolumeStore volume, bool creates, ImmutableArray<ulong> kept, bool isCommitted = true) =>
        StoreRig.Mark(volume, new SnapshotMarker(creates, 0, kept), isCommitted);

    private static void AssertHolds(StoreRig rig, IVolumeStore volume, ulong first, ulong count, ulong salt)
    {
        Assert.Null(volume.Damage);
        for (var block = first; block < first + count; block++)
        {
            var (status, blocks) = rig.Read(volume, block);
            Assert.Equal(IoStatus.Ok, status);
            Assert.Equal(StoreRig.Bytes(block + salt), blocks[0].Bytes);
        }
    }
}
