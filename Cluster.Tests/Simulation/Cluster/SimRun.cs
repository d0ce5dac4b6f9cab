using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Repair;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>What one seed came to.</summary>
internal sealed record SimResult(ulong Seed, ulong TraceHash, int Asked, int Writes, int Reads, int Flushes, int Conflicts, int Replays, int Faults, int Servings,
    int CatchUps, int TailRecords, int Depositions, int Frames, long VirtualMs, int Attachments, int PowerLosses, int Losses);

/// <summary>One seed: faults and I/O, then everything is mended, all is answered, all copies are in sync and the same.</summary>
internal static class SimRun
{
    private const int WorkMs = 240_000;
    private const int MendMs = 120_000;

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
        return new SimProfile
        {
            Replicas = replicas,
            FailureMode = mode,
            FailureThreshold = (int)random.Between(1, replicas),
            ClientsOnNodes = random.Percent(40),
            PowerLoss = power,
            LosesDisks = !power && random.Percent(50),
            Blocks = random.Percent(30) ? 6u : 24,
            // A third of the seeds is scrubbed all the time, and no copy may ever be found to differ.
            Repair = seed % 3 == 0 ? new RepairOptions { ScrubInterval = TimeSpan.FromMilliseconds(300) } : new RepairOptions(),
            Attaches = random.Percent(35),
            // A fifth of the seeds does without leases.
            ReadLease = seed % 5 != 2,
        };
    }

    public static SimResult Run(ulong seed)
    {
        var before = BufferPool.Shared.RentedBytes;
        var world = new SimWorld(seed, ProfileOf(seed));
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
        if (world.Journal.State.Attachment.Generation > 0) AttachToAll(world);
        foreach (var client in world.Clients) history.Check(client.MayBeFenced || !client.WasFenced, () => $"{client.Name} was fenced by nobody");
        history.Check(world.RunUntil(() => world.Clients.All(client => client.IsDone), MendMs), () => $"not all was answered\n{StateOf(world)}");
        history.Check(world.RunUntil(() => IsWhole(world), MendMs), () => $"not all copies came in sync\n{StateOf(world)}");
        ReadAll(world);
        history.Check(world.RunUntil(() => IsSettled(world), MendMs), () => $"the copies did not settle\n{StateOf(world)}");
        history.CompareReplicas();
        foreach (var node in world.Replicas)
        {
            var known = world.Journal.State.Member(node.Replica)!.StoreOpenCount;
            history.Check(known == node.StoreOpenCount, () => $"the journal knows open {known} of the store of {node.Name}, which is at {node.StoreOpenCount}");
        }
        return new SimResult(world.Seed, world.TraceHash, history.Asked, history.Writes, history.Reads, history.Flushes, history.Conflicts, history.Replays,
            faults.Count, history.Servings, history.CatchUps, world.Network.CountOf(FrameKind.TailRecord),
            world.Network.CountOf(FrameKind.Deposed), world.Network.Delivered, world.NowMs,
            (int)world.Journal.State.Attachment.Generation, faults.PowerLosses, history.ToldOfLoss);
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
        if (world.NowMs % 500 < 3) world.Director.Attach(null);
        return false;
    }

    private static void ReadAll(SimWorld world)
    {
        var reader = world.Clients.First();
        for (ulong block = 0; block < world.Profile.Blocks; block++) reader.Ask(SimKind.Read, new BlockRange(block, 1));
        world.History.Check(world.RunUntil(() => reader.IsDone, MendMs), () => "the last reads were not answered");
    }

    private static bool IsWhole(SimWorld world) => world.Director.IsServing && world.Journal.State.InSync.Length == world.Profile.Replicas;

    private static bool IsSettled(SimWorld world)
    {
        if (!IsWhole(world)) return false;
        var owner = world.Director.Owner!.Machine;
        return world.Replicas.All(node => node.Store is { } store && store.CommitWatermark == owner.Committed && store.LastSequence == owner.Sequence);
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
                + $"catching up {node.Machine?.Header.CatchingUp} last {node.Store?.LastSequence} committed {node.Store?.CommitWatermark} failed {node.Machine?.IsFailed}");
        }
        foreach (var client in world.Clients) lines.Add($"{client.Name} on {client.Node.Name} unanswered {client.Unanswered} ready {client.IsReady}");
        return string.Join('\n', lines);
    }
}
