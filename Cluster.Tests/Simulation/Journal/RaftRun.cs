namespace Cluster.Tests.Simulation.Journal;

/// <summary>
/// One run from one seed: faults for a while, then none, and then everything has to come right. Throws with the seed to replay.
/// </summary>
internal static class RaftRun
{
    /// <summary>The members that were there at first, and no others.</summary>
    public static RaftSim Fixed(ulong seed, SimBugs bugs)
    {
        var random = new SimRandom(seed * 7919);
        var members = random.Below(3) switch { 0 => 5, 1 => 2, _ => 3 };
        return Run(seed, Faults(random, new SimPlan(members, members) { Bugs = bugs }), steps: 600);
    }

    /// <summary>Members that change, and disks that are lost.</summary>
    public static RaftSim Changing(ulong seed, SimBugs bugs)
    {
        var random = new SimRandom(seed * 7907);
        var nodes = 1 + random.Below(7);
        var plan = new SimPlan(nodes, Math.Min(nodes, random.Below(3) switch { 0 => 1, 1 => 5, _ => 3 }))
        {
            Bugs = bugs,
            ChangePerMille = random.Below(2) * (10 + random.Below(60)),
            DiskLossPerMille = random.Below(4),
            Policy = true,
        };
        return Run(seed, Faults(random, plan), steps: 600);
    }

    private static SimPlan Faults(SimRandom random, SimPlan plan) => plan with
    {
        LossPerMille = random.Below(100),
        CrashPerMille = random.Below(12),
        CutPerMille = random.Below(20),
        DelayMsMax = 1 + random.Below(200),
    };

    private static RaftSim Run(ulong seed, SimPlan plan, int steps)
    {
        var sim = new RaftSim(seed, plan);
        try
        {
            for (var step = 0; step < steps; step++)
            {
                sim.Step();
                if (step % 5 == 0) sim.Propose($"{seed}-{step}");
                if (step % 9 == 0) sim.Read();
                if (step % 50 == 0) sim.CheckLogs();
            }
            sim.Heal();
            var before = sim.Acknowledged;
            for (var step = 0; step < 4000 && !IsAtRest(sim, plan, before); step++)
            {
                sim.Step();
                if (step % 20 == 0 && sim.Acknowledged == before) sim.Propose($"{seed}-healed-{step}");
            }
            sim.CheckLogs();
            Assert.True(IsAtRest(sim, plan, before), $"stuck after the faults stopped: {sim.Describe()}");
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            throw new InvalidOperationException($"replay with CHAOS_SEED={seed}: {e.Message}", e);
        }
        return sim;
    }

    private static bool IsAtRest(RaftSim sim, SimPlan plan, int acknowledgedBefore)
    {
        if (sim.Acknowledged == acknowledgedBefore || !sim.AllCaughtUp) return false;
        var (members, atLeast) = (sim.MembersNow, plan.Nodes >= 5 ? 5 : plan.Nodes >= 3 ? 3 : 1);
        return !plan.Policy || (members.Voters == members.All.Length && members.Voters == atLeast);
    }
}
