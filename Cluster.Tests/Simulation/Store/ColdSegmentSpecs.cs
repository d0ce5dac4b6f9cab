using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>Segments that the cleaner fills beside the log: at no moment may a copy count that is not there, or a source be used anew that is still needed.</summary>
public sealed class ColdSegmentSpecs
{
    private const int Segments = 24;
    private const int Blocks = 1100;

    /// <summary>Enough for some segments of the cleaner to be written, put into the log, synced and checkpointed.</summary>
    private const int Overwrites = 450;

    [Theory(DisplayName = "The power goes at each write, sync and name while the cleaner fills segments beside the log: what was synced is there, and nothing is torn")]
    [InlineData(PowerLoss.LoseAll, 1)]
    [InlineData(PowerLoss.Torn, 2)]
    [InlineData(PowerLoss.ProcessOnly, 3)]
    public void Cut_at_every_operation(PowerLoss loss, int step)
    {
        var whole = new Life(0);
        whole.Overwrite();
        Assert.True(whole.Rig.Store.ColdSegments >= 3, $"{whole.Rig.Store.ColdSegments} segments were kept apart: that tests little");
        var last = whole.Rig.Disk.Operations;
        for (var operation = whole.Started + 1; operation <= last; operation += step)
        {
            var life = new Life(operation);
            life.Overwrite();
            life.Rig.Disk.PowerOffAt = 0;
            life.Rig.Restart(loss);
            life.Check($"{loss} at operation {operation}");
            // It goes on, and what it has then survives too.
            life.Overwrite();
            life.Rig.Restart(PowerLoss.LoseAll);
            life.Check($"{loss} at operation {operation}, and once more");
        }
    }

    [Fact(DisplayName = "A volume whose order began anew while its blocks were beside the log: they stay where they are, and no watermark from before commits anything")]
    public void Order_begins_anew()
    {
        var life = new Life(0);
        var volume = life.Rig.Find();
        for (var count = 0; life.Rig.Store.ColdWaiting == 0; count++)
        {
            Assert.True(count < 100_000, "no segment of the cleaner was waiting for the log");
            life.OverwriteOne();
        }
        var commit = volume.CommitWatermark;
        // The same order, from a lower number on: what is appended now is not committed by what the copies carry.
        Assert.Equal(IoStatus.Ok, volume.SetPosition(commit - 100, 1, discardAll: false));
        life.Rig.Sync(volume);
        for (var block = 0UL; block < 80; block++) Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, block, StoreRig.Bytes(block), 1, volume.CommitWatermark));
        life.Rig.Sync(volume);
        life.Rig.Restart(PowerLoss.LoseAll);
        volume = life.Rig.Find();
        Assert.Null(volume.Damage);
        Assert.Equal((commit - 100, commit - 20), (volume.CommitWatermark, volume.LastSequence));
    }

    [Fact(DisplayName = "A segment beside the log that the log goes past before it is full is given back, and nothing of it counts")]
    public void Given_up()
    {
        var life = new Life(0, cleanBelowPercent: 50);
        var volume = life.Rig.Find();
        for (var count = 0; life.Rig.Store.ColdFilling == 0; count++)
        {
            Assert.True(count < 100_000, "no segment was begun beside the log");
            life.OverwriteOne();
        }
        life.Trim(0, Blocks / 2);
        // With so much room the cleaner has nothing to do; the few that are written die by themselves.
        for (var count = 0; life.Rig.Store.ColdFilling > 0; count++)
        {
            Assert.True(count < 40_000, "it was kept for ever");
            life.Write(count % 16, sync: count % 512 == 0);
        }
        life.Rig.Sync(volume);
        var table = life.Rig.Store.Segments;
        Assert.Equal(table.All.Count, table.All.Count(segment => segment.Number > 0) + table.FreeCount);
        Assert.DoesNotContain(table.All, segment => segment.IsMoving);
        life.Rig.Restart(PowerLoss.LoseAll);
        life.Check("after it was given up");
    }

    /// <summary>One store and what is known of it: block by block, the newest content that was synced (0: trimmed), and those since.</summary>
    private sealed class Life
    {
        private readonly Random _random = new(9);
        private readonly ulong[] _durable = new ulong[Blocks];
        private readonly List<(ulong Sequence, int Block, ulong Content)> _since = [];
        private ulong _contents;

        public Life(long powerOffAt, int cleanBelowPercent = 34)
        {
            Rig = new StoreRig(9, new StoreOptions { CapacityBytes = Segments * (long)StoreOptions.SegmentBytesMin, CleanBelowFreePercent = cleanBelowPercent, CheckpointIntervalBytes = 1 << 20 }).Open();
            Rig.Create();
            for (var block = 0; block < Blocks; block++) Write(block, sync: block % 64 == 63);
            Synced();
            Started = Rig.Disk.Operations;
            Rig.Disk.PowerOffAt = powerOffAt;
        }

        public StoreRig Rig { get; }

        public long Started { get; }

        public void Overwrite()
        {
            for (var count = 0; count < Overwrites && !Rig.Disk.IsOff; count++) OverwriteOne();
        }

        /// <summary>Half of the blocks are cold.</summary>
        public void OverwriteOne() => Write(_random.Next(Blocks / 2) * 2, _random.Next(32) == 0);

        public void Check(string where)
        {
            var volume = Rig.Find();
            Assert.True(volume.Damage is null, $"{where}: {volume.Damage}");
            foreach (var (sequence, block, content) in _since)
            {
                if (sequence <= volume.LastSequence) _durable[block] = content;
            }
            _since.Clear();
            volume.Commit(volume.LastSequence);
            for (var block = 0; block < Blocks; block++)
            {
                var (status, read) = Rig.Read(volume, (ulong)block);
                var expected = _durable[block] == 0 ? [] : StoreRig.Bytes(_durable[block]);
                Assert.True(status == IoStatus.Ok && read[0].Bytes.AsSpan().SequenceEqual(expected), $"{where}: block {block} is {status}, and not what was written");
            }
        }

        public void Trim(int first, int count)
        {
            var volume = Rig.Find();
            Assert.Equal(IoStatus.Ok, StoreRig.Append(volume, StoreRig.Trim(StoreRig.Volume, volume.LastSequence + 1, new BlockRange((ulong)first, (uint)count), 1, volume.CommitWatermark)));
            for (var block = first; block < first + count; block++) _since.Add((volume.LastSequence, block, 0));
            volume.Commit(volume.LastSequence);
            Synced();
        }

        public void Write(int block, bool sync)
        {
            var volume = Rig.Find();
            var content = ++_contents;
            var status = StoreRig.AppendBlock(volume, (ulong)block, StoreRig.Bytes(content), 1, volume.CommitWatermark);
            for (var waits = 0; status == IoStatus.NoSpace && waits < 100 && !Rig.Disk.IsOff; waits++)
            {
                Rig.Sync(volume);
                status = StoreRig.AppendBlock(volume, (ulong)block, StoreRig.Bytes(content), 1, volume.CommitWatermark);
            }
            if (Rig.Disk.IsOff) return;
            Assert.True(status == IoStatus.Ok, $"{status}, {Rig.Store.FailureReason}, {Rig.Store.Usage}");
            _since.Add((volume.LastSequence, block, content));
            volume.Commit(volume.LastSequence);
            if (volume.LastSequence % 8 == 0) Rig.Loop.Settle();
            if (sync) Synced();
        }

        private void Synced()
        {
            var volume = Rig.Find();
            var covered = volume.LastSequence;
            Rig.Sync(volume);
            if (Rig.Disk.IsOff) return;
            foreach (var (sequence, block, content) in _since)
            {
                if (sequence <= covered) _durable[block] = content;
            }
            _since.RemoveAll(write => write.Sequence <= covered);
        }
    }
}
