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
            var sim = RaftRun.Fixed(seed, SimBugs.None);
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

    [Fact(DisplayName = "Raft stays safe while members come and go and nodes lose their disks, and then comes to rest")]
    public void Safe_while_members_change()
    {
        long acknowledged = 0, changes = 0, disks = 0, snapshots = 0;
        foreach (var seed in Seeds)
        {
            var sim = RaftRun.Changing(seed, SimBugs.None);
            acknowledged += sim.Acknowledged;
            changes += sim.Changes;
            disks += sim.DisksLost;
            snapshots += sim.SnapshotsInstalled;
        }
        if (Seeds.Count() < Runs) return;
        Assert.True(acknowledged > 10_000 && changes > 10_000 && disks > 200 && snapshots > 100,
            $"too little happened: {acknowledged} acks, {changes} changes applied, {disks} disks lost, {snapshots} snapshots");
    }

    [Fact(DisplayName = "The same seed gives the same run")]
    public void Runs_repeat_exactly() => Assert.Equal(
        RaftRun.Changing(42, SimBugs.None).Fingerprint, RaftRun.Changing(42, SimBugs.None).Fingerprint);
}
