using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>
/// One seed of a store that is filled, emptied again by the deletion of a volume, and cut, in many lives: what the last checkpoint names and what the log behind it has fill it together. Throws, naming the
/// seed, where an open store fails by itself, where it takes no header after an open or, once it was emptied, no data, and where a block is not what was written.
/// </summary>
public sealed class FullLivesRun(int seed)
{
    private const int Segments = 20;
    private const int Lives = 10;
    private const int SmallBlocks = 120;
    private const int WaitsMax = 50;
    private static readonly VolumeId Small = new(1);
    private static readonly VolumeId Filler = new(2);

    private readonly Random _random = new(seed);
    private readonly Dictionary<ulong, (ulong Sequence, ulong Content)> _durable = [];
    private readonly List<(ulong Sequence, ulong Block, ulong Content)> _since = [];
    private ulong _contents;

    private readonly StoreRig _rig = new((ulong)seed, new StoreOptions
    {
        CapacityBytes = Segments * (long)StoreOptions.SegmentBytesMin,
        CheckpointIntervalBytes = seed % 2 == 0 ? 64 << 20 : 2L << 20,
    });

    /// <summary>Opens that had to free segments before the log went on.</summary>
    public int FreedAtOpen { get; private set; }

    public int Filled { get; private set; }

    public static void Run(int seed) => new FullLivesRun(seed).Execute();

    public void Execute()
    {
        _rig.Open();
        _rig.Create(Small);
        _rig.Sync(_rig.Find(Small));
        for (var life = 0; life < Lives; life++)
        {
            try
            {
                Live();
                Cut();
            }
            catch (Exception error)
            {
                throw new InvalidOperationException($"seed {seed}, life {life}: {error.Message}", error);
            }
        }
    }

    private void Live()
    {
        if (_random.Next(3) == 0) _rig.Disk.PowerOffAt = _rig.Disk.Operations + _random.Next(1, 2000);
        if (_random.Next(4) > 0) Fill();
        if (_random.Next(4) == 0 && !_rig.Disk.IsOff)
        {
            _rig.StopClean();
            Open();
        }
        Write(_random.Next(SmallBlocks));
        if (_random.Next(4) > 0 && !_rig.Disk.IsOff && _rig.Store.Find(Filler) is not null)
        {
            Must(_rig.Store.Delete(Filler) == IoStatus.Ok, "a volume can't be deleted");
            _rig.Sync(_rig.Find(Small));
            if (!_rig.Disk.IsOff) Write(_random.Next(6 * SmallBlocks), waits: true);
        }
        IsWell();
    }

    /// <summary>Until nothing finds room any more.</summary>
    private void Fill()
    {
        if (_rig.Store.Find(Filler) is null && _rig.Store.Create(Filler, new byte[] { 1 }).Status != IoStatus.Ok) return;
        var filler = _rig.Find(Filler);
        filler.Events = _rig.Events;
        for (var block = 0UL; !_rig.Disk.IsOff; block++)
        {
            var status = StoreRig.AppendBlock(filler, filler.LastSequence, StoreRig.Bytes(block), 1, filler.CommitWatermark);
            if (status == IoStatus.NoSpace) Filled++;
            if (status != IoStatus.Ok) break;
            filler.Commit(filler.LastSequence);
            if (block % 8 == 0) _rig.Loop.Settle();
        }
        _rig.Sync(filler);
    }

    /// <param name="count">Blocks of the small volume, over and over.</param>
    /// <param name="waits">There must be room for each of them.</param>
    private void Write(int count, bool waits = false)
    {
        var volume = _rig.Find(Small);
        for (var index = 0; index < count && !_rig.Disk.IsOff; index++)
        {
            var (block, content) = ((ulong)_random.Next(SmallBlocks), ++_contents);
            var status = StoreRig.AppendBlock(volume, block, StoreRig.Bytes(content), 1, volume.CommitWatermark);
            for (var tries = 0; waits && status == IoStatus.NoSpace && tries < WaitsMax && !_rig.Disk.IsOff; tries++)
            {
                _rig.Sync(volume);
                _rig.Loop.Advance(100);
                status = StoreRig.AppendBlock(volume, block, StoreRig.Bytes(content), 1, volume.CommitWatermark);
            }
            if (_rig.Disk.IsOff) return;
            if (status == IoStatus.NoSpace && !waits) return;
            Must(status == IoStatus.Ok, $"block {index} of {count} finds no room: {status}, {_rig.Store.Usage}");
            _since.Add((volume.LastSequence, block, content));
            volume.Commit(volume.LastSequence);
            if (_random.Next(8) == 0) _rig.Sync(volume);
            if (!_rig.Disk.IsOff && volume.DurableSequence > 0) Settle(volume.DurableSequence);
        }
    }

    private void Settle(ulong sequence)
    {
        foreach (var write in _since.Where(write => write.Sequence <= sequence)) _durable[write.Block] = (write.Sequence, write.Content);
        _since.RemoveAll(write => write.Sequence <= sequence);
    }

    /// <summary>Some opens are cut too, at any of their steps.</summary>
    private void Cut()
    {
        _rig.Disk.Restart((PowerLoss)_random.Next(3));
        while (_random.Next(3) == 0)
        {
            _rig.Disk.PowerOffAt = _rig.Disk.Operations + _random.Next(1, 14);
            _rig.TryOpen();
            _rig.Disk.Restart((PowerLoss)_random.Next(3));
        }
        Open();
        var volume = _rig.Find(Small);
        Must(volume.Damage is null, $"damaged: {volume.Damage}");
        Settle(volume.LastSequence);
        _since.Clear();
        volume.Commit(volume.LastSequence);
        foreach (var (block, (sequence, content)) in _durable)
        {
            var (status, read) = _rig.Read(volume, block);
            Must(status == IoStatus.Ok && read[0].Sequence == sequence && read[0].Bytes.AsSpan().SequenceEqual(StoreRig.Bytes(content)), $"block {block} is not what record {sequence} wrote: {status}");
        }
    }

    private void Open()
    {
        _rig.Open();
        FreedAtOpen += _rig.Store.CheckpointsWritten;
        // As a node does with each of its copies.
        foreach (var volume in _rig.Store.Volumes.ToArray()) volume.SaveHeader(new byte[1024]);
        _rig.Sync(_rig.Find(Small));
        IsWell();
    }

    private void IsWell() => Must(_rig.Disk.IsOff || _rig.Store.FailureReason is null, $"the store failed: {_rig.Store.FailureReason}, {_rig.Store.Usage}");

    private static void Must(bool holds, string what)
    {
        if (!holds) throw new InvalidOperationException(what);
    }
}
