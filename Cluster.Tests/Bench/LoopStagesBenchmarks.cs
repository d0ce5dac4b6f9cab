using BenchmarkDotNet.Attributes;
using Cluster.Messages.Wire;

namespace Cluster.Tests.Bench;

/// <summary>What it costs to measure where a loop's time goes: a turn of so many I/Os that does nothing else.</summary>
public class LoopStagesBenchmarks
{
    private LoopStages _stages = LoopStages.Off;

    [Params(false, true)]
    public bool IsOn { get; set; }

    /// <summary>Of one turn. Each goes over to six stages and is asked twice whether it is timed.</summary>
    [Params(1, 32)]
    public int Ios { get; set; }

    [GlobalSetup]
    public void Setup() => _stages = IsOn ? new LoopStages() : LoopStages.Off;

    [Benchmark]
    public void Turn()
    {
        _stages.BeginTurn();
        for (var io = 0; io < Ios; io++)
        {
            var request = _stages.Sample();
            var part = _stages.Sample();
            for (var stage = LoopStage.FrontEnd; stage <= LoopStage.Disk; stage++) _stages.Leave(_stages.Enter(stage));
            _stages.Leave(_stages.Enter(LoopStage.FrontEnd));
            _stages.Ended(LoopWait.OwnerWrite, part);
            _stages.Ended(LoopWait.Write, request);
        }
        _stages.EndTurn();
    }
}
