using System.Globalization;
using Cluster.Messages.Wire;
using Cluster.Node.Hosting.Volumes;

namespace Cluster.Node.Cli.Bench;

/// <summary>What a job came to, for the verdict. Seconds are per I/O.</summary>
/// <param name="Latency">Mean, as the client saw it.</param>
/// <param name="Seconds">That it took.</param>
/// <param name="ClientCpuSeconds">Of the client's process, on a machine of <paramref name="ClientCoresMax"/> cores.</param>
/// <param name="FrontEnd">The node that the client is connected to.</param>
/// <param name="Owner">The node that served the volume at the end.</param>
internal sealed record BenchFigures(long Operations, double Seconds, double Latency, double ClientCpuSeconds, int ClientCoresMax, long Reads, long Writes, long Flushes, string FrontEnd, string Owner,
    IReadOnlyList<NodeFigures> Nodes)
{
    /// <summary>The node that served it at the beginning, if that is another one: what was timed is then of both. Else null.</summary>
    public string? OwnerBefore { get; init; }

    public double ClientCores => Seconds > 0 ? ClientCpuSeconds / Seconds : 0;

    /// <summary>How long a mean I/O waited for the volume's limits. The parts of a large one wait beside each other, and count once; some of what is told at ticks may be of the moment before.</summary>
    public double LimitSeconds
    {
        get
        {
            var waits = Nodes.Sum(node => node.ThrottledIos);
            return waits == 0 ? 0 : Math.Min(Latency, Nodes.Sum(node => node.ThrottledSeconds) / Math.Max(waits, Operations));
        }
    }
}

/// <summary>The stage that bounds a job: limit (the volume's own), front-end, owner, mesh, replica or disk, or client where the cluster waits for more work.</summary>
internal sealed record Verdict(string Stage, string Evidence);

/// <summary>
/// Names the bottleneck. Limits of the volume for which an I/O waits most of its time bound it, whatever else is full. A loop that hardly waits bounds everything behind it: its largest stage is named. Else a disk that is nearly always in fdatasync. Else, where loops wait for cores, the stage that
/// uses most of them. Else nothing is at its bound, and what one I/O waits for longest is named: with more I/Os at a time there would be more. Pure.
/// </summary>
internal static class Bottleneck
{
    /// <summary>Of a loop's time. It is below 1 because each turn looks for events once.</summary>
    public const double BusyShareMin = 0.85;

    public const double SyncShareMin = 0.8;

    public const double ClientShareMin = 0.9;

    /// <summary>Of a loop's time in which it was ready and had no core: from here on that is the bound.</summary>
    public const double DelayShareMin = 0.25;

    /// <summary>Of an I/O's time, waited for the volume's limits.</summary>
    public const double LimitShareMin = 0.5;

    private const string Client = "client";
    private const string Limit = "limit";

    public static Verdict Of(BenchFigures figures)
    {
        if (figures.Operations == 0 || figures.Nodes.Count == 0) return new Verdict(Client, "no I/O was answered");
        var verdict = Find(figures);
        return figures.OwnerBefore is null ? verdict : verdict with { Evidence = $"{verdict.Evidence}; the owner moved meanwhile from {figures.OwnerBefore} to {figures.Owner}" };
    }

    private static Verdict Find(BenchFigures figures)
    {
        var busiest = figures.Nodes.MaxBy(node => node.BusyShare)!;
        if (figures.LimitSeconds >= LimitShareMin * figures.Latency)
            return new Verdict(Limit, $"of the {Microseconds(figures.Latency)} of an I/O {Microseconds(figures.LimitSeconds)} are waited for the volume's limits (labels iops-max, bandwidth-max); {LoopText(busiest)}");
        if (busiest.BusyShare >= BusyShareMin) return new Verdict(NameOf(busiest.Busiest), $"{LoopText(busiest)}{DelayText(busiest)}");
        var syncing = figures.Nodes.MaxBy(node => node.SyncShare)!;
        if (syncing.SyncShare >= SyncShareMin)
            return new Verdict(NameOf(LoopStage.Disk), $"{syncing.Node} is in fdatasync {Percent(syncing.SyncShare)} of the time ({Microseconds(syncing.WaitSeconds[LoopWait.Sync])} each); no I/O loop is full: {LoopText(busiest)}");
        if (figures.ClientCores >= ClientShareMin * figures.ClientCoresMax)
            return new Verdict(Client, $"the client uses {figures.ClientCores.ToString("F1", CultureInfo.InvariantCulture)} of {figures.ClientCoresMax} cores; {LoopText(busiest)}");
        var delayed = figures.Nodes.MaxBy(node => node.DelayShare)!;
        if (delayed.DelayShare >= DelayShareMin) return OfCores(figures, delayed, busiest);
        var parts = PartsOf(figures);
        var longest = parts.MaxBy(part => part.Seconds);
        var all = string.Join(", ", parts.Where(part => part.Seconds > 0).OrderByDescending(part => part.Seconds).Select(part => $"{part.Stage} {Microseconds(part.Seconds)}"));
        return new Verdict(longest.Stage, $"nothing is full, an I/O takes {Microseconds(figures.Latency)}: {all}; {LoopText(busiest)}");
    }

    private static Verdict OfCores(BenchFigures figures, NodeFigures delayed, NodeFigures busiest)
    {
        var cpu = Enum.GetValues<LoopStage>().Where(stage => stage != LoopStage.Other).Select(stage => (Stage: NameOf(stage), Seconds: figures.Nodes.Sum(node => node.CpuSecondsOf(stage))))
            .Append((Stage: Client, Seconds: figures.ClientCpuSeconds)).OrderByDescending(part => part.Seconds).ToList();
        var all = string.Join(", ", cpu.Select(part => $"{part.Stage} {Microseconds(part.Seconds / figures.Operations)}"));
        return new Verdict(cpu[0].Stage, $"cores are short, the I/O loop of {delayed.Node} is ready and has none {Percent(delayed.DelayShare)} of the time; CPU per I/O: {all}; {LoopText(busiest)}");
    }

    /// <summary>Where one I/O's time goes, from what the nodes have timed: each part is what the next one inside it does not account for.</summary>
    public static IReadOnlyList<(string Stage, double Seconds)> PartsOf(BenchFigures figures)
    {
        var front = figures.Nodes.First(node => node.Node == figures.FrontEnd);
        var owner = figures.Nodes.FirstOrDefault(node => node.Node == figures.Owner) ?? front;
        double PerIo(double read, double write, double flush) => ((read * figures.Reads) + (write * figures.Writes) + (flush * figures.Flushes)) / figures.Operations;
        var node = PerIo(front.WaitSeconds[LoopWait.Read], front.WaitSeconds[LoopWait.Write], front.WaitSeconds[LoopWait.Flush]);
        var owned = PerIo(front.WaitSeconds[LoopWait.OwnerRead], front.WaitSeconds[LoopWait.OwnerWrite], front.WaitSeconds[LoopWait.OwnerFlush]);
        var disk = PerIo(0, 0, figures.Nodes.Max(each => each.WaitSeconds[LoopWait.Sync])) + ((owner.DiskReadSeconds + owner.StageSeconds[LoopStage.Disk]) / figures.Operations);
        var away = PerIo(0, owner.WaitSeconds[LoopWait.Replica], 0);
        var work = figures.Nodes.Where(each => each.Node != owner.Node).Select(each => (each.StageSeconds[LoopStage.Replica] + each.StageSeconds[LoopStage.Disk]) / figures.Operations)
            .DefaultIfEmpty(0).Max();
        var replica = figures.Writes == 0 ? owner.StageSeconds[LoopStage.Replica] / figures.Operations : Math.Min(work, away);
        var mesh = Math.Max(0, away - replica);
        var limit = Math.Min(figures.LimitSeconds, owned);
        return
        [
            (Client, Math.Max(0, figures.Latency - node)),
            (NameOf(LoopStage.FrontEnd), Math.Max(0, node - owned)),
            (Limit, limit),
            (NameOf(LoopStage.Owner), Math.Max(0, owned - limit - disk - mesh - replica)),
            (NameOf(LoopStage.Mesh), mesh),
            (NameOf(LoopStage.Replica), replica),
            (NameOf(LoopStage.Disk), disk),
        ];
    }

    private static string LoopText(NodeFigures node)
    {
        var stages = node.StageSeconds.Keys.Where(stage => node.ShareOf(stage) >= 0.005).OrderByDescending(node.ShareOf).Select(stage => $"{NameOf(stage)} {Percent(node.ShareOf(stage))}");
        return $"the I/O loop of {node.Node} is busy {Percent(node.BusyShare)} of the time ({string.Join(", ", stages)})";
    }

    private static string DelayText(NodeFigures node) =>
        node.DelayShare < DelayShareMin ? "" : $"; {Percent(node.DelayShare)} of the time it is ready and has no core: the host is short of them";

    private static string NameOf(LoopStage stage) => StageMetrics.NameOf(stage);

    private static string Percent(double share) => (share * 100).ToString("F0", CultureInfo.InvariantCulture) + " %";

    private static string Microseconds(double seconds) => (seconds * 1e6).ToString("F0", CultureInfo.InvariantCulture) + " us";
}
