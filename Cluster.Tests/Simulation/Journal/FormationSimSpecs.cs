namespace Cluster.Tests.Simulation.Journal;

public sealed class FormationSimSpecs
{
    private const int Runs = 3000;

    [Fact(DisplayName = "First formation: whatever is lost, late or crashes between any two steps, one cluster and never two")]
    public void One_cluster()
    {
        int crashes = 0, formed = 0, gaveUp = 0;
        for (ulong seed = 1; seed <= Runs; seed++)
        {
            var random = new SimRandom(seed * 104_729);
            var expect = random.Below(3) == 0 ? 5 : 3;
            var nodes = expect + random.Below(3);
            var sim = new FormationSim(seed, nodes, expect, seeds: 1 + random.Below(nodes));
            try
            {
                sim.Run(6_000);
                sim.Heal();
                sim.Run(30_000);
                Assert.True(sim.AllFormed, "not all nodes have a cluster after the faults stopped");
                Assert.Equal(1, sim.Clusters);
            }
            catch (Exception e)
            {
                throw new InvalidOperationException($"seed {seed}: {e.Message}", e);
            }
            crashes += sim.Crashes;
            formed += sim.Clusters;
            gaveUp += sim.GivenUp;
        }
        Assert.Equal(Runs, formed);
        Assert.True(crashes > Runs && gaveUp > 0, $"too little happened: {crashes} crashes, {gaveUp} formations given up");
    }
}
