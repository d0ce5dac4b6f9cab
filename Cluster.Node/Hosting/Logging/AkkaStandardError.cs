using Akka.Event;
using AkkaLogLevel = Akka.Event.LogLevel;
using NetLogLevel = Microsoft.Extensions.Logging.LogLevel;

namespace Cluster.Node.Hosting.Logging;

/// <summary>
/// What Akka says while its actor system has no logger of its own: before <see cref="AkkaLogBridge"/> runs and after it has ended. Warnings and worse, in the log's format, on standard error.
/// Named in hocon/akka.conf. Any thread.
/// </summary>
public sealed class AkkaStandardError : MinimalLogger
{
    protected override void Log(object message)
    {
        if (message is not LogEvent e || e.LogLevel() < AkkaLogLevel.WarningLevel) return;
        using var line = new StringWriter();
        var level = e.LogLevel() == AkkaLogLevel.WarningLevel ? NetLogLevel.Warning : NetLogLevel.Error;
        OneLineFormatter.Write(line, level, NodeLogging.ProcessNode, "Akka", $"{e.Message} ({e.LogSource})", e.Cause);
        Console.Error.Write(line.ToString());
    }
}
