using Akka.Actor;
using Akka.Actor.Setup;
using Akka.Dispatch;
using Akka.Event;
using Microsoft.Extensions.Logging;
using AkkaLogLevel = Akka.Event.LogLevel;
using NetLogLevel = Microsoft.Extensions.Logging.LogLevel;

namespace Cluster.Node.Hosting.Logging;

/// <summary>Gives an actor system the process's log.</summary>
public sealed class LoggingSetup(ILoggerFactory loggers) : Setup
{
    public ILoggerFactory Loggers { get; } = loggers;
}

/// <summary>Akka.NET's log events in the process's log, under "Akka.TYPE". Named in hocon/akka.conf.</summary>
public sealed partial class AkkaLogBridge : ReceiveActor, IRequiresMessageQueue<ILoggerMessageQueueSemantics>
{
    private readonly Dictionary<Type, Microsoft.Extensions.Logging.ILogger> _loggers = [];
    private readonly ILoggerFactory _factory;

    public AkkaLogBridge()
    {
        var setup = Context.System.Settings.Setup.Get<LoggingSetup>();
        _factory = setup.HasValue ? setup.Value.Loggers : throw new InvalidOperationException("the actor system was made without a LoggingSetup");
        Receive<InitializeLogger>(_ => Sender.Tell(new LoggerInitialized()));
        Receive<LogEvent>(Write);
    }

    private void Write(LogEvent e)
    {
        if (!_loggers.TryGetValue(e.LogClass, out var logger))
            _loggers[e.LogClass] = logger = _factory.CreateLogger($"Akka.{e.LogClass.Name}");
        LogEventOf(logger, LevelOf(e.LogLevel()), e.Cause, e.Message.ToString() ?? "", e.LogSource);
    }

    private static NetLogLevel LevelOf(AkkaLogLevel level) => level switch
    {
        AkkaLogLevel.DebugLevel => NetLogLevel.Debug,
        AkkaLogLevel.InfoLevel => NetLogLevel.Information,
        AkkaLogLevel.WarningLevel => NetLogLevel.Warning,
        _ => NetLogLevel.Error,
    };

    [LoggerMessage(Message = "{Message} ({Source})")]
    private static partial void LogEventOf(
        Microsoft.Extensions.Logging.ILogger logger, NetLogLevel level, Exception? cause, string message, string source);
}
