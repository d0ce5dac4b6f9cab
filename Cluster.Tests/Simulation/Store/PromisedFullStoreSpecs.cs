using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;
using Xunit.Abstractions;

namespace Cluster.Tests.Simulation.Store;

/// <summary>
/// R21 and the cleaner: who writes uses only what it was promised, as an owner does, and idle volumes keep promises that they never use. The segments are larger than what the cleaner reads at a time,
/// so that it has to wait for its pace, and what it moves is in segments beside the log for long. Whatever waits for whom: as long as there is something to be freed, the promise comes.
/// </summary>
public sealed class PromisedFullStoreSpecs(ITestOutputHelper output)
{
    private const int SegmentBytes = 4 << 20;
    private const int Segments = 24;
    private const int WaitsMax = 300;

    [Theory(DisplayName = "Nearly full and overwritten within what is promised, records of one block and of 64, with idle promises: room comes again and again, and after each loss of power all is there")]
    [InlineData(0, 1, 1)]
    [InlineData(0, 64, 2)]
    [InlineData(1, 1, 3)]
    [InlineData(1, 64, 4)]
    [InlineData(30, 1, 5)]
    [InlineData(30, 64, 6)]
    [InlineData(60, 1, 7)]
    [InlineData(60, 64, 8)]
    public void Overwritten(int idle, int blocksOfRecord, int seed)
    {
        var life = new Life(idle, blocksOfRecord, seed);
        // All but a tenth of what is neither promised to others nor kept for the next promise.
        var free = life.Rig.Store.Usage.CapacityBytes - life.IdleBytes - (2 * SegmentBytes);
        var extents = (int)(free / 10 * 8 / (blocksOfRecord * Limits.BlockBytes));
        for (var extent = 0; extent < extents; extent++) life.Write(extent);
        var lifetimes = 1;
        for (var count = 0; count < extents * 2; count++)
        {
            life.Write(life.Random.Next(extents));
            if (life.Random.Next(extents) > 1) continue;
            lifetimes++;
            life.LosePower();
        }
        output.WriteLine($"{extents} extents, {lifetimes} lifetimes, {life.IdleBytes} idle, {life.Waits} waits, at most {life.WaitsMost}; {life.Rig.Store.Activity}, {life.Rig.Store.Usage}");
        life.LosePower();
        Assert.True(life.ColdSegments > 0, "nothing was moved beside the log");
    }

    [Theory(DisplayName = "Full to the last promise, and then a part is trimmed: room comes, again and again, with idle promises too")]
    [InlineData(0, 1, 11)]
    [InlineData(0, 64, 12)]
    [InlineData(1, 1, 13)]
    [InlineData(30, 64, 14)]
    [InlineData(60, 1, 15)]
    public void Filled_and_trimmed(int idle, int blocksOfRecord, int seed)
    {
        var life = new Life(idle, blocksOfRecord, seed);
        var written = new List<int>();
        var next = 0;
        for (var round = 0; round < 5; round++)
        {
            var filled = 0;
            for (; life.TryWrite(next, 40); filled++) written.Add(next++);
            output.WriteLine($"round {round}: {filled} written, {life.Rig.Store.Usage}");
            // Of each segment's worth a part, so that nothing is free before the cleaner has moved the rest.
            var trimmed = written.Where(_ => life.Random.Next(3) == 0).ToList();
            foreach (var extent in trimmed) life.Trim(extent);
            written.RemoveAll(trimmed.Contains);
            Assert.True(round == 0 || filled > 0, $"round {round}: what was trimmed gave no room: {life.Rig.Store.Usage}");
            for (var count = 0; count < trimmed.Count / 2; count++) life.Write(written[life.Random.Next(written.Count)]);
            if (round % 2 == 1) life.LosePower();
        }
        life.LosePower();
    }

    /// <summary>A busy volume, idle ones that hold promises, and what is known of the busy one's blocks.</summary>
    private sealed class Life
    {
        private readonly Dictionary<int, ulong> _durable = [];
        private readonly List<(ulong Sequence, int Extent, ulong Content)> _since = [];
        private readonly int _idle;
        private readonly int _blocks;
        private readonly long _cost;
        private ulong _contents;

        public Life(int idle, int blocksOfRecord, int seed)
        {
            (_idle, _blocks, Random) = (idle, blocksOfRecord, new Random(seed));
            _cost = Limits.CreditOf(RecordHeader.SizeBytes + (blocksOfRecord * (BlockDescriptor.SizeBytes + Limits.BlockBytes)));
            Rig = new StoreRig((ulong)seed, new StoreOptions { SegmentBytes = SegmentBytes, CapacityBytes = Segments * (long)SegmentBytes, CleanBelowFreePercent = 34, CheckpointIntervalBytes = 16 << 20 }).Open();
            for (var index = 0; index < idle; index++) Rig.Create(IdOf(index)).Grant();
            Rig.Create();
            Rig.Loop.Settle();
            Promise();
        }

        public StoreRig Rig { get; }

        public Random Random { get; }

        public long IdleBytes { get; private set; }

        public long Waits { get; private set; }

        public int WaitsMost { get; private set; }

        public long ColdSegments { get; private set; }

        public void Write(int extent) => Assert.True(TryWrite(extent, WaitsMax), $"no room came for a write: {Rig.Store.FailureReason}, {Rig.Store.UnpromisedBytes} not promised, "
            + $"{Rig.Find().Grant()} of {_cost} promised, {Rig.Store.ColdWaiting} waiting and {Rig.Store.ColdFilling} filling beside the log, {Rig.Store.Activity}, {Rig.Store.Usage}");

        public bool TryWrite(int extent, int waitsMax)
        {
            var volume = Rig.Find();
            for (var waits = 0; volume.Grant() < _cost; waits++)
            {
                if (waits == waitsMax) return false;
                (Waits, WaitsMost) = (Waits + 1, Math.Max(WaitsMost, waits + 1));
                // Nothing happens but what the store does by itself: nobody writes or flushes.
                Rig.Loop.Settle();
                Rig.Loop.Advance(100);
            }
            var content = ++_contents;
            var blocks = Enumerable.Range(0, _blocks).Select(index => StoreRig.Bytes(content + ((ulong)index << 32))).ToArray();
            var status = StoreRig.Append(volume, StoreRig.Write(volume.Volume, volume.LastSequence + 1, (ulong)(extent * _blocks), blocks, 1, volume.CommitWatermark));
            Assert.True(status == IoStatus.Ok, $"what was promised is {status}: {Rig.Store.FailureReason}");
            Settle(volume, extent, content);
            return true;
        }

        public void Trim(int extent)
        {
            var volume = Rig.Find();
            var record = StoreRig.Trim(volume.Volume, volume.LastSequence + 1, new BlockRange((ulong)(extent * _blocks), (uint)_blocks), 1, volume.CommitWatermark);
            var status = StoreRig.Append(volume, record);
            Assert.True(status == IoStatus.Ok, $"a trim is {status}: {Rig.Store.FailureReason}, {Rig.Store.Usage}");
            Settle(volume, extent, 0);
        }

        public void LosePower()
        {
            ColdSegments += Rig.Store.ColdSegments;
            Rig.Restart(PowerLoss.LoseAll);
            var volume = Rig.Find();
            Assert.True(volume.Damage is null, volume.Damage);
            NoteDurable(volume.LastSequence);
            _since.Clear();
            volume.Commit(volume.LastSequence);
            foreach (var (extent, content) in _durable)
            {
                var index = Random.Next(_blocks);
                var (status, read) = Rig.Read(volume, (ulong)((extent * _blocks) + index));
                var expected = content == 0 ? [] : StoreRig.Bytes(content + ((ulong)index << 32));
                Assert.True(status == IoStatus.Ok && read[0].Bytes.AsSpan().SequenceEqual(expected), $"block {index} of extent {extent} is {status}, and not what was written");
            }
            Promise();
        }

        private static VolumeId IdOf(int index) => new((ulong)(100 + index));

        private void Promise() => IdleBytes = Enumerable.Range(0, _idle).Sum(index => Rig.Find(IdOf(index)).Grant());

        private void Settle(IVolumeStore volume, int extent, ulong content)
        {
            _since.Add((volume.LastSequence, extent, content));
            volume.Commit(volume.LastSequence);
            if (volume.LastSequence % 8 == 0) Rig.Loop.Settle();
            if (volume.LastSequence % 64 != 0) return;
            Rig.Sync(volume);
            NoteDurable(volume.DurableSequence);
        }

        private void NoteDurable(ulong upTo)
        {
            foreach (var (sequence, extent, content) in _since)
            {
                if (sequence <= upTo) _durable[extent] = content;
            }
            _since.RemoveAll(write => write.Sequence <= upTo);
        }
    }
}
