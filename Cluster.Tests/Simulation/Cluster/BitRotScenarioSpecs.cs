using Cluster.Messages.Model;

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

    private static void RotOne(SimWorld world)
    {
        var block = (ulong)world.Random.Below((int)world.Profile.Blocks);
        var node = world.Nodes[world.Random.Below(world.Profile.Replicas)];
        var othersAreGood = world.Replicas.All(other => other == node || (other.Store is { } store && !store.IsRotten(block)));
        if (othersAreGood && world.Journal.State.InSync.Length == world.Profile.Replicas) node.Store?.Rot(block);
    }

    private static void KillOne(SimWorld world)
    {
        var node = world.Nodes[world.Random.Below(world.Profile.Replicas)];
        if (!node.IsWorking) return;
        node.Kill();
        world.At(world.Random.Between(20_000, 1_500_000), node.Start);
    }
}
