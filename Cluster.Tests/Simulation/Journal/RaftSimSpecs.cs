namespace Cluster.Tests.Simulation.Journal;

public sealed class RaftSimSpecs
{
    private const int Runs = 1000;

    /// <summary>CHAOS_SEED=n replays one.</summary>
    private static IEnumerable<ulong> Seeds =>
        ulong.TryParse(Environment.GetEnvironmentVariable("CHAOS_SEED"), out var one)
            ? [one]
            : Enumerable.Range(1, Runs).Select(i => (ulong)i);

    [Fact(DisplayName = "Raft is safe under loss, delay, reordering, cuts and crashes that lose un-synced bytes, and live once they stop")]
    public void Safe_under_faults_and_live_after_them()
    {
        long acknowledged = 0, reads = 0, elections = 0, snapshots = 0, crashes = 0;
        foreach (var seed in Seeds)
        {
            var sim = Run(seed);
            acknowledged += sim.Acknowledged;
            reads += sim.ReadsAnswered;
            elections += sim.Elections;
            snapshots += sim.SnapshotsInstalled;
            crashes += sim.Crashes;
        }
        if (Seeds.Count() < Runs) return;
        Assert.True(acknowledged > 10_000 && reads > 1_000 && elections > 1_000 && snapshots > 100 && crashes > 1_000,
            $"too little happened: {acknowledged} acks, {reads} reads, {elections} elections, {snapshots} snapshots, {crashes} crashes");
    }

    [Fact(DisplayName = "The same seed gives the same run")]
    public void Runs_repeat_exactly() => Assert.Equal(Run(42).Fingerprint, Run(42).Fingerprint);

    private static RaftSim Run(ulong seed)
    {
        var random = new SimRandom(seed * 7919);
        var sim = new RaftSim(seed, members: random.Below(3) switch { 0 => 5, 1 => 2, _ => 3 })
        {
            LossPerMille = random.Below(100),
            CrashPerMille = random.Below(12),
            CutPerMille = random.Below(20),
            DelayMsMax = 1 + random.Below(200),
        };
        try
        {
            for (var step = 0; step < 600; step++)
            {
                sim.Step();
                if (step % 5 == 0) sim.Propose($"{seed}-{step}");
                if (step % 9 == 0) sim.Read();
                if (step % 50 == 0) sim.CheckLogs();
            }
            sim.Heal();
            var before = sim.Acknowledged;
            for (var step = 0; step < 2000 && !(sim.AllCaughtUp && sim.Acknowledged > before); step++)
            {
                sim.Step();
                if (step % 20 == 0 && sim.Acknowledged == before) sim.Propose($"{seed}-healed-{step}");
            }
            sim.CheckLogs();
            Assert.True(sim.AllCaughtUp && sim.Acknowledged > before, "stuck after the faults stopped");
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            throw new InvalidOperationException($"replay with CHAOS_SEED={seed}: {e.Message}", e);
        }
        return sim;
    }
}
