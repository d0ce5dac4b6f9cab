using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>What a run begins with.</summary>
/// <param name="MapPages">So many pages of the maps are kept in memory; 0: all.</param>
public sealed record StoreModelSetup(int Seed, int Disks, int MapPages, bool LosesPages, int Devices, bool IsLong, int AheadBytes = 0);

/// <summary>The store was not its model.</summary>
public sealed class StoreModelException(string message, Exception inner, StoreModelSetup setup, IReadOnlyList<StoreStep> steps) : InvalidOperationException(message, inner)
{
    public StoreModelSetup Setup => setup;

    /// <summary>Those that were taken, the one that failed included.</summary>
    public IReadOnlyList<StoreStep> Steps => steps;
}

/// <summary>What a run did: whether it was lively enough to show something.</summary>
public readonly record struct StoreModelFacts(int Cleaned, int Freed, int Checkpoints, long Cold, MapCacheFacts Maps, int HandDownSlices)
{
    public StoreModelFacts And(StoreRig rig)
    {
        var (store, facts) = (rig.Store, rig.Store.Maps.Facts);
        return new StoreModelFacts(Cleaned + store.SegmentsCleaned, Freed + store.SegmentsFreed, Checkpoints + store.CheckpointsWritten, Cold + store.ColdSegments, Maps with
        {
            Evictions = Maps.Evictions + facts.Evictions,
            Written = Maps.Written + facts.Written,
            LoadsInPlace = Maps.LoadsInPlace + facts.LoadsInPlace,
            LoadsByThread = Maps.LoadsByThread + facts.LoadsByThread,
            // A disk without power gives nothing back.
            LostPages = Maps.LostPages + (rig.Disk.IsOff ? 0 : facts.LostPages),
        }, HandDownSlices + store.Maps.HandDownSlices);
    }
}
