using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>
/// One seed of disks that are drained, taken away and brought back, under writes, with losses of power, directories that can't be synced for a while, and at last the loss of the segment where the
/// checkpoint ends. Throws, naming the seed, where something of that is lost without a word.
/// </summary>
public sealed class DrainRun(int seed)
{
    private const int Lives = 5;
    private const int Blocks = 300;

    private readonly Random _random = new(seed);

    /// <summary>By sequence, which block it wrote.</summary>
    private readonly List<ulong> _written = [0];
    private readonly StoreRig _rig = new((ulong)seed, new StoreOptions
    {
        CapacityBytes = 40L * StoreOptions.SegmentBytesMin,
        CheckpointIntervalBytes = (1 + (seed % 4)) * 300_000,
    }, disks: 3);

    /// <summary>How often a disk was taken away that was empty.</summary>
    public int Taken { get; private set; }

    public static void Run(int seed) => new DrainRun(seed).Execute();

    public void Execute()
    {
        _rig.Open();
        _rig.Sync(_rig.Create());
        _rig.StopClean();
        _rig.Open();
        for (var life = 0; life < Lives; life++)
        {
            Order();
            if (_random.Next(3) > 0) _rig.Disk.PowerOffAt = _rig.Disk.Operations + _random.Next(20, 500);
            for (var round = 0; round < 12 && !_rig.Disk.IsOff; round++) Round();
            var durable = _rig.Find().DurableSequence;
            Restart((PowerLoss)_random.Next(3));
            if (_rig.Find().LastSequence < durable) throw Broken($"life {life}: {durable} was flushed, {_rig.Find().LastSequence} is there");
            Check($"life {life}");
        }
        LoseEndOfCheckpoint();
    }

    /// <summary>Of one of the further disks that are there.</summary>
    private void Order()
    {
        foreach (var directory in _rig.Directories) (directory.IsGone, directory.FailDirectorySyncs) = (false, 0);
        Restart(PowerLoss.ProcessOnly);
        var disk = _rig.Store.Disks[_random.Next(1, 3)];
        if (_random.Next(2) == 0) _rig.Directories.Single(directory => directory.Description == disk.Path).FailDirectorySyncs = _random.Next(1, 30);
        _rig.Store.Drain(disk.Id, drains: disk.State == DiskState.InUse, _ => { });
    }

    private void Round()
    {
        Write(_random.Next(1, 60));
        if (_random.Next(3) == 0 && !_rig.Disk.IsOff) _rig.Sync(_rig.Find());
        if (!_rig.Disk.IsOff) _rig.Loop.Advance(_random.Next(50, 2000));
    }

    private void Write(int count)
    {
        var volume = _rig.Find();
        for (var index = 0; index < count && !_rig.Disk.IsOff; index++)
        {
            var block = (ulong)_random.Next(Blocks);
            if (StoreRig.AppendBlock(volume, block, StoreRig.Bytes(volume.LastSequence + 1), 1, volume.CommitWatermark) == IoStatus.Ok) _written.Add(block);
            volume.Commit(volume.LastSequence);
            if (_random.Next(4) == 0) _rig.Loop.Turn();
        }
    }

    /// <summary>What is empty by the list of disks has no segment on media, and may be missing then.</summary>
    private void Restart(PowerLoss loss)
    {
        _rig.Disk.Restart(loss);
        foreach (var directory in _rig.Directories) directory.FailDirectorySyncs = 0;
        if (DiskRosterFile.TryRead(_rig.Directories[0], out var roster, out _) == IoStatus.Ok)
        {
            foreach (var entry in roster!.Entries.Where(entry => entry.Empty))
            {
                if (_rig.Disk.Names.FirstOrDefault(name => name.StartsWith(entry.Path + SegmentTable.Prefix, StringComparison.Ordinal)) is { } left)
                    throw Broken($"{entry.Path} counts as empty, and {left} is there");
                var directory = _rig.Directories.Single(each => each.Description == entry.Path);
                if (!entry.Drained || _random.Next(2) == 0) continue;
                (directory.IsGone, directory.IsStillNamed) = (true, true);
                Taken++;
            }
        }
        _rig.Open();
    }

    private void Check(string when)
    {
        var volume = _rig.Find();
        if (volume.Damage is { } damage) throw Broken($"{when}: the volume is damaged: {damage}");
        _written.RemoveRange((int)volume.LastSequence + 1, _written.Count - (int)volume.LastSequence - 1);
        volume.Commit(volume.LastSequence);
        var newest = new Dictionary<ulong, ulong>();
        for (var sequence = 1UL; sequence <= volume.LastSequence; sequence++) newest[_written[(int)sequence]] = sequence;
        foreach (var (block, sequence) in newest)
        {
            var (status, blocks) = _rig.Read(volume, block);
            if (status != IoStatus.Ok || blocks[0].Sequence != sequence || !blocks[0].Bytes.AsSpan().SequenceEqual(StoreRig.Bytes(sequence)))
                throw Broken($"{when}: block {block} is not what record {sequence} wrote: {status}");
        }
    }

    /// <summary>With a disk missing that is empty.</summary>
    private void LoseEndOfCheckpoint()
    {
        foreach (var directory in _rig.Directories) (directory.IsGone, directory.FailDirectorySyncs) = (false, 0);
        _rig.Disk.Restart(PowerLoss.ProcessOnly);
        _rig.Open();
        Check("at the end");
        var disk = _rig.Store.Disks[1];
        if (disk.State == DiskState.InUse) _rig.Store.Drain(disk.Id, drains: true, _ => { });
        for (var step = 0; _rig.Store.DiskAt(1).State != DiskState.Drained; step++)
        {
            if (step > 500) throw Broken($"{disk.Path} is not drained: {_rig.Store.DiskAt(1)}");
            _rig.Loop.Advance(200);
        }
        var gone = _rig.Directories.Single(directory => directory.Description == disk.Path);
        (gone.IsGone, gone.IsStillNamed) = (true, true);
        _rig.Disk.Restart(PowerLoss.ProcessOnly);
        _rig.Open();
        Check("without an empty disk");
        var start = _rig.Store.Recovered.From.Number;
        var lost = _rig.Store.Segments.All.SingleOrDefault(segment => segment.Number == start);
        if (lost is null) return;
        _rig.Disk.Restart(PowerLoss.LoseAll);
        _rig.Disk.Delete(_rig.Disk.Names.Single(name => name.EndsWith(lost.Name, StringComparison.Ordinal)));
        _rig.Disk.SyncDirectory();
        _rig.Open();
        if (_rig.Find().Damage is null) throw Broken("the segment where the checkpoint ends is lost, and the volume does not say so");
    }

    private InvalidOperationException Broken(string what) => new($"seed {seed}, {what}");
}
