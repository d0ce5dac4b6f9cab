using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;

namespace Cluster.Node.Hosting.Logging;

/// <summary>The process's log: standard error, one line per event.</summary>
public static class NodeLogging
{
    /// <summary>The process's node, for lines that come beside the log of a node: what Akka says when it has none.</summary>
    internal static string ProcessNode { get; private set; } = "-";

    /// <summary>What is disposed at the end of the process writes out what is still queued.</summary>
    public static ServiceProvider Build(string nodeName, LogLevel least)
    {
        ProcessNode = nodeName;
        var services = new ServiceCollection();
        services.AddSingleton(new NodeNameSource(nodeName));
        services.AddLogging(logging =>
        {
            logging.SetMinimumLevel(least);
            logging.AddFilter("Microsoft", LogLevel.Warning);
            logging.AddConsole(console =>
            {
                console.FormatterName = OneLineFormatter.FormatterName;
                console.LogToStandardErrorThreshold = LogLevel.Trace;
            });
            logging.AddConsoleFormatter<OneLineFormatter, ConsoleFormatterOptions>();
        });
        return services.BuildServiceProvider();
    }
}
