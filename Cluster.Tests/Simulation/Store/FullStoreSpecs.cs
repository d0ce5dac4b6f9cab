using Cluster.Messages.Model;
using Cluster.Node.Store;
using Xunit.Abstractions;

namespace Cluster.Tests.Simulation.Store;

/// <summary>A store that is full to the last byte, again and again: what frees space is always taken, and frees it.</summary>
public sealed class FullStoreSpecs(ITestOutputHelper output)
{
    private const int Rounds = 8;
    private const int HeaderBytes = 4096;
    private const int WaitsMax = 50;

    private readonly Dictionary<ulong, ulong> _written = [];
    private ulong _contents;

    [Theory(DisplayName = "Full to the last byte: headers, trims of single blocks, truncations and the cleaner all go on, the next fill has the room back, and after a loss of power all is there")]
    [InlineData(StoreOptions.SegmentBytesMin, 12, 1)]
    [InlineData(StoreOptions.SegmentBytesMin, 24, 2)]
    [InlineData(StoreOptions.SegmentBytesMin, 200, 3)]
    [InlineData(4 << 20, 20, 4)]
    public void Again_and_again(int segmentBytes, int segments, int seed)
    {
        var random = new Random(seed);
        var rig = new StoreRig((ulong)seed, new StoreOptions { SegmentBytes = segmentBytes, CapacityBytes = segments * (long)segmentBytes, CheckpointIntervalBytes = 4 << 20 }).Open();
        var volume = rig.Create();
        for (var round = 0; round < Rounds; round++)
        {
            var filled = Fill(rig, volume);
            Assert.True(filled >= (round == 0 ? 100 : 10), $"round {round}: no more than {filled} blocks found room: {rig.Store.Usage}");
            for (var count = 0; count < 40; count++)
            {
                volume.SaveHeader(new byte[HeaderBytes]);
                rig.Loop.Settle();
            }
            Assert.True(rig.Store.FailureReason is null, $"round {round}: {rig.Store.FailureReason}");
            var last = volume.LastSequence;
            Assert.Equal(IoStatus.Ok, Trim(volume, 0, 1));
            Assert.Equal(IoStatus.Ok, volume.Truncate(last));
            var trimmed = TrimSome(rig, volume, random, round);
            output.WriteLine($"round {round}: {filled} written, {trimmed} trimmed, {rig.Store.SegmentsCleaned} cleaned, {rig.Store.Usage}");
            if (round % 3 != 2) continue;
            rig.Restart(PowerLoss.LoseAll);
            volume = rig.Find();
            volume.Commit(volume.LastSequence);
        }
        foreach (var (block, content) in _written) Assert.Equal(StoreRig.Bytes(content), rig.Read(volume, block).Blocks[0].Bytes);
    }

    /// <summary>New blocks until none finds room, whatever is waited for.</summary>
    private int Fill(StoreRig rig, IVolumeStore volume)
    {
        for (var count = 0; ; count++)
        {
            var (block, content) = ((ulong)_contents, ++_contents);
            var status = StoreRig.AppendBlock(volume, block, StoreRig.Bytes(content), 1, volume.CommitWatermark);
            for (var waits = 0; status == IoStatus.NoSpace && waits < WaitsMax; waits++)
            {
                rig.Sync(volume);
                rig.Loop.Advance(100);
                status = StoreRig.AppendBlock(volume, block, StoreRig.Bytes(content), 1, volume.CommitWatermark);
            }
            if (status == IoStatus.NoSpace) return count;
            Assert.True(status == IoStatus.Ok, $"{status}: {rig.Store.FailureReason}");
            _written[block] = content;
            volume.Commit(volume.LastSequence);
            if (count % 16 == 0) rig.Loop.Settle();
        }
    }

    /// <summary>A third of the blocks, one record each.</summary>
    private int TrimSome(StoreRig rig, IVolumeStore volume, Random random, int round)
    {
        var chosen = _written.Keys.Where(_ => random.Next(3) == 0).ToList();
        foreach (var (block, index) in chosen.Select((block, index) => (block, index)))
        {
            var status = Trim(volume, block, 1);
            for (var waits = 0; status == IoStatus.NoSpace && waits < WaitsMax; waits++)
            {
                rig.Sync(volume);
                rig.Loop.Advance(100);
                status = Trim(volume, block, 1);
            }
            Assert.True(status == IoStatus.Ok, $"round {round}: trim {index} of {chosen.Count} is {status}: {rig.Store.FailureReason}, {rig.Store.Usage}");
            _written.Remove(block);
            volume.Commit(volume.LastSequence);
            if (index % 16 == 0) rig.Loop.Settle();
        }
        rig.Sync(volume);
        return chosen.Count;
    }

    private static IoStatus Trim(IVolumeStore volume, ulong block, uint count) =>
        StoreRig.Append(volume, StoreRig.Trim(volume.Volume, volume.LastSequence + 1, new BlockRange(block, count), 1, volume.CommitWatermark));
}
