using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>
/// Drives a store and its model through the same random steps, by a seed. After a crash the store must be the model as of some step
/// between the last flush that was answered and the last step taken: never less, never anything else.
/// </summary>
public sealed partial class StoreModelRun
{
    private const int LivesOfASeed = 12;
    private const int StepsOfALife = 400;

    /// <summary>In that time the cleaner fills a segment or some.</summary>
    private const int StepsOfALongLife = 4000;

    /// <summary>By the seed: every fourth keeps so many pages of the maps in memory, 1 to 3, the others all.</summary>
    public const int BySeed = -1;

    private static readonly VolumeId[] Ids = [new(1), new(2), new(77), new(78), new(79)];

    /// <summary>Steps to a bit that flips, and slots from the first on in one of which that is.</summary>
    private const int FlipOneIn = 20;
    private const int FlippedSlots = 16;
    private readonly Random? _flips;
    private readonly bool _losesPages;

    /// <summary>All that was drawn so far.</summary>
    private readonly List<StoreStep> _taken = [];
    private readonly Random _random;
    private readonly List<ModelStep> _steps = [];
    private readonly HashSet<(VolumeId Volume, ulong Block, ulong Sequence)> _used = [];
    private StoreModel _base = new();
    private StoreModel _now = new();
    private int _writtenSteps;
    private int _durableSteps;
    private ulong _contents;
    private bool _goesOff;

    /// <param name="seed">Decides all.</param>
    /// <param name="options">Null: by the seed.</param>
    /// <param name="disks">Of the store; block devices besides.</param>
    /// <param name="mapPages">So many pages of the maps are kept in memory; 0: all.</param>
    /// <param name="losesPages">Bits flip in those that are not.</param>
    public StoreModelRun(int seed, StoreOptions? options = null, int disks = 1, int mapPages = 0, bool losesPages = false, int devices = 0)
    {
        _random = new Random(seed);
        _losesPages = losesPages;
        _flips = losesPages ? new Random(seed + 1) : null;
        var chosen = options ?? DefaultOptions(seed);
        if (mapPages > 0) chosen = chosen with { MapCacheBytes = (long)mapPages * MapCache.PageBytes };
        Rig = new StoreRig((ulong)seed, chosen, disks: disks, devices: devices);
        Rig.Open();
    }

    public StoreRig Rig { get; }

    public int Recoveries { get; private set; }

    public int Clones { get; private set; }

    public static StoreOptions DefaultOptions(int seed) => new()
    {
        SegmentBytes = StoreOptions.SegmentBytesMin,
        CapacityBytes = (seed % 2 == 0 ? 10L : 16L) * StoreOptions.SegmentBytesMin,
        CleanBelowFreePercent = seed % 2 == 0 ? 95 : 20,
        CheckpointIntervalBytes = seed % 3 == 0 ? 64 << 20 : 200 * 1024,
        // Deleted snapshots go page by page in three of five.
        HandDownBlocks = seed % 5 < 3 ? 1 : 16_384,
        LayerPageVersions = LayerPageVersionsOf(seed),
    };

    /// <summary>The few blocks that there are lie in several pages of a snapshot's, in five of six.</summary>
    public static int LayerPageVersionsOf(int seed) => seed % 6 == 5 ? MapPage.Blocks : 2 + (Math.Abs(seed) % 6);

    /// <summary>Room for segments beside the log, and a cleaner that always works.</summary>
    private static StoreOptions Roomy(int seed) => DefaultOptions(seed) with { CapacityBytes = (24L + (seed % 3 * 8)) * StoreOptions.SegmentBytesMin, CleanBelowFreePercent = 99 };

    /// <summary>Twelve lives of one store, each ended by a stop, a kill or a loss of power. Throws, naming the seed, where the store is not its model.</summary>
    /// <exception cref="StoreModelException">With the steps that were taken.</exception>
    public static StoreModelFacts Run(int seed, int disks = 1, int mapPages = BySeed, bool losesPages = false, int devices = 0, bool isLong = false, int aheadBytes = 0)
    {
        if (mapPages == BySeed) mapPages = seed % 4 == 1 ? 1 + (seed / 4 % 3) : 0;
        var setup = new StoreModelSetup(seed, disks, mapPages, losesPages, devices, isLong, aheadBytes);
        var did = default(StoreModelFacts);
        var run = Of(setup);
        var random = new Random(-seed);
        var life = 0;
        try
        {
            for (; life < LivesOfASeed; life++)
            {
                run.Live(random, isLong ? StepsOfALongLife : StepsOfALife);
                did = did.And(run.Rig);
                if (!losesPages) Assert.Equal(0, did.Maps.LostPages);
                run.End(random);
            }
            run.CompareCopies();
        }
        catch (Exception error)
        {
            throw new StoreModelException($"seed {seed}, life {life}: {error.Message}", error, setup, run._taken);
        }
        return did;
    }

    /// <summary>The steps, or some of them, once more. Throws where the store is not its model.</summary>
    public static void Replay(StoreModelSetup setup, IReadOnlyList<StoreStep> steps)
    {
        var run = Of(setup);
        foreach (var step in steps) run.Do(step);
        // A page may be bad, and nobody has seen it.
        if (run.IsOver || (setup.LosesPages && !run._isFresh)) run.Crash(PowerLoss.LoseAll);
        run.Compare();
        run.CompareCopies();
    }

    private static StoreModelRun Of(StoreModelSetup setup)
    {
        var run = new StoreModelRun(setup.Seed, setup.IsLong ? Roomy(setup.Seed) : null, setup.Disks, setup.MapPages, setup.LosesPages, setup.Devices);
        run.Rig.Disk.AheadBytes = setup.AheadBytes;
        run.Rig.Disk.ShortWrites = setup.Seed % 2 == 0;
        run.Rig.Disk.UncachedOneIn = setup.Seed % 3 == 0 ? 4 : 0;
        return run;
    }

    private void Live(Random random, int stepsMax)
    {
        _goesOff = random.Next(2) == 0;
        if (_goesOff) Take(Of(StoreStepKind.PowerOff, default, (ulong)random.Next(1, stepsMax * 3 / 20)));
        Steps(random.Next(1, stepsMax));
        if (!Rig.Disk.IsOff) Take(Of(StoreStepKind.PowerOff, default, 0));
    }

    private void End(Random random)
    {
        // A page may be bad, and nobody has seen it.
        if (!IsOver && _flips is null && random.Next(3) == 0) Take(Of(StoreStepKind.Compare, default));
        if (!IsOver && random.Next(4) == 0) Take(Of(StoreStepKind.Stop, default));
        else Take(Of(StoreStepKind.Crash, default, (ulong)(_goesOff ? random.Next(1, 3) : random.Next(3))));
        Take(Of(StoreStepKind.Compare, default));
    }

    private bool IsOver => Rig.Disk.IsOff || Rig.Store.FailureReason is not null;

    /// <summary>Steps until the count is reached, the disk went off, or the store failed.</summary>
    public void Steps(int count)
    {
        for (var step = 0; step < count && !IsOver; step++)
        {
            Step();
            if (_flips?.Next(FlipOneIn) == 0 && Rig.Store.Maps.Facts.FileBytes > 0) Take(Of(StoreStepKind.FlipBit, default, (ulong)_flips.NextInt64(FlippedSlots * MapPageFile.SlotBytes * 8L)));
        }
    }

    public void Flush(IVolumeStore volume)
    {
        var before = Rig.Events.Durable.Count;
        volume.RequestSync();
        Rig.Loop.Settle();
        if (Rig.Store.FailureReason is not null) return;
        _writtenSteps = _steps.Count;
        Assert.True(Rig.Events.Durable.Count > before, "a flush was not answered");
        _durableSteps = _steps.Count;
        Assert.Equal(volume.LastSequence, volume.DurableSequence);
    }

    public void Crash(PowerLoss loss)
    {
        Rig.Disk.Restart(loss);
        Reopen(loss == PowerLoss.ProcessOnly ? _writtenSteps : _durableSteps);
    }

    public void StopAndReopen()
    {
        Rig.StopClean();
        Reopen(_steps.Count);
        Assert.False(Rig.Store.Suspect);
    }

    /// <summary>Compares all that can be read with the model of now.</summary>
    public void Compare()
    {
        Rig.Loop.Settle();
        Assert.Null(Differs(_now));
        var stored = Rig.Store.Volumes.Sum(volume => volume.Usage.StoredBytes + volume.Usage.SnapshotBytes)
            + Rig.Store.Detached.Sum(map => map.StoredBytes + map.SnapshotBytes);
        Assert.Equal(stored, Rig.Store.Segments.LiveBytes);
        Assert.Equal(stored, Rig.Store.Segments.All.Sum(segment => segment.LiveBytes));
        Assert.Equal(_now.Volumes.Values.Sum(volume => volume.Tail.Count), Rig.Store.Segments.All.Sum(segment => segment.TailRecords));
    }

    /// <summary>A replica built from nothing but this one's changes holds the same.</summary>
    public void CompareCopies()
    {
        foreach (var (id, model) in _now.Volumes)
        {
            var source = Rig.Find(id);
            var copyRig = new StoreRig(9, new StoreOptions { CapacityBytes = 32L * StoreOptions.SegmentBytesMin }).Open();
            var copy = copyRig.Create(id);
            Assert.Equal(IoStatus.Ok, copy.SetPosition(source.CommitWatermark, 1, true));
            Assert.Equal(IoStatus.Ok, copy.SetSnapshots(source.Snapshots));
            ChangeCursor? cursor = null;
            do
            {
                var records = new List<IoBuffer>();
                (var status, cursor) = source.ReadChanges(0, ulong.MaxValue, cursor, 8192, records);
                Assert.Equal(IoStatus.Ok, status);
                foreach (var record in records) Assert.Equal(IoStatus.Ok, StoreRig.Append(copy, record));
            }
            while (cursor is not null);
            copyRig.Sync(copy);
            copyRig.Restart(PowerLoss.LoseAll);
            Assert.Null(DiffersInBlocks(copyRig, copyRig.Find(id), model));
            Assert.Null(DiffersInSnapshots(copyRig.Find(id), model, ownsAll: true));
            // What is the copy's own is the source's own and what that shares.
            var (whole, own) = (copyRig.Find(id).Usage, source.Usage);
            Assert.Equal((whole.StoredBytes, whole.MappedBlocks), (own.StoredBytes + own.SharedBytes, own.MappedBlocks + own.SharedBlocks));
        }
    }

    private void Reopen(int atLeast)
    {
        (Recoveries, _isFresh) = (Recoveries + 1, true);
        Rig.Open();
        var state = _base.Clone();
        for (var index = 0; index < atLeast; index++) state.Apply(_steps[index]);
        var differences = new List<string>();
        for (var index = atLeast; ; index++)
        {
            if (Differs(state) is not { } difference)
            {
                (_base, _now) = (state, state.Clone());
                _steps.Clear();
                (_writtenSteps, _durableSteps) = (0, 0);
                return;
            }
            differences.Add($"{index}: {difference}");
            Assert.True(index < _steps.Count,
                $"recovered to no state from step {atLeast} to {_steps.Count}:\n{string.Join('\n', differences)}");
            state.Apply(_steps[index]);
        }
    }

    private string? Differs(StoreModel model)
    {
        if (!Rig.Store.Volumes.Select(volume => volume.Volume).Order().SequenceEqual(model.Volumes.Keys.Order())) return "other volumes";
        foreach (var (id, expected) in model.Volumes)
        {
            var volume = Rig.Find(id);
            Assert.Null(volume.Damage);
            if (volume.LastSequence != expected.Last) return $"{id}: last {volume.LastSequence}, expected {expected.Last}";
            if (volume.LastRecordEpoch != expected.LastEpoch) return $"{id}: epoch {volume.LastRecordEpoch}, expected {expected.LastEpoch}";
            if (!volume.Header.Span.SequenceEqual(expected.Header)) return $"{id}: header";
            if (volume.CommitWatermark > expected.Watermark)
                return $"{id}: watermark {volume.CommitWatermark}, at most {expected.Watermark}";
        }
        foreach (var (id, expected) in model.Volumes)
        {
            var volume = Rig.Find(id);
            volume.Commit(expected.Watermark);
            if (DiffersInBlocks(Rig, volume, expected) is { } blocks) return $"{id}: {blocks}";
            if (DiffersInSnapshots(volume, expected) is { } snapshots) return $"{id}: {snapshots}";
            if (DiffersInTail(volume, expected) is { } tail) return $"{id}: {tail}";
        }
        return null;
    }

    private static string? DiffersInBlocks(StoreRig rig, IVolumeStore volume, ModelVolume model)
    {
        foreach (var run in StoreModel.Domain.Chunk(8))
        {
            var (status, blocks) = rig.Read(volume, run[0], (uint)run.Length);
            if (status != IoStatus.Ok) return $"block {run[0]}: {status}";
            for (var index = 0; index < run.Length; index++)
            {
                var expected = model.Blocks.GetValueOrDefault(run[index]);
                if (volume.SequenceOf(run[index], false) != expected.Sequence || blocks[index].Sequence != expected.Sequence)
                    return $"block {run[index]}: sequence {blocks[index].Sequence}, expected {expected.Sequence}";
                if (!blocks[index].Bytes.AsSpan().SequenceEqual(expected.Content)) return $"block {run[index]}: content";
            }
        }
        return null;
    }

    private static string? DiffersInSnapshots(IVolumeStore volume, ModelVolume model, bool ownsAll = false)
    {
        if (!volume.Snapshots.SequenceEqual(model.Snapshots)) return $"snapshots {string.Join(' ', volume.Snapshots)}, expected {string.Join(' ', model.Snapshots)}";
        foreach (var snapshot in model.Snapshots)
        {
            foreach (var block in StoreModel.Domain)
            {
                var expected = model.At(snapshot, block);
                var isSeen = ((VolumeStore)volume).Map.FindAt(snapshot, block, out var entry, out var holder);
                if (isSeen != expected.IsWritten || (isSeen && entry.Sequence != expected.Sequence))
                    return $"block {block} in snapshot {snapshot}: sequence {entry.Sequence}, expected {expected}";
                var bytes = new byte[entry.LengthBytes];
                if (isSeen && ((VolumeStore)volume).ReadBlock(holder.Volume, in entry, block, bytes) is not IoStatus.Ok and var status) return $"block {block} in snapshot {snapshot}: {status}";
                if (!bytes.AsSpan().SequenceEqual(expected.Content))
                    return $"block {block} in snapshot {snapshot}: content of {bytes.Length} bytes, expected {expected} with {expected.Content?.Length}";
            }
            var map = ((VolumeStore)volume).Map;
            var others = map.Layers.Select(layer => layer.Sequence).Where(other => other != snapshot).ToList();
            var usage = model.UsageOf(snapshot, others, map.IsPinnedAt(snapshot), ownsAll);
            // What a deleted one still keeps, although only this one needs it, is not its own yet.
            var found = volume.UsageOf(snapshot);
            if (map.Layers.Any(layer => layer.IsLeaving) ? found.UniqueBytes + found.SharedBytes != usage.UniqueBytes + usage.SharedBytes : found != usage) return $"snapshot {snapshot}: {volume.UsageOf(snapshot)}, expected {usage}";
        }
        return null;
    }

    private static string? DiffersInTail(IVolumeStore volume, ModelVolume model)
    {
        for (var index = 0; index < model.Tail.Count; index++)
        {
            var (status, record) = volume.ReadTail(volume.TailFrom + (ulong)index + 1);
            if (status != IoStatus.Ok) return $"tail {index}: {status}";
            Assert.Equal(IoStatus.Ok, RecordHeader.TryDecode(record!.Span, out var header));
            var payload = record.Span[header.PayloadOffset..].ToArray();
            record.Release();
            var expected = model.Tail[index];
            if (header.Epoch != expected.Epoch || header.Range != expected.Range)
                return $"tail {index}: {header.Range} of epoch {header.Epoch}";
            if (expected.Marker is { } marker)
            {
                var found = SnapshotMarker.TryDecode(payload);
                if (found is null || found.Creates != marker.Creates || found.RestoreFrom != marker.RestoreFrom || found.Part != marker.Part || !found.Kept.SequenceEqual(marker.Kept)) return $"tail {index}: marker";
            }
            else if (!payload.AsSpan().SequenceEqual((expected.Contents ?? []).SelectMany(content => content).ToArray()))
                return $"tail {index}: payload";
        }
        return null;
    }
}
