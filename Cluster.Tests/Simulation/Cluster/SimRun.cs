using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Owner;
using Cluster.Node.Repair;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>What one seed came to.</summary>
internal sealed record SimResult(ulong Seed, ulong TraceHash, int Asked, int Writes, int Reads, int Flushes, int Conflicts, int Replays, int Faults, int Servings,
    int CatchUps, int TailRecords, int Depositions, int Frames, long VirtualMs, int Attachments, int PowerLosses, int Losses, int Resumes, int SlowCopies, int SlowOwners,
    int HeldForRoom, int Forgotten, int Presented, SimClaimCounts EarlyClaims, SimTally Kinds, SimTally Copies, SimTally Snapshots, SimTally Sizes, SimStoreCounts Stores)
{
    public ulong Throttled { get; init; }

    public ulong RefusedForMemory { get; init; }

    public SimTally Clones { get; init; } = new();

    public (long Hits, long Misses, long Evictions) Cached { get; init; }
}

/// <summary>Owners that were replaced early, by how they were lost.</summary>
internal readonly record struct SimClaimCounts(int Lost, int Dead, int Silent, int Restarted, int Released)
{
    public static SimClaimCounts Of(IReadOnlyDictionary<OwnerLoss, int> claims)
    {
        int Count(OwnerLoss loss) => claims.GetValueOrDefault(loss);
        return new SimClaimCounts(Count(OwnerLoss.Lost), Count(OwnerLoss.Dead), Count(OwnerLoss.Silent), Count(OwnerLoss.Restarted), Count(OwnerLoss.Released));
    }

    public static SimClaimCounts operator +(SimClaimCounts one, SimClaimCounts other) => new(one.Lost + other.Lost, one.Dead + other.Dead,
        one.Silent + other.Silent, one.Restarted + other.Restarted, one.Released + other.Released);
}

/// <summary>One seed: faults and I/O, then everything is mended, all is answered, all copies are in sync and the same.</summary>
internal static class SimRun
{
    private const int WorkMs = 240_000;
    private const int MendMs = 120_000;

    /// <summary>Of a catch-up that takes seconds.</summary>
    private const int SlowBlocksPerSecond = 9;

    public static SimProfile ProfileOf(ulong seed)
    {
        var random = new SimRandom(seed ^ 0xC0FFEE);
        var replicas = random.Percent(75) ? 3 : random.Percent(75) ? 2 : 1;
        var mode = random.Below(10) switch
        {
            < 5 => FailureModeKind.Soft,
            < 8 => FailureModeKind.AlwaysOn,
            8 => FailureModeKind.Hard,
            _ => FailureModeKind.Threshold,
        };
        var power = random.Percent(25);
        var isTight = seed % 4 == 1 && seed % 5 != 2;
        var losesDisks = !power && random.Percent(50);
        // Where one copy may decide alone, what it must not trust shows.
        if (losesDisks && new SimRandom(seed ^ 0xA10E).Percent(50)) mode = FailureModeKind.AlwaysOn;
        return new SimProfile
        {
            Replicas = replicas,
            FailureMode = mode,
            FailureThreshold = (int)random.Between(1, replicas),
            ClientsOnNodes = random.Percent(40),
            PowerLoss = power,
            LosesDisks = losesDisks,
            Blocks = random.Percent(30) ? 6u : 24,
            // A third of the seeds is scrubbed all the time, and no copy may ever be found to differ.
            // And in half of them a catch-up takes seconds, so that much happens before it ends; the copy keeps its cursor after about three blocks.
            CatchesUpSlowly = seed % 2 == 0,
            CatchUpMarkBytes = seed % 2 == 0 ? 500 : 16 << 20,
            Repair = new RepairOptions
            {
                ScrubInterval = seed % 3 == 0 ? TimeSpan.FromMilliseconds(300) : TimeSpan.FromDays(7),
                CatchUpBytesPerSecond = seed % 2 == 0 ? 1500 : 64 << 20,
                SlowLag = TimeSpan.FromMilliseconds(300),
                SlowFor = TimeSpan.FromSeconds(2),
                SlowWait = TimeSpan.FromMilliseconds(500),
                CatchUpShortBytes = seed % 4 == 0 ? 0 : 64 << 20,
            },
            Attaches = random.Percent(35),
            AttachesOften = seed % 3 == 1,
            // In a fifth of the seeds the number of copies changes.
            ChangesCopies = replicas > 1 && new SimRandom(seed ^ 0xC0917E5).Percent(25),
            // In a fifth of them a copy promises room for two of the largest records, so that writes are often held for want of credit.
            CreditBytes = isTight ? 2 * Limits.CreditOf(RecordHeader.SizeBytes + (SimRecords.BlocksMax * (BlockDescriptor.SizeBytes + SimRecords.EncodedBytesMin)))
                : Limits.CreditBytesMax,
            // In a seventh of them tombstones go as soon as they may.
            PassedIntervalMs = seed % 7 == 4 ? 200 : int.MaxValue,
            KeepsRoom = isTight && seed % 8 == 1,
            // In a quarter of the seeds nodes replace an owner that they have lost sight of before sharding does.
            ClaimsEarly = seed % 4 == 3,
            // A fifth of the seeds does without leases.
            ReadLease = seed % 5 != 2,
            // In a third of them snapshots are made, deleted and gone back to.
            TakesSnapshots = new SimRandom(seed ^ 0x5A45).Percent(33),
        };
    }

    /// <summary>Over the program's own store: fewer requests, of blocks that fill its segments.</summary>
    public static SimProfile RealProfileOf(ulong seed)
    {
        var random = new SimRandom(seed ^ 0x0D15C);
        var profile = ProfileOf(seed);
        if (seed % 5 == 0) profile = profile with { Rots = true, Replicas = 3, FailureMode = FailureModeKind.Hard, PowerLoss = false, LosesDisks = false };
        var power = profile.PowerLoss || (random.Percent(35) && !profile.Rots);
        var encodedBytes = (int)random.Between(150, 500) * 8;
        if (power && random.Percent(40)) profile = profile with { FailureMode = FailureModeKind.AlwaysOn };
        return profile with
        {
            RealStore = true,
            ChangesCopies = false,
            EncodedBytes = encodedBytes,
            OperationsPerClient = 100,
            // Half of the seeds lose power: that is what a store is for.
            PowerLoss = power,
            LosesDisks = profile.LosesDisks && !power,
            // What rots and is not read is found by a scrub.
            Repair = profile.Rots ? new RepairOptions { ScrubInterval = TimeSpan.FromMilliseconds(500) }
                : profile.CatchesUpSlowly ? profile.Repair with { CatchUpBytesPerSecond = SlowBlocksPerSecond * (RecordHeader.SizeBytes + encodedBytes) } : profile.Repair,
            CatchUpMarkBytes = profile.CatchesUpSlowly ? 3L * (RecordHeader.SizeBytes + encodedBytes) : profile.CatchUpMarkBytes,
        };
    }

    public static SimResult Run(ulong seed) => Run(seed, ProfileOf(seed));

    public static SimResult RunOverStore(ulong seed) => Run(seed, RealProfileOf(seed));

    /// <summary>The volume is made smaller and larger; in a third of the seeds over the program's own store.</summary>
    public static SimResult RunResizing(ulong seed)
    {
        var profile = seed % 3 == 2 ? RealProfileOf(seed) : ProfileOf(seed);
        return Run(seed, profile with { Resizes = true, ChangesCopies = false, TakesSnapshots = seed % 7 == 0 });
    }

    /// <summary>Owners send requests back for want of memory.</summary>
    public static SimResult RunTight(ulong seed) => Run(seed, ProfileOf(seed) with { TightMemory = true });

    /// <summary>The volume has a limit at which requests wait most of the time, for less than the hold time.</summary>
    public static SimResult RunLimited(ulong seed) => Run(seed, ProfileOf(seed) with { IopsMax = seed % 2 == 0 ? 40 : 100 });

    /// <summary>
    /// Front ends keep what they read, of a volume that has few blocks, so that they meet again what they have; in a third of the seeds over the program's own store, in a fifth with a limit at which requests
    /// wait. Runs of its own: those of others go as they went before.
    /// </summary>
    public static SimResult RunCaching(ulong seed)
    {
        var profile = seed % 3 == 2 ? RealProfileOf(seed) : ProfileOf(seed);
        return Run(seed, profile with { Caches = true, Blocks = seed % 2 == 0 ? 6u : 12, IopsMax = seed % 5 == 0 ? 100 : 0, Resizes = seed % 7 == 1, ChangesCopies = profile.ChangesCopies && seed % 7 != 1 });
    }

    /// <summary>
    /// The volume is cloned while it is written to, snapshots that clones stand on go, and clones; in a third of the seeds over the program's own store. Nothing rots here, and the number of
    /// copies stays: two volumes can't each lose one at a time.
    /// </summary>
    public static SimResult RunCloning(ulong seed) => Run(seed, (seed % 3 == 2 ? RealProfileOf(seed) : ProfileOf(seed)) with
    {
        Clones = true,
        TakesSnapshots = true,
        ChangesCopies = false,
        Rots = false,
    });

    private static SimResult Run(ulong seed, SimProfile profile)
    {
        var before = BufferPool.Shared.RentedBytes;
        var world = new SimWorld(seed, profile);
        try
        {
            var result = Run(world);
            world.End();
            var leaked = BufferPool.Shared.RentedBytes - before;
            if (leaked != 0) throw new BrokenPromiseException($"{leaked} bytes of buffers were not given back");
            return result;
        }
        catch (Exception e) when (e is BrokenPromiseException or InvariantException or NullReferenceException or InvalidOperationException)
        {
            world.End();
            throw new BrokenPromiseException($"seed {seed} ({world.Profile}): {e.Message}\n{e.StackTrace}\n{string.Join('\n', world.Log)}");
        }
    }

    private static SimResult Run(SimWorld world)
    {
        var history = world.History;
        var faults = world.Faults = new SimFaults(world);
        faults.Start((int)world.Random.Between(12, 24));
        world.RunUntil(() => faults.Left == 0 && world.Clients.All(client => client.IsDone), WorkMs);
        faults.End();
        world.Snapshots.End();
        world.Resizes.End();
        world.Clones.End();
        world.Placement.Restore();
        if (world.Director.WasAttached) AttachToAll(world);
        foreach (var client in world.Clients) history.Check(client.MayBeFenced || !client.WasFenced, () => $"{client.Name} was fenced by nobody");
        history.Check(world.RunUntil(() => world.Clients.All(client => client.IsDone), MendMs), () => $"not all was answered\n{StateOf(world)}");
        history.Check(world.RunUntil(() => IsWhole(world), MendMs), () => $"not all copies came in sync\n{StateOf(world)}");
        ReadAll(world);
        history.Check(world.RunUntil(() => IsSettled(world), MendMs), () => $"the copies did not settle\n{StateOf(world)}");
        if (world.Profile.Rots) faults.RotSome();
        history.Check(world.RunUntil(() => world.Replicas.All(node => node.Storage.IsIntact), MendMs), () => $"blocks that rotted were not mended\n{StateOf(world)}\n{world.Director.Owner!.Machine.ScrubView()}");
        history.Check(history.Lost == 0, () => $"{history.Lost} blocks were lost that some copy had");
        history.CompareReplicas();
        CheckClones(world);
        foreach (var node in world.Replicas)
        {
            // A process may have started anew a moment ago.
            history.Check(world.RunUntil(() => node.IsVouchedFor, MendMs),
                () => $"the journal knows {world.Journal.State.Member(node.Replica)}, and the store of {node.Name} is at open {node.StoreOpens.Count}, {node.StoreOpens.Mark}");
        }
        return new SimResult(world.Seed, world.TraceHash, history.Asked, history.Writes, history.Reads, history.Flushes, history.Conflicts, history.Replays,
            faults.Count, history.Servings, history.CatchUps, world.Network.CountOf(FrameKind.TailRecord),
            world.Network.CountOf(FrameKind.Deposed), world.Network.Delivered, world.NowMs,
            (int)world.Journal.State.Attachment.Generation, faults.PowerLosses, history.ToldOfLoss, history.Resumes, history.SlowCopies, history.SlowOwners,
            history.HeldForRoom, history.Forgotten, history.Presented, SimClaimCounts.Of(world.Director.EarlyClaims), faults.Kinds, history.Copies, history.Snapshots, history.Sizes, CountsOf(world))
        { Throttled = history.Throttled, RefusedForMemory = history.RefusedForMemory, Clones = world.Clones.Tally, Cached = CachedOf(world) };
    }

    /// <summary>Each holds what it must, on every copy; and once all are deleted, nothing is kept for them any more.</summary>
    private static void CheckClones(SimWorld world)
    {
        if (!world.Profile.Clones) return;
        world.History.Check(world.RunUntil(() => world.Clones.AreVerified, MendMs), () => $"not all clones are whole\n{world.Clones.StateText}\n{StateOf(world)}");
        world.Clones.DeleteAll();
        world.History.Check(world.RunUntil(() => world.Clones.AreGone, MendMs), () => $"not all clones were deleted\n{world.Clones.StateText}\n{StateOf(world)}");
        // What a deleted snapshot kept goes in slices.
        foreach (var node in world.Replicas) world.History.Check(world.RunUntil(() => node.Storage.LeftOfClones.Length == 0, MendMs), () => $"all clones are deleted, and {node.Name} keeps {node.Storage.LeftOfClones}");
        world.History.CompareReplicas();
    }

    private static (long Hits, long Misses, long Evictions) CachedOf(SimWorld world)
    {
        var clients = world.Clients.Select(client => client.Cached).ToList();
        return (clients.Sum(client => client.Hits), clients.Sum(client => client.Misses), clients.Sum(client => client.Evictions));
    }

    private static SimStoreCounts CountsOf(SimWorld world)
    {
        var counts = default(SimStoreCounts);
        foreach (var node in world.Replicas) counts += node.Storage.Counts;
        return counts;
    }

    private static void AttachToAll(SimWorld world)
    {
        var generation = world.Journal.State.Attachment.Generation;
        world.History.Check(world.RunUntil(() => IsShared(world, generation), MendMs), () => $"the volume could not be attached to all again\n{StateOf(world)}");
    }

    /// <summary>Asked for until it is so: an owner may end with the question.</summary>
    private static bool IsShared(SimWorld world, ulong above)
    {
        var attachment = world.Journal.State.Attachment;
        if (attachment.Generation > above && attachment.Mode == AttachmentMode.Shared) return true;
        if (world.NowMs % 500 < 2) world.Director.Attach(null);
        return false;
    }

    private static void ReadAll(SimWorld world)
    {
        var reader = world.Clients.First();
        for (ulong block = 0; block < world.Profile.Blocks; block++) reader.Ask(SimKind.Read, new BlockRange(block, 1));
        world.History.Check(world.RunUntil(() => reader.IsDone, MendMs), () => $"the last reads were not answered\n{StateOf(world)}");
    }

    private static bool IsWhole(SimWorld world) => world.Director.IsServing && world.Journal.State.InSync.Length == world.Profile.Replicas && (world.Profile.Resizes || world.Placement.IsDone) && world.Resizes.IsDone;

    private static bool IsSettled(SimWorld world)
    {
        if (!IsWhole(world)) return false;
        var owner = world.Director.Owner!.Machine;
        return world.Replicas.All(node => node.Store is { } store && store.CommitWatermark == owner.Committed && store.LastSequence == owner.Sequence && SimHistory.HasJournaled(node, world.Journal.State));
    }

    private static string StateOf(SimWorld world)
    {
        var owner = world.Director.Owner;
        var lines = new List<string>
        {
            $"owner {owner?.Host.Name} {owner?.Machine.Phase} epoch {owner?.Machine.EpochNumber} committed {owner?.Machine.Committed} of {owner?.Machine.Sequence}",
            $"in sync {string.Join(",", world.Journal.State.InSync.Select(member => member.Id))} version {world.Journal.State.Version}",
        };
        if (owner is not null) lines.Add(string.Join("; ", owner.Machine.View().Replicas) + " " + owner.Machine.View().Reason);
        foreach (var node in world.Replicas)
        {
            lines.Add($"{node.Name} alive {node.IsAlive} paused {node.IsPaused} promised {node.Machine?.Header.PromisedEpoch} in sync {node.Machine?.Header.InSyncEpoch} "
                + $"catching up {node.Machine?.Header.CatchingUp} last {node.Store?.LastSequence} committed {node.Store?.CommitWatermark} snapshots {string.Join(",", node.Store?.Snapshots ?? [])} failed {node.Machine?.IsFailed}");
        }
        foreach (var client in world.Clients) lines.Add($"{client.Name} on {client.Node.Name} unanswered {client.Unanswered} left {client.Left} ready {client.IsReady} works {client.Works} fenced {client.WasFenced}");
        return string.Join('\n', lines);
    }
}
