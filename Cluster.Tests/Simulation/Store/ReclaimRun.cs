using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>One seed of it. Throws, naming the seed, where a volume is not what was written.</summary>
public sealed class ReclaimRun(int seed)
{
    private const int Segments = 12;
    private const int Lives = 6;
    private const int Quiet = 0;
    private const int Busy = 1;

    private static readonly VolumeId[] Ids = [new(1), new(2)];
    private static readonly int[] Blocks = [10, 430];

    private readonly Random _random = new(seed);
    private readonly List<ulong>[] _written = [[0], [0]];
    private readonly StoreRig _rig = new((ulong)seed, new StoreOptions
    {
        CapacityBytes = Segments * (long)StoreOptions.SegmentBytesMin,
        CheckpointIntervalBytes = (1 + (seed % 8)) * (long)StoreOptions.SegmentBytesMin,
    });

    public int Freed { get; private set; }

    public int Checkpoints { get; private set; }

    public static void Run(int seed) => new ReclaimRun(seed).Execute();

    public void Execute()
    {
        _rig.Open();
        foreach (var id in Ids) _rig.Create(id);
        _rig.Sync(_rig.Find(Ids[0]));
        for (var life = 0; life < Lives; life++)
        {
            if (_random.Next(3) > 0) _rig.Disk.PowerOffAt = _rig.Disk.Operations + _random.Next(20, 600);
            for (var round = 0; round < 6 && !_rig.Disk.IsOff; round++) Round();
            (Freed, Checkpoints) = (Freed + _rig.Store.SegmentsFreed, Checkpoints + _rig.Store.CheckpointsWritten);
            _rig.Disk.PowerOffAt = 0;
            _rig.Disk.Restart((PowerLoss)_random.Next(3));
            Check(life);
        }
    }

    private void Round()
    {
        // Its last records may be committed while nothing in the log says so, or not be committed for long.
        if (_random.Next(4) > 0) Write(Quiet, Blocks[Quiet]);
        if (_random.Next(3) > 0) _rig.Find(Ids[Quiet]).Commit(_rig.Find(Ids[Quiet]).LastSequence);
        Write(Busy, _random.Next(100, 600));
        if (_random.Next(4) == 0 && !_rig.Disk.IsOff) _rig.Sync(_rig.Find(Ids[_random.Next(2)]));
    }

    private void Write(int which, int count)
    {
        var volume = _rig.Find(Ids[which]);
        for (var index = 0; index < count && !_rig.Disk.IsOff; index++)
        {
            var block = which == Quiet ? (ulong)index : (ulong)_random.Next(Blocks[which]);
            if (StoreRig.AppendBlock(volume, block, Content(which, volume.LastSequence + 1), 1, volume.CommitWatermark) == IoStatus.Ok) _written[which].Add(block);
            if (which == Busy && _random.Next(4) == 0) volume.Commit(volume.LastSequence);
            if (_random.Next(4) == 0) _rig.Loop.Turn();
        }
    }

    private byte[] Content(int which, ulong sequence) => StoreRig.Bytes((sequence << 1) | (uint)which);

    private void Check(int life)
    {
        _rig.Open();
        for (var which = 0; which < Ids.Length; which++)
        {
            var volume = _rig.Find(Ids[which]);
            if (volume.Damage is { } damage) throw new InvalidOperationException($"seed {seed}, life {life}: volume {Ids[which]} is damaged: {damage}");
            var newest = new Dictionary<ulong, ulong>();
            _written[which].RemoveRange((int)volume.LastSequence + 1, _written[which].Count - (int)volume.LastSequence - 1);
            for (var sequence = 1UL; sequence <= volume.LastSequence; sequence++) newest[_written[which][(int)sequence]] = sequence;
            volume.Commit(volume.LastSequence);
            foreach (var (block, sequence) in newest)
            {
                var (status, blocks) = _rig.Read(volume, block);
                if (status != IoStatus.Ok || blocks[0].Sequence != sequence || !blocks[0].Bytes.AsSpan().SequenceEqual(Content(which, sequence)))
                    throw new InvalidOperationException($"seed {seed}, life {life}: block {block} of volume {Ids[which]} is not what record {sequence} wrote: {status}");
            }
        }
    }
}
