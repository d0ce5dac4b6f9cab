using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Diagnosers;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.Emit;

namespace Cluster.Tests.Bench;

/// <summary>Runs the benchmarks that the arguments choose: `--filter '*'`, `--list flat`, `--help`; or `cluster [NODES [VOLUMES]]`, <see cref="ClusterOfMany"/>.</summary>
internal static class Program
{
    public static int Main(string[] arguments)
    {
        if (arguments is ["cluster", .. var rest]) return ClusterOfMany.RunAsync(rest).GetAwaiter().GetResult();
        // In this process: no project is generated and built for each benchmark.
        var config = ManualConfig.Create(DefaultConfig.Instance).AddDiagnoser(MemoryDiagnoser.Default)
            .AddJob(Job.Default.WithToolchain(InProcessEmitToolchain.Instance));
        return BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly).Run(arguments, config).Any() ? 0 : 1;
    }
}
