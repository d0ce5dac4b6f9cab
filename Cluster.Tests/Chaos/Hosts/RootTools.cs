using Cluster.Node.Cli.Dev;
using Cluster.Tests.Integration.EndToEnd;

namespace Cluster.Tests.Chaos.Hosts;

/// <summary>What tests need that work with mounts and namespaces: they fail, and say what is missing, where it is not there.</summary>
internal static class RootTools
{
    public static void Require(params string[] programs)
    {
        Assert.True(Environment.IsPrivilegedProcess, "This test mounts file systems and makes network namespaces: run it as root.");
        foreach (var program in programs)
        {
            Assert.True(HostTool.Find(program) is not null, $"This test needs the program {program}: ./test installs it.");
        }
    }

    public static async Task RunAsync(string program, params string[] arguments) => (await Tool.RunAsync(program, arguments)).Ok();
}
