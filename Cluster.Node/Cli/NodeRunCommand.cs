using System.CommandLine;
using Cluster.Node.Hosting;

namespace Cluster.Node.Cli;

/// <summary>
/// `myrmidon node`: runs a node until SIGTERM or Ctrl-C. Each flag is a setting of hocon/myrmidon.conf, where its meaning stands.
/// </summary>
internal static class NodeRunCommand
{
    public static void AddTo(Command node)
    {
        var flags = NodeFlags.AddTo(node);
        node.SetAction((parsed, cancellation) => NodeProcess.RunAsync(flags.Given(parsed), flags.File(parsed), parsed.InvocationConfiguration.Error, cancellation));
    }
}
