using System.Text.Json.Nodes;

namespace Cluster.Tests.Architecture;

/// <summary>What the runtime is told when a node starts (Cluster.Node.csproj says why).</summary>
public sealed class RuntimeSettingsSpecs
{
    [Theory(DisplayName = "The program's runtime settings are those that were measured")]
    [InlineData("System.Threading.ThreadPool.UnfairSemaphoreSpinLimit", "0")]
    [InlineData("System.GC.Gen0MaxBudget", "8388608")]
    [InlineData("System.Runtime.TieredCompilation.CallCountThreshold", "1024")]
    [InlineData("System.GC.Server", "false")]
    public void Settings(string name, string value)
    {
        var file = Path.Combine(AppContext.BaseDirectory, "myrmidon.runtimeconfig.json");
        var settings = JsonNode.Parse(File.ReadAllText(file))!["runtimeOptions"]!["configProperties"]!;
        Assert.Equal(value, settings[name]?.ToJsonString());
    }
}
