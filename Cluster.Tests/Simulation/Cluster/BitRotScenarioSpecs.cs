using Cluster.Messages.Model;
using Cluster.Node.Repair;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>Bytes rot on one copy or another while clients work and processes die (P6).</summary>
[Collection("Cluster simulation")]
public sealed class BitRotScenarioSpecs
{
    private const int Seeds = 20;

    [Fact(DisplayName = "P6: whatever copy of a block rots, clients read what was written, and what was read is mended")]
    public void Clients_never_see_rot()
    {
        var mended = 0;
        for (ulong seed = 1; seed <= Seeds; seed++)
        {
            // All copies must be in sync for a write: a copy that dies is waited for, so one good copy of each block is always there.
            var world = new SimWorld(seed, new SimProfile { FailureMode = FailureModeKind.Hard, OperationsPerClient = 100 });
            try
            {
                world.Every(40_000, () => RotOne(world));
                world.Every(3_000_000, () => KillOne(world));
                world.History.Check(world.RunUntil(() => world.Clients.All(client => client.IsDone), 600_000), () => $"seed {seed}: not all was answered");
                world.History.Check(world.History.Lost == 0, () => $"seed {seed}: {world.History.Lost} blocks were lost that some copy had");
                mended += world.History.Mended;
            }
            finally
            {
                world.End();
            }
        }
        Assert.True(mended > Seeds, $"only {mended} blocks were mended");
    }

    [Fact(DisplayName = "P6: a scrub mends what rots though nobody reads it, and blocks that a copy's map has lost or as an older version, under writes")]
    public void A_scrub_mends_what_nobody_reads()
    {
        for (ulong seed = 1; seed <= Seeds; seed++)
        {
            var world = new SimWorld(seed, new SimProfile { OperationsPerClient = 60, Repair = new RepairOptions { ScrubInterval = TimeSpan.FromSeconds(2) } });
            world.History.MayDiffer = true;
            try
            {
                world.History.Check(world.RunUntil(() => world.Clients.All(client => client.IsDone), 600_000), () => $"seed {seed}: not all was answered");
                for (var round = 0; round < 30; round++) RotOne(world);
                var forgetful = Model(world.Nodes[world.Random.Below(world.Profile.Replicas)])!;
                foreach (var (block, _, _) in forgetful.Committed().Where(block => block.Value != 0 && world.Random.Percent(30)).ToList()) forgetful.Forget(block);
                world.History.Check(world.RunUntil(() => IsWell(world), 120_000), () => $"seed {seed}: a scrub left bad or differing blocks");
                world.History.CompareReplicas();
                world.History.Check(world.History.Lost == 0, () => $"seed {seed}: {world.History.Lost} blocks were lost that some copy had");
            }
            finally
            {
                world.End();
            }
        }
    }

    private static bool IsWell(SimWorld world)
    {
        if (!world.Director.IsServing || world.Journal.State.InSync.Length < world.Profile.Replicas) return false;
        var blocks = Enumerable.Range(0, (int)world.Profile.Blocks).Select(block => (ulong)block).ToList();
        // A trim that was forgotten reads the same, and is none of a scrub's business.
        var held = world.Replicas.Select(node => Model(node)!.Committed().Where(block => block.Value != 0).ToList()).ToList();
        return world.Replicas.All(node => !blocks.Exists(Model(node)!.IsRotten)) && held.TrueForAll(copy => copy.SequenceEqual(held[0]));
    }

    private static SimVolumeStore? Model(SimNode node) => (SimVolumeStore?)node.Store;

    private static void RotOne(SimWorld world)
    {
        var block = (ulong)world.Random.Below((int)world.Profile.Blocks);
        var node = world.Nodes[world.Random.Below(world.Profile.Replicas)];
        var othersAreGood = world.Replicas.All(other => other == node || (Model(other) is { } store && !store.IsRotten(block)));
        if (othersAreGood && world.Journal.State.InSync.Length == world.Profile.Replicas) Model(node)?.Rot(block);
    }

    private static void KillOne(SimWorld world)
    {
        var node = world.Nodes[world.Random.Below(world.Profile.Replicas)];
        if (!node.IsWorking) return;
        node.Kill();
        world.At(world.Random.Between(20_000, 1_500_000), node.Start);
    }
}
