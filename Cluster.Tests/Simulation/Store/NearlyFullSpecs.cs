using System.Diagnostics;
using System.Globalization;
using Cluster.Messages.Model;
using Cluster.Node.Store;
using Xunit.Abstractions;

namespace Cluster.Tests.Simulation.Store;

/// <summary>A store that is filled to 95 % of what data may use, overwritten at random, and loses its power again and again: what a reopened one has is exactly a prefix of what was written.</summary>
/// <remarks>FILL_MINUTES: for that long, instead of a number of rounds.</remarks>
public sealed class NearlyFullSpecs(ITestOutputHelper output)
{
    private const int Segments = 96;
    private const int RoundsDefault = 6;
    private const int FullPercent = 95;

    /// <summary>Calls that change the disk between two losses of power: several passes over the whole store.</summary>
    private const int OperationsMax = 20_000;

    /// <summary>An overwrite waits for the cleaner at most for so many settled turns.</summary>
    private const int WaitsMax = 200;

    private readonly SortedDictionary<ulong, (ulong Sequence, ulong Content)> _durable = [];
    private readonly List<(ulong Sequence, ulong Block, ulong Content)> _since = [];
    private ulong _contents;

    [Theory(DisplayName = "95 % full, overwritten at random, without power at any moment: what was synced is there, nothing is torn or out of order, and no overwrite waits for ever")]
    [InlineData(1UL)]
    [InlineData(2UL)]
    public void Overwritten_and_cut(ulong seed)
    {
        var random = new Random((int)seed);
        var rig = new StoreRig(seed, new StoreOptions { CapacityBytes = Segments * (long)StoreOptions.SegmentBytesMin }).Open();
        rig.Disk.ShortWrites = true;
        var volume = rig.Create();
        rig.Sync(volume);
        var blocks = Fill(rig, volume);
        var minutes = Environment.GetEnvironmentVariable("FILL_MINUTES") is { Length: > 0 } text ? double.Parse(text, CultureInfo.InvariantCulture) : 0;
        var (watch, rounds, overwrites, cleaned) = (Stopwatch.StartNew(), 0, 0L, 0L);
        for (; minutes > 0 ? watch.Elapsed.TotalMinutes < minutes : rounds < RoundsDefault; rounds++)
        {
            rig.Disk.PowerOffAt = rig.Disk.Operations + random.Next(1, OperationsMax);
            while (!rig.Disk.IsOff)
            {
                if (!Overwrite(rig, volume, (ulong)random.Next(blocks), random.Next(8) == 0)) break;
                overwrites++;
            }
            cleaned += rig.Store.SegmentsCleaned;
            rig.Restart(random.Next(2) == 0 ? PowerLoss.Torn : PowerLoss.LoseAll);
            volume = rig.Find();
            Check(rig, volume, blocks, $"seed {seed}, round {rounds}");
        }
        output.WriteLine($"{blocks} blocks, {overwrites} overwrites, {rounds} losses of power, {cleaned} segments cleaned, {rig.Store.Usage}");
        Assert.True(overwrites > blocks && cleaned > 0, $"{overwrites} overwrites of {blocks} blocks, {cleaned} segments cleaned: that tests little");
    }

    private int Fill(StoreRig rig, IVolumeStore volume)
    {
        var left = rig.Store.Usage.AvailableBytes * (100 - FullPercent) / 100;
        var blocks = 0;
        while (rig.Store.Usage.AvailableBytes > left)
        {
            Assert.True(Overwrite(rig, volume, (ulong)blocks++, sync: blocks % 32 == 0), $"no room for block {blocks}: {rig.Store.Usage}");
        }
        rig.Sync(volume);
        Settle(volume.LastSequence);
        return blocks;
    }

    /// <summary>False: the power has gone.</summary>
    private bool Overwrite(StoreRig rig, IVolumeStore volume, ulong block, bool sync)
    {
        var content = ++_contents;
        for (var waits = 0; ; waits++)
        {
            var status = StoreRig.AppendBlock(volume, block, StoreRig.Bytes(content), 1, volume.CommitWatermark);
            if (status == IoStatus.Ok) break;
            rig.Sync(volume);
            rig.Loop.Advance(100);
            if (rig.Disk.IsOff) return false;
            Assert.True(status == IoStatus.NoSpace && waits < WaitsMax, $"block {block} after {waits} waits: {status}, {rig.Store.FailureReason}, {rig.Store.Usage}");
        }
        _since.Add((volume.LastSequence, block, content));
        volume.Commit(volume.LastSequence);
        if (!sync) return true;
        var covered = volume.LastSequence;
        rig.Sync(volume);
        if (rig.Disk.IsOff) return false;
        Assert.Contains(rig.Events.Durable, durable => durable.Sequence >= covered);
        rig.Events.Durable.Clear();
        Settle(covered);
        return true;
    }

    /// <summary>All up to there is what no loss of power may take.</summary>
    private void Settle(ulong sequence)
    {
        foreach (var (at, block, content) in _since)
        {
            if (at <= sequence) _durable[block] = (at, content);
        }
        _since.RemoveAll(write => write.Sequence <= sequence);
    }

    private void Check(StoreRig rig, IVolumeStore volume, int blocks, string where)
    {
        var last = volume.LastSequence;
        Assert.True(last >= _durable.Values.Max(version => version.Sequence), $"{where}: ends at {last}, and more was synced");
        Settle(last);
        _since.Clear();
        volume.Commit(last);
        for (var block = 0UL; block < (ulong)blocks; block++)
        {
            var (status, read) = rig.Read(volume, block);
            var (sequence, content) = _durable[block];
            Assert.True(status == IoStatus.Ok && read[0].Sequence == sequence && read[0].Bytes.AsSpan().SequenceEqual(StoreRig.Bytes(content)),
                $"{where}: block {block} is {status}, sequence {read.FirstOrDefault().Sequence}, expected {sequence}");
        }
        rig.Sync(volume);
    }
}
