using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>One store and what is known of it: block by block, the newest content that was synced (0: trimmed), and those since.</summary>
internal sealed class ColdSegmentLife
{
    public const int Blocks = 1100;
    private const int Segments = 24;

    /// <summary>Enough for some segments of the cleaner to be written, put into the log, synced and checkpointed.</summary>
    private const int Overwrites = 450;

    private readonly Random _random;
    private readonly HeldScheduler _scheduler;
    private readonly ulong[] _durable = new ulong[Blocks];
    private readonly List<(ulong Sequence, int Block, ulong Content)> _since = [];
    private ulong _contents;

    public ColdSegmentLife(long powerOffAt, int cleanBelowPercent = 34, int seed = 9, int disks = 1)
    {
        _random = new Random(seed);
        Rig = new StoreRig((ulong)seed, new StoreOptions { CapacityBytes = Segments * (long)StoreOptions.SegmentBytesMin, CleanBelowFreePercent = cleanBelowPercent, CheckpointIntervalBytes = 1 << 20 }, disks: disks);
        _scheduler = new HeldScheduler(Rig.Loop, DiskLane.Background);
        Rig.Scheduler = _scheduler;
        Rig.Open();
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
    public void OverwriteOne()
    {
        Write(_random.Next(Blocks / 2) * 2, _random.Next(32) == 0);
        // One write puts it into the log: all but that is on media (docs/disk-format.md, rule 12).
        if (!Rig.Disk.IsOff) Assert.All(Rig.Store.ColdWhole, whole => Assert.True(Rig.Disk.IsSyncedFrom(NameOf(whole), ColdSegment.LinkBytes), $"{whole.Name} is whole, and not on media"));
    }

    /// <summary>Overwrites until a segment of the cleaner waits for the log, and more if that is asked.</summary>
    public void UntilOneWaits(Func<bool>? and = null)
    {
        for (var count = 0; Rig.Store.ColdWaiting == 0 || and?.Invoke() == false; count++)
        {
            Assert.True(count < 20_000, "no segment of the cleaner was waiting for the log");
            OverwriteOne();
        }
    }

    /// <summary>
    /// The same order, from a lower number on: what is appended now is not committed by what copies beside the log carry. Ends with a loss of power, and with the model.
    /// </summary>
    public void BeginAnew()
    {
        var volume = Rig.Find();
        Assert.True(Rig.Store.ColdWaiting > 0, "nothing waits beside the log");
        // No checkpoint comes in between: what the records say is replayed.
        _scheduler.IsHolding = true;
        var commit = volume.CommitWatermark;
        Assert.Equal(IoStatus.Ok, volume.SetPosition(commit - 100, 1, discardAll: false));
        // No turn between: more than a segment holds, so that the log leaves its segment in the midst of them.
        for (var block = 0UL; block < 80; block++) Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, block, StoreRig.Bytes(block), 1, volume.CommitWatermark));
        Assert.Equal(0, Rig.Store.ColdWaiting);
        Rig.Sync(volume);
        _scheduler.IsHolding = false;
        Rig.Restart(PowerLoss.LoseAll);
        volume = Rig.Find();
        Assert.Null(volume.Damage);
        Assert.Equal((commit - 100, commit - 20), (volume.CommitWatermark, volume.LastSequence));
    }

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

    /// <summary>With the directory of its disk.</summary>
    private string NameOf(Segment segment) => Rig.Disk.Names.Single(name => name.EndsWith(segment.Name, StringComparison.Ordinal));

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
