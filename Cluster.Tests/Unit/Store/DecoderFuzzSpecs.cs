using Cluster.Messages.Model;
using Cluster.Node.Store;
using Cluster.Tests.Simulation.Store;

namespace Cluster.Tests.Unit.Store;

public sealed class DecoderFuzzSpecs
{
    [Fact(DisplayName = "A hundred thousand mutated superblocks, segment headers, prefixes and frames: refused or the same, never an exception")]
    public void Decoders()
    {
        var random = new Random(11);
        var superblock = new byte[Superblock.SizeBytes];
        new Superblock { StoreId = Guid.NewGuid(), SegmentBytes = StoreOptions.SegmentBytesMin, Opens = new StoreOpens(4, [1, 2, 3, 4]) }.Encode(superblock);
        var header = new byte[SegmentHeader.SizeBytes];
        new SegmentHeader(Guid.NewGuid(), Guid.NewGuid(), Guid.NewGuid(), 3, new LogPosition(2, 900), 1 << 20, 1).Encode(header);
        var prefix = new byte[EntryPrefix.SizeBytes];
        new EntryPrefix(EntryKind.Record, 300, new LogPosition(3, 512), 1, default, 5).Encode(prefix, 7);
        var frame = new byte[CheckpointFrame.SizeBytes];
        new CheckpointFrame(CheckpointFrameKind.Page, 400, 1, 9, 77).Encode(frame);
        for (var round = 0; round < 25_000; round++)
        {
            Assert.NotEqual(IoStatus.Ok, Superblock.TryDecode(Mutate(random, superblock), out _));
            Assert.NotEqual(IoStatus.Ok, SegmentHeader.TryDecode(Mutate(random, header), out _));
            Assert.False(EntryPrefix.TryDecode(Mutate(random, prefix), 7, new LogPosition(3, 512), out _));
            Assert.NotEqual(IoStatus.Ok, CheckpointFrame.TryDecode(Mutate(random, frame), out _));
        }
    }

    [Fact(DisplayName = "Mutated headers and sectors of block devices: refused, never an exception; so are sectors at random that have the right hash")]
    public void Devices()
    {
        var random = new Random(15);
        var format = Guid.NewGuid();
        var header = new byte[DeviceHeader.SizeBytes];
        DeviceHeader.Of(format, 1L << 36).Encode(header);
        var entries = new DeviceEntry?[DeviceSector.EntriesMax];
        for (var index = 0; index < 20; index++) entries[index] = new DeviceEntry($"file-{index}", (uint)(100 + index), 1, index);
        var sector = new byte[DeviceSector.SizeBytes];
        DeviceSector.Encode(sector, format, 2, 3, entries);
        var decoded = new DeviceEntry?[DeviceSector.EntriesMax];
        for (var round = 0; round < 5_000; round++)
        {
            Assert.NotEqual(IoStatus.Ok, DeviceHeader.TryDecode(Mutate(random, header), out _));
            Assert.NotEqual(IoStatus.Ok, DeviceSector.TryDecode(Mutate(random, sector), format, 2, out _, decoded));
        }
        for (var round = 0; round < 300; round++)
        {
            // Anything at all where entries are.
            for (var index = 0; index < entries.Length; index++)
                entries[index] = random.Next(3) == 0 ? null : new DeviceEntry($"file-{random.Next(40)}", (uint)random.Next(0, 400), (uint)random.Next(0, 30), random.NextInt64(-5, 1 << 20));
            var disk = new SimulatedDisk((ulong)round);
            var device = new SimulatedDevice(disk, 1, DeviceDisk.DeviceBytesMin);
            DeviceHeader.Of(format, DeviceDisk.DeviceBytesMin).Encode(device.Content);
            DeviceSector.Encode(device.Content.AsSpan((int)DeviceSector.OffsetOf(0, round % 2)), format, 0, 1, entries);
            var names = new List<string>();
            var listed = new DeviceDisk(device, Guid.NewGuid).List(names);
            Assert.True(listed.IsOk ? names.Count == entries.Count(entry => entry is not null) : listed.Detail!.Contains("can't be used", StringComparison.Ordinal), listed.Detail);
        }
    }

    [Fact(DisplayName = "A store whose files were mutilated at random opens or refuses with a reason, and never gives wrong bytes")]
    public void Whole_stores()
    {
        var random = new Random(12);
        for (var round = 0; round < 150; round++)
        {
            var rig = new StoreRig().Open();
            var volume = rig.Create();
            for (var index = 0UL; index < 20; index++) StoreRig.AppendBlock(volume, index, StoreRig.Bytes(index), 1, index);
            volume.Commit(20);
            rig.Sync(volume);
            if (round % 2 == 0) rig.StopClean();
            rig.Disk.Restart(PowerLoss.ProcessOnly);
            foreach (var name in rig.Disk.Names.Order(StringComparer.Ordinal).ToArray())
            {
                var content = rig.Disk.Content(name);
                if (content.Length == 0 || random.Next(3) == 0) continue;
                var limit = Math.Min(content.Length, 90_000);
                for (var count = random.Next(1, 20); count > 0; count--) content[random.Next(limit)] = (byte)random.Next(256);
            }
            var opened = rig.TryOpen();
            if (opened.Store is null) Assert.NotEqual("", opened.Reason);
            else if (opened.Store.Find(StoreRig.Volume) is { } found) CheckBlocks(rig, found);
        }
    }

    [Fact(DisplayName = "A hundred thousand bodies of the record that makes a clone, at random: refused or read, never an exception")]
    public void Clone_bodies()
    {
        var random = new Random(13);
        for (var round = 0; round < 100_000; round++)
        {
            var bytes = new byte[random.Next(40)];
            random.NextBytes(bytes);
            if (CloneBody.TryDecode(bytes, out var body)) Assert.Equal(bytes, body.Encode());
            else Assert.True(bytes.Length <= CloneBody.FixedBytes || !body.Origin.IsValid || body.Snapshot == 0);
        }
    }

    [Fact(DisplayName = "A store with clones whose files were mutilated at random opens or refuses with a reason, and never gives wrong bytes of a clone")]
    public void Stores_with_clones()
    {
        var random = new Random(14);
        for (var round = 0; round < 150; round++)
        {
            var rig = new StoreRig().Open();
            var volume = rig.Create();
            for (var index = 0UL; index < 20; index++) StoreRig.AppendBlock(volume, index, StoreRig.Bytes(index), 1, index);
            var marker = new Messages.Wire.SnapshotMarker(true, 0, []).Build(volume.Volume, out var header);
            (header.Sequence, header.Epoch) = (21, 1);
            header.Encode(marker.Span);
            StoreRig.Append(volume, marker);
            volume.Commit(21);
            Assert.Equal(IoStatus.Ok, rig.Store.CreateClone(new VolumeId(8), new byte[] { 1 }, volume.Volume, 21).Status);
            if (round % 3 == 0) rig.Store.Delete(volume.Volume);
            rig.Sync(rig.Find(new VolumeId(8)));
            if (round % 2 == 0) rig.StopClean();
            rig.Disk.Restart(PowerLoss.ProcessOnly);
            foreach (var name in rig.Disk.Names.Order(StringComparer.Ordinal).ToArray())
            {
                var content = rig.Disk.Content(name);
                if (content.Length == 0 || random.Next(3) == 0) continue;
                var limit = Math.Min(content.Length, 90_000);
                for (var count = random.Next(1, 20); count > 0; count--) content[random.Next(limit)] = (byte)random.Next(256);
            }
            var opened = rig.TryOpen();
            if (opened.Store is null) Assert.NotEqual("", opened.Reason);
            else if (opened.Store.Find(new VolumeId(8)) is { } found) CheckBlocks(rig, found);
        }
    }

    private static void CheckBlocks(StoreRig rig, IVolumeStore volume)
    {
        volume.Commit(volume.LastSequence);
        for (var block = 0UL; block < 20; block++)
        {
            var (status, blocks) = rig.Read(volume, block);
            if (status != IoStatus.Ok || blocks[0].Sequence == 0) continue;
            Assert.Equal(StoreRig.Bytes(block), blocks[0].Bytes);
        }
    }

    /// <summary>A changed byte, or a shorter input.</summary>
    private static byte[] Mutate(Random random, byte[] from)
    {
        if (random.Next(10) == 0) return from[..random.Next(from.Length)];
        var mutated = (byte[])from.Clone();
        mutated[random.Next(mutated.Length)] ^= (byte)random.Next(1, 256);
        return mutated;
    }
}
