using System.Collections.Immutable;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>One seed of it. Throws, naming the seed, where the two differ.</summary>
/// <param name="seed">Of all that is random.</param>
/// <param name="isClone">The owner's volume is a clone, and has clones; the copy begins with nothing.</param>
public sealed class SnapshotCatchUpRun(int seed, bool isClone = false)
{
    private static readonly VolumeId Origin = new(70);

    private const int Blocks = 40;

    private readonly Random _random = new(seed);
    // Each restart begins a segment, and the tail that an idle origin has keeps one.
    private readonly StoreRig _ownerRig = NewRig(seed, isClone ? 24 : 12);
    private readonly StoreRig _copyRig = NewRig(-seed, isClone ? 24 : 12);
    private ulong _contents;

    public IVolumeStore Owner { get; private set; } = null!;

    private IVolumeStore Copy { get; set; } = null!;

    /// <summary>Maps of the owner's store that only clones have.</summary>
    public int Detached => _ownerRig.Store.Detached.Count;

    public static void Run(int seed)
    {
        new SnapshotCatchUpRun(seed).Execute();
        new SnapshotCatchUpRun(seed, isClone: true).Execute();
    }

    public void Execute()
    {
        (Owner, Copy) = (isClone ? MakeClone() : _ownerRig.Create(), _copyRig.Create());
        if (isClone) CatchUp();
        for (var round = 0; round < 3; round++)
        {
            Go(_random.Next(60), isLive: true, mayRestore: true);
            Go(_random.Next(60), isLive: false, mayRestore: true);
            CatchUp();
            Compare();
        }
    }

    /// <summary>Of an origin that may be gone since.</summary>
    private IVolumeStore MakeClone()
    {
        Owner = _ownerRig.Create(Origin);
        Go(_random.Next(1, 60), isLive: false, mayRestore: true);
        var buffer = new SnapshotMarker(true, 0, [.. Owner.Snapshots]).Build(Origin, out var header);
        (header.Sequence, header.Epoch) = (Owner.LastSequence + 1, 1);
        header.Encode(buffer.Span);
        Take(_ownerRig, Owner, buffer);
        var snapshot = Owner.LastSequence;
        buffer.Release();
        var (status, clone) = _ownerRig.Store.CreateClone(StoreRig.Volume, new byte[] { 1 }, Origin, snapshot);
        Assert.Equal(IoStatus.Ok, status);
        clone!.Events = _ownerRig.Events;
        _ownerRig.Sync(clone);
        Go(_random.Next(30), isLive: false, mayRestore: true);
        if (_random.Next(2) == 0) Assert.Equal(IoStatus.Ok, _ownerRig.Store.Delete(Origin));
        return _ownerRig.Find();
    }

    /// <summary>So that the owner's snapshots stay, hidden, when it deletes them.</summary>
    private void CloneOrNot()
    {
        var id = new VolumeId(200 + (ulong)_random.Next(3));
        if (_ownerRig.Store.Find(id) is not null) _ownerRig.Store.Delete(id);
        else if (Owner.Snapshots.Count > 0)
        {
            var (status, made) = _ownerRig.Store.CreateClone(id, new byte[] { 1 }, Owner.Volume, Owner.Snapshots[_random.Next(Owner.Snapshots.Count)]);
            Assert.Equal(IoStatus.Ok, status);
            made!.Events = _ownerRig.Events;
        }
    }

    private static StoreRig NewRig(int seed, int segments) => new StoreRig((ulong)Math.Abs(seed), new StoreOptions
    {
        CapacityBytes = (long)segments * StoreOptions.SegmentBytesMin,
        CleanBelowFreePercent = seed % 2 == 0 ? 95 : 20,
        CheckpointIntervalBytes = seed % 3 == 0 ? 64 << 20 : 200 * 1024,
        LayerPageVersions = StoreModelRun.LayerPageVersionsOf(seed),
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
            if (isClone && Owner.Volume == StoreRig.Volume && _random.Next(20) == 0) CloneOrNot();
            if (_random.Next(60) == 0) Owner = _ownerRig.RestartSynced(Owner);
            else if (_random.Next(10) == 0) _ownerRig.Loop.Settle();
        }
    }

    private static void Take(StoreRig rig, IVolumeStore volume, IoBuffer record)
    {
        record.AddReference();
        var status = StoreRig.Append(volume, record);
        Assert.True(status == IoStatus.Ok, $"{volume.Volume}: {status}; {rig.Store.Detached.Count} detached, {rig.Store.Segments.FreeCount} free; "
            + string.Join(", ", rig.Store.Segments.All.Select(segment => $"{segment.Number}: {segment.LiveBlocks} blocks, {segment.TailRecords} in tails{(segment.IsStuck ? ", stuck" : "")}")));
        volume.Commit(volume.LastSequence);
        rig.Loop.Turn();
    }

    private IoBuffer NextRecord(bool mayRestore)
    {
        var (sequence, kind) = (Owner.LastSequence + 1, _random.Next(10));
        if (kind < 6) return StoreRig.Write(Owner.Volume, sequence, (ulong)_random.Next(Blocks), [StoreRig.Bytes(_contents++)[.._random.Next(1, 600)]]);
        if (kind < 8) return StoreRig.Trim(Owner.Volume, sequence, new BlockRange((ulong)_random.Next(Blocks), (uint)_random.Next(1, 12)));
        var kept = Owner.Snapshots.Where(_ => _random.Next(5) > 0).ToImmutableArray();
        var restores = mayRestore && kept.Length > 0 && _random.Next(4) == 0;
        var (from, to) = ((ulong)_random.Next(Blocks), (ulong)_random.Next(Blocks));
        var part = restores && from < to ? new BlockSpan(from, to) : BlockSpan.All;
        var buffer = new SnapshotMarker(!restores, restores ? kept[_random.Next(kept.Length)] : 0, part, kept).Build(Owner.Volume, out var header);
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
            if (!isDone) Copy = _copyRig.RestartSynced(Copy);
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

    /// <summary>The same, but for checksums, which cover the volume that a block was written to, and for whose the space is.</summary>
    private void CompareClone()
    {
        var all = new BlockRange(0, Blocks);
        foreach (var snapshot in (ulong[])[0, .. Owner.Snapshots])
        {
            for (var block = 0UL; block < Blocks; block++) Assert.True(Owner.SequenceOf(block, false) == Copy.SequenceOf(block, false) && At(Owner, snapshot, block) == At(Copy, snapshot, block), $"seed {seed}: block {block} in snapshot {snapshot}");
            Assert.Equal(Owner.Digest(all, snapshot, withChecksums: false), Copy.Digest(all, snapshot, withChecksums: false));
            Assert.Equal(Owner.NextSnapshot(all, snapshot == 0 ? ulong.MaxValue : snapshot), Copy.NextSnapshot(all, snapshot == 0 ? ulong.MaxValue : snapshot));
        }
        var (own, whole) = (Owner.Usage, Copy.Usage);
        Assert.Equal((own.MappedBlocks + own.SharedBlocks, own.StoredBytes + own.SharedBytes), (whole.MappedBlocks, whole.StoredBytes));
    }

    private static (ulong Sequence, string Bytes) At(IVolumeStore volume, ulong snapshot, ulong block)
    {
        var map = ((VolumeStore)volume).Map;
        if (snapshot == 0 ? !map.Find(block, out var entry, out var holder) : !map.FindAt(snapshot, block, out entry, out holder)) return default;
        var bytes = new byte[entry.LengthBytes];
        Assert.Equal(IoStatus.Ok, ((VolumeStore)volume).ReadBlock(holder.Volume, in entry, block, bytes));
        return (entry.Sequence, Convert.ToHexString(bytes));
    }

    private void Compare()
    {
        Assert.Equal(Owner.Snapshots, Copy.Snapshots);
        if (isClone)
        {
            CompareClone();
            return;
        }
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
        var all = new BlockRange(0, Blocks);
        foreach (var snapshot in Owner.Snapshots)
        {
            Assert.Equal(Owner.DigestSnapshot(snapshot, all), Copy.DigestSnapshot(snapshot, all));
            // A scrub compares what each snapshot keeps.
            Assert.Equal(Owner.Digest(all, snapshot), Copy.Digest(all, snapshot));
            Assert.Equal(Owner.NextSnapshot(all, snapshot), Copy.NextSnapshot(all, snapshot));
        }
    }
}
