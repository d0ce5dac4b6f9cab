using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>A busy volume, idle ones that hold promises, and what is known of the busy one's blocks.</summary>
internal sealed class PromisedLife
{
    public const int SegmentBytes = 4 << 20;
    public const int WaitsMax = 300;

    private readonly Dictionary<int, ulong> _durable = [];
    private readonly List<(ulong Sequence, int Extent, ulong Content)> _since = [];
    private readonly int _idle;
    private readonly int _blocks;
    private readonly long _cost;
    private ulong _contents;
    private ulong _durableUpTo;

    public PromisedLife(int idle, int blocksOfRecord, int seed, int segments = 24, int cleanBelowPercent = 34)
    {
        (_idle, _blocks, Random) = (idle, blocksOfRecord, new Random(seed));
        _cost = Limits.CreditOf(RecordHeader.SizeBytes + (blocksOfRecord * (BlockDescriptor.SizeBytes + Limits.BlockBytes)));
        Rig = new StoreRig((ulong)seed, new StoreOptions { SegmentBytes = SegmentBytes, CapacityBytes = segments * (long)SegmentBytes, CleanBelowFreePercent = cleanBelowPercent, CheckpointIntervalBytes = 16 << 20 }).Open();
        for (var index = 0; index < idle; index++) Rig.Create(IdOf(index)).Grant();
        Rig.Create();
        Rig.Loop.Settle();
        Promise();
    }

    public StoreRig Rig { get; }

    public Random Random { get; }

    /// <summary>The power went in a call: nothing is answered before <see cref="LosePower"/>.</summary>
    public bool IsOff => Rig.Disk.IsOff;

    /// <summary>So many extents leave the cleaner a fifth of what is neither promised to others nor kept for the next promise: it gets on, and so does the writer.</summary>
    public int ExtentsWithRoom => (int)((Rig.Store.Usage.CapacityBytes - IdleBytes - (2 * SegmentBytes)) / 10 * 8 / (_blocks * Limits.BlockBytes));

    public long IdleBytes { get; private set; }

    public long Waits { get; private set; }

    public int WaitsMost { get; private set; }

    public long ColdSegments { get; private set; }

    public void Write(int extent) => Assert.True(TryWrite(extent, WaitsMax), $"no room came for a write: {Rig.Store.FailureReason}, {Rig.Store.UnpromisedBytes} not promised, "
        + $"{Rig.Find().Grant()} of {_cost} promised, {Rig.Store.ColdWaiting} waiting and {Rig.Store.ColdFilling} filling beside the log, {Rig.Store.Activity}, {Rig.Store.Usage}");

    public bool TryWrite(int extent, int waitsMax)
    {
        var volume = Rig.Find();
        for (var waits = 0; volume.Grant() < _cost && !IsOff; waits++)
        {
            if (waits == waitsMax) return false;
            (Waits, WaitsMost) = (Waits + 1, Math.Max(WaitsMost, waits + 1));
            // Nothing happens but what the store does by itself: nobody flushes, and nobody writes but one that uses what it was promised long ago.
            if (UsesIdle) UseIdle((int)(Waits % _idle), 1);
            Rig.Loop.Settle();
            Rig.Loop.Advance(100);
        }
        var content = ++_contents;
        var blocks = Enumerable.Range(0, _blocks).Select(index => StoreRig.Bytes(content + ((ulong)index << 32))).ToArray();
        var status = StoreRig.Append(volume, StoreRig.Write(volume.Volume, volume.LastSequence + 1, (ulong)(extent * _blocks), blocks, 1, volume.CommitWatermark));
        if (status != IoStatus.Ok && IsOff) return true;
        Assert.True(status == IoStatus.Ok, $"what was promised is {status}: {Rig.Store.FailureReason}");
        Settle(volume, extent, content);
        return true;
    }

    public void Trim(int extent)
    {
        var volume = Rig.Find();
        IoStatus Append() => StoreRig.Append(volume, StoreRig.Trim(volume.Volume, volume.LastSequence + 1, new BlockRange((ulong)(extent * _blocks), (uint)_blocks), 1, volume.CommitWatermark));
        var status = Append();
        for (var waits = 0; status == IoStatus.NoSpace && waits < WaitsMax && !IsOff; waits++)
        {
            Rig.Loop.Advance(100);
            status = Append();
        }
        if (status != IoStatus.Ok && IsOff) return;
        Assert.True(status == IoStatus.Ok, $"a trim is {status}: {Rig.Store.FailureReason}, {Rig.Store.Usage}");
        Settle(volume, extent, 0);
    }

    /// <summary>Whatever the process or the host is left with: all that was synced is there, and nothing is torn.</summary>
    public void LosePower(PowerLoss loss = PowerLoss.LoseAll)
    {
        ColdSegments += Rig.Store.ColdSegments;
        Rig.Restart(loss);
        var volume = Rig.Find();
        Assert.True(volume.Damage is null, volume.Damage);
        Assert.True(volume.LastSequence >= _durableUpTo, $"{volume.LastSequence} is left, and {_durableUpTo} was on media");
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

    /// <summary>Idle ones use their promises a record at a time, just when room is wanted.</summary>
    public bool UsesIdle { get; set; }

    /// <summary>Records that idle volumes have written.</summary>
    public long IdleRecords { get; private set; }

    /// <summary>All that is promised is used now, by all of them, without a turn of the store in between: there is room for it.</summary>
    public void UseAllPromises()
    {
        for (var index = 0; index < _idle; index++) UseIdle(index, int.MaxValue);
        Rig.Sync(Rig.Find());
    }

    /// <summary>Over the same few blocks again and again.</summary>
    private void UseIdle(int index, int recordsMax)
    {
        var volume = Rig.Find(IdOf(index));
        for (var count = 0; count < recordsMax && ((VolumeStore)volume).GrantedBytes >= OneBlockCost && !IsOff; count++)
        {
            var status = StoreRig.AppendBlock(volume, volume.LastSequence % 16, StoreRig.Bytes(volume.LastSequence), 1, volume.CommitWatermark);
            if (IsOff) return;
            Assert.True(status == IoStatus.Ok, $"what was promised to {volume.Volume} is {status}: {((VolumeStore)volume).GrantedBytes} promised, {Rig.Store.ColdWaiting} waiting and {Rig.Store.ColdMoving} moving beside the log, "
                + $"{Rig.Store.FailureReason}, {Rig.Store.Activity}, {Rig.Store.Usage}");
            volume.Commit(volume.LastSequence);
            IdleRecords++;
        }
    }

    private static readonly long OneBlockCost = Limits.CreditOf(RecordHeader.SizeBytes + BlockDescriptor.SizeBytes + Limits.BlockBytes);

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
        _durableUpTo = upTo;
        foreach (var (sequence, extent, content) in _since)
        {
            if (sequence <= upTo) _durable[extent] = content;
        }
        _since.RemoveAll(write => write.Sequence <= upTo);
    }
}
