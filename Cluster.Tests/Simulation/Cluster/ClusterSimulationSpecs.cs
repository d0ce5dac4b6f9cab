using Xunit.Abstractions;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>Alone in the process while they run: they count the buffers of the whole process.</summary>
[CollectionDefinition("Cluster simulation", DisableParallelization = true)]
public sealed class ClusterSimulationCollection;

[Collection("Cluster simulation")]
public sealed class ClusterSimulationSpecs(ITestOutputHelper output)
{
    private const int SeedsDefault = 2000;
    private const int StoreSeedsDefault = 300;
    private const int ResizeSeedsDefault = 400;
    private const int LimitedSeedsDefault = 150;
    private const int TightSeedsDefault = 150;
    private const int CloneSeedsDefault = 300;
    private const int CacheSeedsDefault = 300;

    [Fact(DisplayName = "No seed breaks a promise, and each ends with all copies in sync, the same, and everything answered")]
    public void No_seed_breaks_a_promise()
    {
        var results = SeedRange.Run("SIM_SEEDS", SeedsDefault, SimRun.Run);
        output.WriteLine(Summary(results));
        Assert.All(results, result => Assert.True(result.Asked >= 500 && result.Faults >= 10, $"seed {result.Seed} tested little: {result}"));
        if (results.Count < 20) return;
        Assert.True(results.Sum(result => result.Servings) > results.Count, "owners were hardly ever taken over");
        Assert.True(results.Sum(result => result.CatchUps) > results.Count, "hardly any copy was ever caught up");
        Assert.True(results.Sum(result => result.Resumes) > results.Count / 10, "hardly any catch-up went on from a cursor");
        Assert.True(results.Sum(result => result.SlowCopies) > results.Count / 20, "hardly any copy was out for its slowness");
        Assert.True(results.Sum(result => result.SlowOwners) > results.Count / 50, "hardly any owner moved away from a slow disk");
        Assert.True(results.Sum(result => result.HeldForRoom) > results.Count / 20, "hardly any write was ever held for want of room");
        Assert.True(results.Sum(result => result.Forgotten) > results.Count, "hardly any tombstone was ever dropped");
        Assert.True(results.Sum(result => result.TailRecords) > results.Count, "hardly any tail was ever fetched");
        Assert.True(results.Sum(result => result.Depositions) > results.Count / 4, "hardly any owner was ever deposed while it served");
        Assert.True(results.Sum(result => result.Attachments) > results.Count * 3 / 4, "hardly anything was attached");
        var copies = CopiesOf(results);
        Assert.True(new[] { "Added", "Removed", "Deleted" }.All(what => copies[what] > results.Count / 4) && Math.Min(copies["Raised"], copies["Lowered"]) > results.Count / 8,
            $"the number of copies hardly ever changed: {copies}");
        Assert.True(copies["Held"] > results.Count / 50, $"hardly any node held an older copy under another name: {copies}");
        var early = EarlyClaims(results);
        Assert.True(Math.Min(early.Dead, early.Released) > results.Count / 20 && Math.Min(early.Silent, early.Lost + early.Restarted) > results.Count / 100,
            $"hardly any owner was replaced early: {early}");
        var snapshots = SnapshotsOf(results);
        Assert.True(snapshots["Created"] > 2 * results.Count && snapshots["Deleted"] > results.Count / 2 && snapshots["Swept"] > results.Count / 2 && snapshots["Restored"] > results.Count / 10,
            $"snapshots were hardly ever made, deleted or gone back to: {snapshots}");
        Assert.True(snapshots["RestoredByParts"] > results.Count / 20, $"hardly any restore went by parts: {snapshots}");
        Assert.True(Math.Min(snapshots["OfGroup"], snapshots["HeldInVain"]) > results.Count / 4, $"snapshots of groups were hardly ever made, or given up: {snapshots}");
        Assert.True(results.Sum(result => result.PowerLosses) > results.Count / 4 && results.Sum(result => result.Losses) > 0, "hardly any power was lost");
        Assert.True(results.Sum(result => result.Presented) > results.Count / 10, "hardly anything was presented again");
        Assert.True(results.Sum(result => result.Conflicts) > results.Count && results.Sum(result => result.Replays) > results.Count, "hardly any refusals and replays");
    }

    [Fact(DisplayName = "A volume that shrinks and grows while it is written to: it shrinks only over nothing that could come back, and no seed breaks a promise")]
    public void No_seed_breaks_a_promise_while_sizes_change()
    {
        var results = SeedRange.Run("SIM_RESIZE_SEEDS", ResizeSeedsDefault, SimRun.RunResizing);
        var sizes = new SimTally();
        foreach (var result in results) sizes.Add(result.Sizes);
        output.WriteLine($"{Summary(results)}; sizes: {sizes}");
        if (results.Count < 100) return;
        Assert.True(Math.Min(sizes["Shrunk"], sizes["Grown"]) > results.Count && sizes["Beyond"] > results.Count && sizes["Conflict"] > results.Count / 2, $"the size hardly ever changed: {sizes}");
    }

    [Fact(DisplayName = "Of a volume with limits no seed breaks a promise: what waits for them is done once, by whoever owns the volume then, and gives its buffers back")]
    public void No_seed_breaks_a_promise_with_limits()
    {
        var results = SeedRange.Run("SIM_LIMITED_SEEDS", LimitedSeedsDefault, SimRun.RunLimited);
        output.WriteLine($"{Summary(results)}; {results.Sum(result => (long)result.Throttled)} throttled");
        Assert.True(results.Sum(result => (long)result.Throttled) > 50L * results.Count, "hardly anything waited for the limits");
    }

    [Fact(DisplayName = "Where owners have little memory every other moment no seed breaks a promise: what they send back comes again, and is done once")]
    public void No_seed_breaks_a_promise_with_little_memory()
    {
        var results = SeedRange.Run("SIM_TIGHT_SEEDS", TightSeedsDefault, SimRun.RunTight);
        output.WriteLine($"{Summary(results)}; {results.Sum(result => (long)result.RefusedForMemory)} sent back");
        Assert.True(results.Sum(result => (long)result.RefusedForMemory) > 5L * results.Count, "hardly anything was sent back");
    }

    [Fact(DisplayName = "Where front ends keep what they read no seed breaks a promise: what they are told is the same is what the volume holds, through failovers, restores, lost power and lost writes")]
    public void No_seed_breaks_a_promise_to_front_ends_that_keep_what_they_read()
    {
        var results = SeedRange.Run("SIM_CACHE_SEEDS", CacheSeedsDefault, SimRun.RunCaching);
        var (hits, misses, evictions) = (results.Sum(result => result.Cached.Hits), results.Sum(result => result.Cached.Misses), results.Sum(result => result.Cached.Evictions));
        output.WriteLine($"{Summary(results)}; cached: {hits} blocks the same, {misses} not, {evictions} evicted");
        Assert.True(hits > 10L * results.Count && misses > 10L * results.Count && evictions > results.Count, $"hardly anything was kept, or met again: {hits} hits, {misses} misses, {evictions} evictions");
    }

    [Fact(DisplayName = "Clones of a volume, made, written to and deleted while nodes fail, over the snapshots that they stand on or without them: each copy holds what the origin held at the snapshot, and its own writes")]
    public void No_seed_breaks_a_promise_to_clones()
    {
        var results = SeedRange.Run("SIM_CLONE_SEEDS", CloneSeedsDefault, SimRun.RunCloning);
        var clones = new SimTally();
        foreach (var result in results) clones.Add(result.Clones);
        output.WriteLine($"{Summary(results)}; clones: {clones}");
        if (results.Count < 100) return;
        Assert.True(Math.Min(clones["OfVolume"], clones["OfSnapshot"]) > results.Count / 2 && clones["Gone"] == clones["Verified"], $"too few clones, or not all were looked at: {clones}");
        Assert.True(clones["VerifiedAgain"] > results.Count / 2, $"clones were hardly ever compared again: {clones}");
        Assert.True(clones["MadeEmpty"] > results.Count / 4 && clones["MadeFromSnapshot"] > 2 * results.Count, $"copies were hardly ever made in both ways: {clones}");
        Assert.True(clones["CatchUp"] > results.Count && clones["Serving"] > 2 * results.Count && clones["Conditional"] > results.Count, $"clones hardly ever failed over: {clones}");
    }

    [Fact(DisplayName = "Over the program's own store on a disk that fails: no seed breaks a promise, and each ends with all copies in sync, the same, and everything answered")]
    public void No_seed_breaks_a_promise_over_the_store()
    {
        var results = SeedRange.Run("SIM_STORE_SEEDS", StoreSeedsDefault, SimRun.RunOverStore);
        var stores = results.Aggregate(default(SimStoreCounts), (sum, result) => sum + result.Stores);
        output.WriteLine($"{Summary(results)}; {stores}");
        Assert.All(results, result => Assert.True(result.Asked >= 250 && result.Faults >= 10, $"seed {result.Seed} tested little: {result}"));
        if (results.Count < 100) return;
        Assert.True(stores.Opens > 10 * results.Count && stores.Refused > results.Count / 10, $"too few opens: {stores}");
        Assert.True(results.Sum(result => result.Resumes) > results.Count / 5, "hardly any catch-up went on from a cursor");
        Assert.True(stores.ProvenForgotten > 0 && stores.ProvenBeside > 0, $"it was hardly ever proven what is on media: {stores}");
        Assert.True(stores.MapLoads > 100L * results.Count, $"pages of the maps hardly ever came back: {stores}");
        Assert.True(stores.Rotted > results.Count, $"hardly anything rotted: {stores}");
        Assert.True(stores.RottedKept > results.Count / 20, $"hardly anything rotted that only snapshots keep: {stores}");
        var kinds = FaultsOf(results);
        Assert.True(kinds["LosePowerAndKillOthers"] > results.Count / 8 && kinds["FailSyncAndKillOthers"] > results.Count / 20, $"copies were hardly ever left alone: {kinds}");
        Assert.True(stores.Suspect > results.Count && stores.DiedInACall > results.Count / 4 && stores.Failed > results.Count / 4, $"too few faults: {stores}");
        Assert.True(stores.Checkpoints > 5 * results.Count && stores.Freed > results.Count && stores.Cleaned > results.Count / 2, $"the stores did too little: {stores}");
    }

    [Theory(DisplayName = "Seeds over the program's own store that once broke a promise")]
    // A kill in the very first write of a superblock: the store could never be opened again.
    [InlineData(24UL)]
    // The clock of the owner that ended the last scrub was ahead: nothing was scrubbed for as long.
    [InlineData(670UL)]
    // A link broke and was back within a tick: a scrub waited for the answer that had gone with it, for good.
    [InlineData(65UL)]
    [InlineData(610UL)]
    // "Came back with less than it had kept": what rotted was a cleaner's copy above the flush watermark, where bad bytes are a torn tail. The simulation's fault.
    [InlineData(605UL)]
    [InlineData(635UL)]
    // "Came back" without the header that it had written last: it was killed before it heard that its fdatasync had failed, and the pages were dropped. The simulation's fault: it
    // took the store's word for whether a sync had failed, and dropped pages for a failure in an earlier process.
    [InlineData(12438UL)]
    // A write with FUA was kept when it was committed, but not claimed: an order that went on without it gave its sequence to another write, and the next owner was presented both.
    [InlineData(20471UL)]
    // An order was cut twice: where an older epoch's log leaves it was asked of the first cut alone. A session went on without what it had been answered, and a copy kept what it had.
    [InlineData(101418UL)]
    // "Blocks were lost": the only copy in sync had some that had rotted, and mended them once another one was back. The checker's fault.
    [InlineData(111100UL)]
    // A restore that had been lost with the power of all copies was taken for the one that was answered. The checker's fault.
    [InlineData(200063UL)]
    // A copy lost its link after it had answered a scrub, and was sent what was bad before it was aligned again: it dropped it, and the scrub waited for its answer for good.
    [InlineData(1017195UL)]
    // "Blocks were lost": both copies in sync were made to fail a read, once each. The simulation's fault.
    [InlineData(2000335UL)]
    // What rotted was below a flush watermark that was itself not on media yet, where bad bytes are a torn tail. The simulation's fault.
    [InlineData(2004285UL)]
    // A restore waited for a second copy in sync, and every catch-up for the restore: nothing was committed any more.
    [InlineData(2001139UL)]
    // "Answered with BadChecksum": what rotted was on one of three copies, and the processes of the two others died in calls whose failures were still told. The simulation's fault.
    [InlineData(7002385UL)]
    // A read that was asked of a store whose process was ending was executed again in the next one. The simulation's fault.
    [InlineData(8001786UL)]
    public void Seeds_that_once_failed(ulong seed) => Assert.True(SimRun.RunOverStore(seed).Asked > 0);

    [Theory(DisplayName = "Seeds that once broke a promise")]
    // A node lost its disk and then its name, so it held nothing that would have reminded the owner of its old copy. The simulation's fault: its placement replaced copies, and did
    // not strike off the lost ones as the program's does.
    [InlineData(10339UL)]
    // A node lost its name while a change of the set was under way, and the copy that was left was lost too. The simulation's fault: more than P1 allows.
    [InlineData(21605UL)]
    [InlineData(114747UL)]
    // A node lost its name, and a second later another one its disk. The simulation's fault: more than P1 allows.
    [InlineData(206082UL)]
    // The minimum was raised in the moment in which a copy was lost for good, and the owner ended before it noticed. Not the machine's to mend: an operator lowers it (docs/operations.md).
    [InlineData(300096UL)]
    // A copy was named as one that joins, lost its link, and was caught up again before anybody looked: it waited for ever for a stamp that was not sent, since the last one named it.
    [InlineData(408845UL)]
    // "Read as of" a trim that had been lost with the power of all copies, at whose sequence another write stood since. The checker's fault.
    [InlineData(107928UL)]
    // An attachment was still on its way to the journal when the end of the run looked whether there was one, and fenced the client of the last reads. The simulation's fault.
    [InlineData(414557UL)]
    public void Seeds_over_the_model_that_once_failed(ulong seed) => Assert.True(SimRun.Run(seed).Asked > 0);

    [Theory(DisplayName = "Seeds with front ends that keep what they read that once broke a promise")]
    // "The last reads were not answered": what told a front end's old session that it is over came in the milliseconds before its new one was opened, and was taken for that one's. The simulation's fault.
    [InlineData(77000424UL)]
    public void Seeds_that_cache_that_once_failed(ulong seed) => Assert.True(SimRun.RunCaching(seed).Asked > 0);

    [Theory(DisplayName = "Seeds with clones that once broke a promise")]
    // Made while one node's copy of the origin had failed and the other's caught up: both copies of the clone were made empty, and none could ever begin.
    [InlineData(77000014UL)]
    // Told of a commit that it was not answered, a user of a clone claimed it, and was asked to present it after a loss of power. The simulation's fault: it claimed too much.
    [InlineData(77001109UL)]
    public void Seeds_with_clones_that_once_failed(ulong seed) => Assert.True(SimRun.RunCloning(seed).Asked > 0);

    [Fact(DisplayName = "The same seed gives the same run")]
    public void The_same_seed_gives_the_same_run() => Assert.Equal(SimRun.Run(4711), SimRun.Run(4711));

    [Fact(DisplayName = "The same seed gives the same run over the program's own store")]
    public void The_same_seed_gives_the_same_run_over_the_store() => Assert.Equal(SimRun.RunOverStore(4711), SimRun.RunOverStore(4711));

    private static string Summary(List<SimResult> results) => $"{results.Count} seeds: {results.Sum(result => result.Asked)} requests, {results.Sum(result => result.Writes)} writes, "
        + $"{results.Sum(result => result.Reads)} reads, {results.Sum(result => result.Flushes)} flushes, {results.Sum(result => result.Conflicts)} conflicts, "
        + $"{results.Sum(result => result.Replays)} answered replays, {results.Sum(result => result.Faults)} faults, {results.Sum(result => result.Servings)} takeovers, "
        + $"{results.Sum(result => result.CatchUps)} catch-ups ({results.Sum(result => result.Resumes)} from a cursor), {results.Sum(result => result.SlowCopies)} slow copies, "
        + $"{results.Sum(result => result.SlowOwners)} slow owners, {results.Sum(result => result.HeldForRoom)} times held for room, {results.Sum(result => result.Forgotten)} tombstones dropped, {results.Sum(result => result.TailRecords)} tail records, "
        + $"{results.Sum(result => result.Depositions)} depositions, {results.Sum(result => result.Attachments)} attachments, "
        + $"{results.Sum(result => result.PowerLosses)} losses of power, {results.Sum(result => result.Losses)} sessions told of lost writes, {results.Sum(result => result.Presented)} writes presented again, "
        + $"{EarlyClaims(results)}, {results.Sum(result => result.VirtualMs) / 1000} virtual seconds, {results.Sum(result => result.Frames)} frames; {FaultsOf(results)}; copies: {CopiesOf(results)}; snapshots: {SnapshotsOf(results)}";

    private static SimClaimCounts EarlyClaims(IEnumerable<SimResult> results) =>
        results.Aggregate(default(SimClaimCounts), (sum, result) => sum + result.EarlyClaims);

    private static SimTally FaultsOf(List<SimResult> results)
    {
        var kinds = new SimTally();
        foreach (var result in results) kinds.Add(result.Kinds);
        return kinds;
    }

    private static SimTally CopiesOf(List<SimResult> results)
    {
        var copies = new SimTally();
        foreach (var result in results) copies.Add(result.Copies);
        return copies;
    }

    private static SimTally SnapshotsOf(List<SimResult> results)
    {
        var snapshots = new SimTally();
        foreach (var result in results) snapshots.Add(result.Snapshots);
        return snapshots;
    }
}
