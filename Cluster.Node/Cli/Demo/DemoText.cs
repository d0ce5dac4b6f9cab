using Cluster.Node.Cli.Dev;
using Spectre.Console;

namespace Cluster.Node.Cli.Demo;

/// <summary>What the demo says at its end.</summary>
internal static class DemoText
{
    public static void Closing(IAnsiConsole console, DevCluster cluster, bool kept)
    {
        console.WriteLine();
        if (!kept)
        {
            console.WriteLine("Everything is stopped and deleted. What to try next:");
            console.WriteLine("  ./myrmidon demo --keep                                 the same, and the cluster stays");
            console.WriteLine("  ./myrmidon dev --nodes 3 --data /tmp/myrmidon          a local cluster to work with");
            console.WriteLine("  ./myrmidon --help                                      all commands");
            return;
        }
        console.WriteLine($"The cluster goes on in {cluster.File.Directory}. What to try next:");
        console.WriteLine($"  export MYRMIDON_ENDPOINT={cluster.Nodes[0].Api}");
        console.WriteLine("  ./myrmidon volume show demo");
        console.WriteLine("  ./myrmidon volume explain demo");
        console.WriteLine($"  nbdinfo {cluster.Nodes[0].Nbd}/demo");
        console.WriteLine($"  ./myrmidon dev kill node-1 --data {cluster.File.Directory}");
        console.WriteLine($"  ./myrmidon dev stop --data {cluster.File.Directory} && rm -r {cluster.File.Directory}");
    }
}
