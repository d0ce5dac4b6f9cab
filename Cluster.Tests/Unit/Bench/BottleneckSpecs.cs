using Cluster.Messages.Wire;
using Cluster.Node.Cli.Bench;

namespace Cluster.Tests.Unit.Bench;

/// <summary>10 s, 100,000 I/Os, nodes a (front end) and b (owner) and c.</summary>
public class BottleneckSpecs
{
    private const double Us = 1e-6;

    [Theory(DisplayName = "A loop that hardly waits is the bottleneck, and its largest stage is named")]
    [InlineData(LoopStage.FrontEnd, "front-end")]
    [InlineData(LoopStage.Owner, "owner")]
    [InlineData(LoopStage.Mesh, "mesh")]
    [InlineData(LoopStage.Replica, "replica")]
    [InlineData(LoopStage.Disk, "disk")]
    public void Full_loop(LoopStage largest, string named)
    {
        var full = Node("b", busy: 9.5, Enum.GetValues<LoopStage>().ToDictionary(stage => stage, stage => stage == largest ? 4.0 : 1.0));
        var verdict = Bottleneck.Of(Writes(300 * Us, Node("a", busy: 5), full, Node("c", busy: 2)));
        Assert.Equal(named, verdict.Stage);
        Assert.Contains("the I/O loop of b is busy 95 %", verdict.Evidence, StringComparison.Ordinal);
        Assert.Contains($"({named} 44 %", verdict.Evidence, StringComparison.Ordinal);
        Assert.DoesNotContain("core", verdict.Evidence, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "A full loop that often had no core says that the host is short of them")]
    public void No_core()
    {
        var verdict = Bottleneck.Of(Writes(300 * Us, Node("a", busy: 9.5) with { DelaySeconds = 3 }, Node("b", busy: 5), Node("c", busy: 2)));
        Assert.Contains("30 % of the time it is ready and has no core", verdict.Evidence, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "A disk that is nearly always in fdatasync is the bottleneck, whatever node has it")]
    public void Syncing()
    {
        var syncing = Node("c", busy: 2, waits: new() { [LoopWait.Sync] = 900 * Us }) with { SyncSeconds = 9 };
        var verdict = Bottleneck.Of(Writes(300 * Us, Node("a", busy: 5), Node("b", busy: 5), syncing));
        Assert.Equal("disk", verdict.Stage);
        Assert.Contains("c is in fdatasync 90 % of the time (900 us each)", verdict.Evidence, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "A client that uses every core it has is the bottleneck")]
    public void Busy_client() => Assert.Equal("client", Bottleneck.Of(Writes(300 * Us, Node("a", busy: 5), Node("b", busy: 5)) with { ClientCpuSeconds = 38 }).Stage);

    [Theory(DisplayName = "Where no loop is full and one often had no core, what uses most of them is named")]
    [InlineData(LoopStage.Mesh, 1, "mesh")]
    [InlineData(LoopStage.Mesh, 9, "client")]
    [InlineData(LoopStage.Other, 1, "client")]
    public void Short_of_cores(LoopStage largest, double clientSeconds, string named)
    {
        var node = Node("b", busy: 7, new Dictionary<LoopStage, double>(Stages()) { [largest] = 7 }) with { DelaySeconds = 4, LoopCpuSeconds = 3 };
        var verdict = Bottleneck.Of(Writes(300 * Us, Node("a", busy: 5), node, Node("c", busy: 2)) with { ClientCpuSeconds = clientSeconds });
        Assert.Equal(named, verdict.Stage);
        Assert.Contains("the I/O loop of b is ready and has none 40 % of the time; CPU per I/O: " + named, verdict.Evidence, StringComparison.Ordinal);
    }

    [Theory(DisplayName = "When nothing is full, what a write waits for longest is named")]
    [InlineData(500, 100, 90, 80, "client")]
    [InlineData(500, 450, 90, 80, "front-end")]
    [InlineData(500, 450, 420, 80, "owner")]
    [InlineData(500, 450, 440, 400, "mesh")]
    public void Longest_wait(double latency, double request, double owner, double copy, string named)
    {
        var front = Node("a", busy: 1, waits: new() { [LoopWait.Write] = request * Us, [LoopWait.OwnerWrite] = owner * Us });
        var verdict = Bottleneck.Of(Writes(latency * Us, front, Node("b", busy: 1, waits: new() { [LoopWait.Replica] = copy * Us }), Node("c", busy: 1)));
        Assert.Equal(named, verdict.Stage);
        Assert.Contains("nothing is full", verdict.Evidence, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "A copy's own work is its own and not the mesh's")]
    public void Slow_copy()
    {
        var front = Node("a", busy: 1, waits: new() { [LoopWait.Write] = 110 * Us, [LoopWait.OwnerWrite] = 105 * Us });
        var copy = Node("c", busy: 7, new Dictionary<LoopStage, double>(Stages()) { [LoopStage.Replica] = 7 });
        Assert.Equal("replica", Bottleneck.Of(Writes(120 * Us, front, Node("b", busy: 1, waits: new() { [LoopWait.Replica] = 90 * Us }), copy)).Stage);
    }

    [Fact(DisplayName = "Flushes that wait for the disk name it, and reads that the page cache did not have too")]
    public void Disk_waits()
    {
        var sync = new Dictionary<LoopWait, double> { [LoopWait.Write] = 100 * Us, [LoopWait.OwnerWrite] = 80 * Us, [LoopWait.Flush] = 400 * Us, [LoopWait.OwnerFlush] = 390 * Us, [LoopWait.Sync] = 350 * Us };
        Assert.Equal("disk", Bottleneck.Of(Writes(600 * Us, Node("a", busy: 1, waits: sync), Node("b", busy: 1)) with { Flushes = 100_000 }).Stage);

        var front = Node("a", busy: 1, waits: new() { [LoopWait.Read] = 500 * Us, [LoopWait.OwnerRead] = 480 * Us });
        var reads = Writes(520 * Us, front, Node("b", busy: 1) with { DiskReadSeconds = 40 }) with { Writes = 0, Reads = 100_000 };
        Assert.Equal("disk", Bottleneck.Of(reads).Stage);
        Assert.Equal("owner", Bottleneck.Of(reads with { Nodes = [front, Node("b", busy: 1)] }).Stage);
    }

    [Fact(DisplayName = "The parts of an I/O come to what the client saw")]
    public void Parts()
    {
        var front = Node("a", busy: 1, waits: new() { [LoopWait.Write] = 400 * Us, [LoopWait.OwnerWrite] = 300 * Us });
        var owner = Node("b", busy: 1, new Dictionary<LoopStage, double>(Stages()) { [LoopStage.Disk] = 1 }, new() { [LoopWait.Replica] = 200 * Us });
        var parts = Bottleneck.PartsOf(Writes(500 * Us, front, owner, Node("c", busy: 1, new Dictionary<LoopStage, double>(Stages()) { [LoopStage.Replica] = 3 })));
        Assert.Equal(500 * Us, parts.Sum(part => part.Seconds), 9);
        Assert.Equal([("client", 100), ("front-end", 100), ("limit", 0), ("owner", 90), ("mesh", 170), ("replica", 30), ("disk", 10)], parts.Select(part => (part.Stage, (int)Math.Round(part.Seconds / Us))));
    }

    [Theory(DisplayName = "Limits of the volume for which an I/O waits most of its time are the bottleneck, also beside a full loop; else they are one of its parts")]
    [InlineData(100_000, 90, 9.5, "limit", 900)]
    [InlineData(20_000, 90, 1, "limit", 900)]
    [InlineData(400_000, 360, 1, "limit", 900)]
    [InlineData(100_000, 130, 1, "limit", 1000)]
    [InlineData(100_000, 30, 1, "mesh", 300)]
    [InlineData(100_000, 30, 9.5, "disk", 300)]
    public void Limited(long waits, double seconds, double busy, string named, int waited)
    {
        var stages = new Dictionary<LoopStage, double>(Stages()) { [LoopStage.Disk] = 1 };
        var front = Node("a", busy, stages, new() { [LoopWait.Write] = 990 * Us, [LoopWait.OwnerWrite] = 980 * Us });
        var owner = Node("b", busy: 1, waits: new() { [LoopWait.Replica] = 600 * Us }) with { ThrottledIos = waits, ThrottledSeconds = seconds };
        var verdict = Bottleneck.Of(Writes(1000 * Us, front, owner, Node("c", busy: 1)));
        Assert.Equal(named, verdict.Stage);
        if (named == "limit") Assert.Contains($"of the 1000 us of an I/O {waited} us are waited for the volume's limits (labels iops-max, bandwidth-max)", verdict.Evidence, StringComparison.Ordinal);
        else if (busy == 1) Assert.Contains($"mesh 590 us, limit {waited} us,", verdict.Evidence, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "An owner that moved while the job ran is told")]
    public void Moved() => Assert.EndsWith("; the owner moved meanwhile from c to b",
        Bottleneck.Of(Writes(300 * Us, Node("a", busy: 5), Node("b", busy: 5), Node("c", busy: 5)) with { OwnerBefore = "c" }).Evidence, StringComparison.Ordinal);

    [Fact(DisplayName = "A job without an answer blames no stage")]
    public void Nothing_done() => Assert.Equal("client", Bottleneck.Of(Writes(0, Node("a", busy: 1)) with { Operations = 0 }).Stage);

    private static BenchFigures Writes(double latency, params NodeFigures[] nodes) => new(100_000, 10, latency, 1, 4, 0, 100_000, 0, "a", "b", nodes);

    private static Dictionary<LoopStage, double> Stages() => Enum.GetValues<LoopStage>().ToDictionary(stage => stage, _ => 0.0);

    private static NodeFigures Node(string name, double busy, Dictionary<LoopStage, double>? stages = null, Dictionary<LoopWait, double>? waits = null) =>
        new(name, 10, busy, 0, stages ?? Stages(), Enum.GetValues<LoopWait>().ToDictionary(wait => wait, wait => waits?.GetValueOrDefault(wait) ?? 0), 0, 0, busy, 0, busy,
            new Dictionary<string, long>());
}
