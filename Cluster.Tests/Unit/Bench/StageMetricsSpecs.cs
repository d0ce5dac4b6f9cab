using System.Diagnostics;
using Cluster.Csi.Nbd;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Api;
using Cluster.Node.Cli.Bench;
using Cluster.Node.Hosting.Volumes;
using Cluster.Node.Ingress;
using Cluster.Tests.Unit.Fakes;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Unit.Bench;

public class StageMetricsSpecs
{
    private const int Digits = 6;
    private static readonly TimeSpan Work = TimeSpan.FromMilliseconds(1);
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    [Fact(DisplayName = "Time counts for the innermost stage, and what is sampled stands for all turns")]
    public void Stages()
    {
        var time = new ManualTime();
        var stages = new LoopStages(time);
        for (var turn = 0; turn < LoopStages.SampleTurns; turn++)
        {
            stages.BeginTurn();
            var outer = stages.Enter(LoopStage.Mesh);
            time.Since += Work;
            var inner = stages.Enter(LoopStage.Owner);
            time.Since += Work;
            stages.Leave(inner);
            time.Since += Work;
            stages.Leave(outer);
            stages.EndTurn();
        }
        var each = Work.TotalSeconds * LoopStages.SampleTurns;
        Assert.Equal(2 * each, stages.SecondsOf(LoopStage.Mesh), Digits);
        Assert.Equal(each, stages.SecondsOf(LoopStage.Owner), Digits);
        Assert.Equal((0, 0), (stages.SecondsOf(LoopStage.Disk), stages.SecondsOf(LoopStage.Other)));
        Assert.Equal((LoopStages.SampleTurns, LoopStages.SampleTurns), (stages.EntriesOf(LoopStage.Mesh), stages.EntriesOf(LoopStage.Owner)));
        Assert.Equal(LoopStages.SampleTurns, stages.Turns);
        Assert.Equal(3 * each, stages.BusySeconds, Digits);
    }

    [Fact(DisplayName = "What passes between turns is waiting")]
    public void Waiting()
    {
        var time = new ManualTime();
        var stages = new LoopStages(time);
        stages.BeginTurn();
        stages.EndTurn();
        time.Since += Work;
        stages.BeginTurn();
        stages.EndTurn();
        Assert.Equal(Work.TotalSeconds, stages.WaitingSeconds, Digits);
    }

    [Fact(DisplayName = "One I/O in so many is timed, also when two parts of each ask in turn")]
    public void Samples()
    {
        var stages = new LoopStages();
        var sampled = new int[2];
        for (var ask = 0; ask < 2 * LoopStages.SampleIos * 10; ask++)
        {
            if (stages.Sample() != 0) sampled[ask % 2]++;
        }
        Assert.Equal([10, 10], sampled);
    }

    [Fact(DisplayName = "A loop that is not measured counts nothing")]
    public void Off()
    {
        LoopStages.Off.BeginTurn();
        LoopStages.Off.Leave(LoopStages.Off.Enter(LoopStage.Owner));
        LoopStages.Off.Ended(LoopWait.Write, LoopStages.Off.Sample());
        LoopStages.Off.Add(LoopWait.Sync, 5);
        LoopStages.Off.EndTurn();
        Assert.Equal((0, 0, 0, 0, 0), (LoopStages.Off.BusySeconds, LoopStages.Off.Turns, LoopStages.Off.EntriesOf(LoopStage.Owner), LoopStages.Off.CountOf(LoopWait.Write), LoopStages.Off.CountOf(LoopWait.Sync)));
    }

    [Fact(DisplayName = "Measuring allocates nothing")]
    public void Allocates_nothing()
    {
        var (stages, nbd, volume) = (new LoopStages(), new NbdStatistics(), new NbdVolumes().Join("db"));
        var timer = new CopyTimer(stages);
        void Turn(ulong sequence)
        {
            stages.BeginTurn();
            var began = stages.Sample();
            var before = stages.Enter(LoopStage.Owner);
            timer.OnSent(new VolumeId(1), sequence);
            timer.OnAnswer(new VolumeId(1), sequence);
            stages.Leave(before);
            stages.Ended(LoopWait.Write, began);
            nbd.Ended(NbdCommandType.Write, 4096, failed: false);
            volume.Ended(NbdCommandType.Write, 4096, failed: false, 1);
            stages.EndTurn();
        }
        Turn(1);
        var allocated = GC.GetAllocatedBytesForCurrentThread();
        for (ulong sequence = 2; sequence < 1000; sequence++) Turn(sequence);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - allocated);
        Assert.True(stages.CountOf(LoopWait.Write) > 0 && stages.CountOf(LoopWait.Replica) > 0);
    }

    [Fact(DisplayName = "One record at a time is timed to a copy, until that has it; answers of other volumes and of earlier records do not count")]
    public void Copies()
    {
        var stages = new LoopStages();
        var timer = new CopyTimer(stages);
        timer.OnSent(new VolumeId(1), 5);
        timer.OnSent(new VolumeId(2), 1);
        timer.OnAnswer(new VolumeId(2), 9);
        timer.OnAnswer(new VolumeId(1), 4);
        Assert.Equal(0, stages.CountOf(LoopWait.Replica));
        timer.OnAnswer(new VolumeId(1), 6);
        timer.OnAnswer(new VolumeId(1), 7);
        Assert.Equal(1, stages.CountOf(LoopWait.Replica));
    }

    [Fact(DisplayName = "The bench finds on a node's page what was measured")]
    public void Page()
    {
        var (metrics, nbd, time) = (new Metrics(), new NbdStatistics(), new ManualTime());
        var stages = new LoopStages(time);
        StageMetrics.Expose(metrics, stages);
        StageMetrics.Expose(metrics, nbd);
        void Turn()
        {
            stages.BeginTurn();
            time.Since += Work;
            var before = stages.Enter(LoopStage.FrontEnd);
            time.Since += 3 * Work;
            stages.Leave(before);
            stages.Add(LoopWait.Sync, Stopwatch.Frequency / 100);
            nbd.Ended(NbdCommandType.Write, 4096, failed: false);
            stages.EndTurn();
            time.Since += Work;
        }
        Turn();
        var earlier = MetricsPage.Parse(metrics.Write());
        const int Turns = 2 * LoopStages.SampleTurns;
        for (var turn = 0; turn < Turns; turn++) Turn();
        var figures = NodeFigures.Between("a", "db", earlier, MetricsPage.Parse(metrics.Write()));
        Assert.Equal(4 * Turns * Work.TotalSeconds, figures.BusySeconds, Digits);
        Assert.Equal(5 * Turns * Work.TotalSeconds, figures.LoopSeconds, Digits);
        Assert.Equal(LoopStage.FrontEnd, figures.Busiest);
        Assert.Equal(0.75, figures.ShareOf(LoopStage.FrontEnd), Digits);
        Assert.Equal(0.01, figures.WaitSeconds[LoopWait.Sync], Digits);
        Assert.Equal(0.01 * Turns, figures.SyncSeconds, Digits);
        Assert.Equal(Turns, figures.Commands["write"]);
    }

    [Fact(DisplayName = "A loop measures its turns, and the kernel its thread")]
    public async Task Loop()
    {
        var metrics = new Metrics();
        // No other test's loop, which may be at rest or gone, has this name: the kernel is asked by it.
        const string Name = "loop-measured";
        await using var loop = new EpollLoop(Name, NullLogger.Instance, _ => { });
        StageMetrics.Expose(metrics, loop.Stages);
        loop.Start();
        await OnLoop(loop, () => 0);
        ThreadMetrics.Expose(metrics, [Name]);
        var earlier = MetricsPage.Parse(metrics.Write());
        // As many turns as it takes until some are sampled and the kernel tells of their CPU.
        NodeFigures figures;
        var began = Stopwatch.GetTimestamp();
        do
        {
            await OnLoop(loop, () =>
            {
                var before = loop.Stages.Enter(LoopStage.FrontEnd);
                Spin();
                loop.Stages.Leave(before);
                return 0;
            });
            figures = NodeFigures.Between("a", "db", earlier, MetricsPage.Parse(metrics.Write()), Name);
            Assert.True(Stopwatch.GetElapsedTime(began) < Patience, $"nothing was measured: {figures}");
        }
        while (!(figures is { LoopCpuSeconds: > 0, ProcessCpuSeconds: > 0 } && figures.ShareOf(LoopStage.FrontEnd) > 0));
        Assert.True(figures.LoopSeconds > figures.BusySeconds && figures.BusySeconds >= Work.TotalSeconds, figures.ToString());
        Assert.True(figures.CpuSecondsOf(LoopStage.FrontEnd) > 0);
    }

    [Fact(DisplayName = "A page is read by name and label; comments and what is no number are passed over")]
    public void Text()
    {
        var page = MetricsPage.Parse("# HELP a b\n# TYPE a counter\na{x=\"y z\"} 1.5\na{x=\"w\"} 2\nb 3e2\nnonsense\n");
        Assert.Equal((1.5, 2, 300, 0), (page["a", "x", "y z"], page["a", "x", "w"], page["b"], page["c"]));
        Assert.True(page.Has("b") && !page.Has("nonsense"));
    }

    private static async Task<T> OnLoop<T>(EpollLoop loop, Func<T> work)
    {
        var done = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        loop.Post(() => done.SetResult(work()));
        return await done.Task;
    }

    private static void Spin()
    {
        for (var began = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(began) < Work;)
        {
        }
    }
}
