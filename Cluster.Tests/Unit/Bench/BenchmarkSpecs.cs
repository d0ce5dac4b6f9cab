using System.Reflection;
using BenchmarkDotNet.Attributes;
using Cluster.Messages.Model;
using Cluster.Tests.Bench;

namespace Cluster.Tests.Unit.Bench;

/// <summary>The benchmarks of hot functions (Cluster.Tests/Bench) are not run by tests, but they can run.</summary>
public class BenchmarkSpecs
{
    public static TheoryData<string> Benchmarks => [.. Classes.Select(type => type.Name)];

    private static IEnumerable<Type> Classes => typeof(ChecksumBenchmarks).Assembly.GetTypes()
        .Where(type => type.GetMethods().Any(method => method.GetCustomAttribute<BenchmarkAttribute>() is not null));

    [Theory(DisplayName = "Every benchmark can be set up with its smallest parameters, run and cleaned up")]
    [MemberData(nameof(Benchmarks))]
    public void Runs(string name)
    {
        var type = Classes.Single(type => type.Name == name);
        Assert.True(type is { IsPublic: true, IsSealed: false }, "the runner derives from it");
        var benchmarks = Activator.CreateInstance(type)!;
        foreach (var property in type.GetProperties())
        {
            if (property.GetCustomAttribute<ParamsAttribute>() is { } parameters) property.SetValue(benchmarks, parameters.Values[0]);
        }
        Call<GlobalSetupAttribute>(benchmarks);
        try
        {
            var called = 0;
            foreach (var method in type.GetMethods().Where(method => method.GetCustomAttribute<BenchmarkAttribute>() is not null))
            {
                var answer = method.Invoke(benchmarks, null);
                Assert.True(answer is not false && (answer is not IoStatus status || status == IoStatus.Ok), $"{name}.{method.Name} answers {answer}");
                called++;
            }
            Assert.True(called > 0);
            if (benchmarks is FrameBenchmarks frames) Assert.Equal(2, frames.Frames);
        }
        finally
        {
            Call<GlobalCleanupAttribute>(benchmarks);
        }
    }

    private static void Call<T>(object benchmarks)
        where T : Attribute
    {
        foreach (var method in benchmarks.GetType().GetMethods().Where(method => method.GetCustomAttribute<T>() is not null)) method.Invoke(benchmarks, null);
    }
}
