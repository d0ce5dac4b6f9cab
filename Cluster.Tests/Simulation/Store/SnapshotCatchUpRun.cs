using System.Collections.Immutable;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>One seed of it. Throws, naming the seed, where the two differ.</summary>
public sealed class SnapshotCatchUpRun(int seed)
{
    private const int Blocks = 40;

    private readonly Random _random = new(seed);
    private readonly StoreRig _ownerRig = NewRig(seed);
    private readonly StoreRig _copyRig = NewRig(-seed);
    private ulong _contents;

    public IVolumeStore Owner { get; private set; } = null!;

    private IVolumeStore Copy { get; set; } = null!;

    public static void Run(int seed) => new SnapshotCatchUpRun(seed).Execute();

    public void Execute()
    {
        (Owner, Copy) = (_ownerRig.Create(), _copyRig.Create());
        for (var round = 0; round < 3; round++)
        {
            Go(_random.Next(60), isLive: true, mayRestore: true);
            Go(_random.Next(60), isLive: false, mayRestore: true);
            CatchUp();
            Compare();
        }
    }

    private static StoreRig NewRig(int seed) => new StoreRig((ulong)Math.Abs(seed), new StoreOptions
    {
        CapacityBytes = 12L * StoreOptions.SegmentBytesMin,
        CleanBelowFreePercent = seed % 2 == 0 ? 95 : 20,
        CheckpointIntervalBytes = seed % 3 == 0 ? 64 << 20 : 200 * 1024,
    }).Open();

    /// <summary>The owner goes on; what is live reaches the copy too.</summary>
    private void Go(int steps, bool isLive, bool mayRestore)
    {
        for (var step = 0; step < steps; step++)
        {
            var record = NextRecord(mayRestore);
            Take(_ownerRig, Owner, record);
            if (isLive) Take(_copyRig, Copy, record);
            record.Release();
            if (_random.Next(60) == 0) Owner = Restart(_ownerRig, Owner);
            else if (_random.Next(10) == 0) _ownerRig.Loop.Settle();
        }
    }

    private static void Take(StoreRig rig, IVolumeStore volume, IoBuffer record)
    {
        record.AddReference();
        Assert.Equal(IoStatus.Ok, StoreRig.Append(volume, record));
        volume.Commit(volume.LastSequence);
        rig.Loop.Turn();
    }

    private static IVolumeStore Restart(StoreRig rig, IVolumeStore volume)
    {
        rig.Sync(volume);
        var watermark = volume.CommitWatermark;
        var restarted = rig.Restart(PowerLoss.LoseAll).Find();
        restarted.Commit(watermark);
        return restarted;
    }

    private IoBuffer NextRecord(bool mayRestore)
    {
        var (sequence, kind) = (Owner.LastSequence + 1, _random.Next(10));
        if (kind < 6) return StoreRig.Write(StoreRig.Volume, sequence, (ulong)_random.Next(Blocks), [StoreRig.Bytes(_contents++)[.._random.Next(1, 600)]]);
        if (kind < 8) return StoreRig.Trim(StoreRig.Volume, sequence, new BlockRange((ulong)_random.Next(Blocks), (uint)_random.Next(1, 12)));
        var kept = Owner.Snapshots.Where(_ => _random.Next(5) > 0).ToImmutableArray();
        var restores = mayRestore && kept.Length > 0 && _random.Next(4) == 0;
        var buffer = new SnapshotMarker(!restores, restores ? kept[_random.Next(kept.Length)] : 0, kept).Build(StoreRig.Volume, out var header);
        (header.Sequence, header.Epoch) = (sequence, 1);
        header.Encode(buffer.Span);
        return buffer;
    }

    private void CatchUp()
    {
        var since = Copy.CommitWatermark;
        for (var isDone = false; !isDone;)
        {
            Assert.Equal(IoStatus.Ok, Copy.SetPosition(Owner.CommitWatermark, 1, false));
            Assert.Equal(IoStatus.Ok, Copy.SetSnapshots(Owner.Snapshots));
            isDone = Stream(since, Owner.CommitWatermark);
            if (!isDone) Copy = Restart(_copyRig, Copy);
        }
    }

    /// <summary>False: it was interrupted.</summary>
    private bool Stream(ulong since, ulong join)
    {
        ChangeCursor? cursor = null;
        do
        {
            var records = new List<IoBuffer>();
            (var status, cursor) = Owner.ReadChanges(since, join, cursor, _random.Next(1, 2000), records);
            Assert.Equal(IoStatus.Ok, status);
            foreach (var record in records) Assert.Equal(IoStatus.Ok, StoreRig.Append(Copy, record));
            _copyRig.Loop.Turn();
            // No restore reaches a copy that is only partly there.
            if (_random.Next(2) == 0) Go(_random.Next(4), isLive: true, mayRestore: false);
            if (_random.Next(40) == 0) return false;
        }
        while (cursor is not null);
        return true;
    }

    private void Compare()
    {
        Assert.Equal(Owner.Snapshots, Copy.Snapshots);
        var (owner, copy) = (((VolumeStore)Owner).Map, ((VolumeStore)Copy).Map);
        for (var block = 0UL; block < Blocks; block++)
        {
            Assert.True(Owner.SequenceOf(block, false) == Copy.SequenceOf(block, false), $"seed {seed}: block {block}");
            foreach (var snapshot in Owner.Snapshots)
            {
                var (isSeen, isSeenThere) = (owner.FindAt(snapshot, block, out var here, out _), copy.FindAt(snapshot, block, out var there, out _));
                Assert.True(isSeen == isSeenThere && here.Sequence == there.Sequence && here.Checksum == there.Checksum,
                    $"seed {seed}: block {block} in snapshot {snapshot} is of {here.Sequence} and of {there.Sequence}");
                var bytes = new byte[there.LengthBytes];
                Assert.True(!isSeenThere || ((VolumeStore)Copy).ReadBlock(in there, block, bytes) == IoStatus.Ok, $"seed {seed}: block {block} in snapshot {snapshot} can't be read");
            }
        }
        Assert.Equal(Owner.Usage, Copy.Usage);
        Assert.Equal(Owner.Snapshots.Select(Owner.UsageOf), Copy.Snapshots.Select(Copy.UsageOf));
        foreach (var snapshot in Owner.Snapshots)
            Assert.Equal(Owner.DigestSnapshot(snapshot, new BlockRange(0, Blocks)), Copy.DigestSnapshot(snapshot, new BlockRange(0, Blocks)));
    }
}
