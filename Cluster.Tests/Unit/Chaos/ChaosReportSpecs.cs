using System.Text.Json;
using Cluster.Node.Cli;
using Cluster.Node.Cli.Chaos;

namespace Cluster.Tests.Unit.Chaos;

/// <summary>What a run's result looks like.</summary>
public sealed class ChaosReportSpecs
{
    private static readonly ChaosResult Result = new()
    {
        Good = true,
        Seed = 7,
        Seconds = 61,
        Clients = 4,
        RequestsPerSecondAndClient = 100,
        WritesAcknowledged = 500,
        WritesNeverAnswered = 2,
        ReadsChecked = 400,
        Flushes = 30,
        LostWrites = 0,
        StaleReads = 0,
        TornBlocks = 0,
        ForeignBlocks = 0,
        Readings = 15,
        BlocksThatDiffer = 0,
        BlocksGivenUp = 0,
        Reconnects = 5,
        GivenUp = 1,
        StartsAnew = 1,
        Faults = [new FaultResult("kill", 3, 1.5, 2, null, null, 500, 0, 0), new FaultResult(FaultResult.All, 3, 1.5, 2, null, null, 500, 0, 0)],
        Memory = [new MemoryResult("node-0", [100 << 20, 101 << 20, 102 << 20], 120 << 20, 90 << 20)],
        ViolationCount = 0,
        Violations = [],
    };

    [Fact(DisplayName = "For a document it is a Markdown table, with a sentence per line below")]
    public void Markdown() => Assert.Equal("""
        | FAULT | TIMES | GAP MEDIAN | GAP MAX | OWN NODE HIT | MAX | WRITES ACKNOWLEDGED | STALE OR LOST | TORN OR FOREIGN |
        | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
        | kill | 3 | 1.50 s | 2.00 s | - | - | 500 | 0 | 0 |
        | all | 3 | 1.50 s | 2.00 s | - | - | 500 | 0 | 0 |

        - 00:01:01: 500 writes acknowledged, 2 never answered, 400 reads checked, 30 flushes.
        - Clients connected anew 5 times, 1 of them because they did not want to wait; nodes were taken out and started anew 1 times.
        - Blocks with acknowledged writes lost: 0. Stale reads: 0. Torn blocks: 0. Foreign data: 0.
        - Read back 15 times whole volumes, through every node and from every copy: 0 blocks differ.
        - Memory of node-0, mean of each third of the run: 100MiB, 101MiB, 102MiB; 120MiB at most, 90MiB at the end.
        - Nothing was violated.

        """, ChaosReport.Markdown(Result));

    [Fact(DisplayName = "A run with violations says how many, and lists the first ones")]
    public void Violated()
    {
        var sentences = ChaosReport.Sentences(Result with { Good = false, ViolationCount = 1, Violations = ["node-1 ended by itself"] }).ToArray();
        Assert.Equal(["VIOLATED 1 TIMES, the first ones:", "  node-1 ended by itself"], sentences[^2..]);
    }

    [Fact(DisplayName = "As JSON it has every number under a name of its own, by fault and by node")]
    public void Json()
    {
        var json = JsonSerializer.SerializeToNode(Result, ApiClient.Json)!;
        Assert.True(json["good"]!.GetValue<bool>());
        Assert.Equal(500, json["writesAcknowledged"]!.GetValue<long>());
        Assert.Equal(0, json["lostWrites"]!.GetValue<long>());
        Assert.Equal("kill", json["faults"]![0]!["fault"]!.GetValue<string>());
        Assert.Equal(1.5, json["faults"]![0]!["gapMedianSeconds"]!.GetValue<double>());
        Assert.Equal(3, json["memory"]![0]!["meanBytes"]!.AsArray().Count);
    }
}
