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

/// <summary>
/// The log events of actors in the process's log: ours under their type, Akka's own under "Akka". Named in hocon/akka.conf.
/// </summary>
public sealed partial class AkkaLogBridge : ReceiveActor, IRequiresMessageQueue<ILoggerMessageQueueSemantics>
{
    private readonly Dictionary<Type, Microsoft.Extensions.Logging.ILogger> _loggers = [];
    private readonly ILoggerFactory _factory;

    public AkkaLogBridge()
    {
        var setup = Context.System.Settings.Setup.Get<LoggingSetup>();
        _factory = setup.HasValue ? setup.Value.Loggers
            : throw new InvalidOperationException("the actor system was made without a LoggingSetup");
        Receive<InitializeLogger>(_ => Sender.Tell(new LoggerInitialized()));
        Receive<LogEvent>(Write);
    }

    private void Write(LogEvent e)
    {
        var ours = e.LogClass.Assembly == typeof(AkkaLogBridge).Assembly;
        if (!_loggers.TryGetValue(e.LogClass, out var logger))
            _loggers[e.LogClass] = logger = _factory.CreateLogger(ours ? e.LogClass.FullName! : "Akka");
        var level = LevelOf(e.LogLevel());
        // What Akka tells of its own workings is for those who debug; the node says in its own words what changed.
        if (!ours && level == NetLogLevel.Information) level = NetLogLevel.Debug;
        var message = e.Message.ToString() ?? "";
        if (ours) LogOwn(logger, level, e.Cause, message);
        else LogAkka(logger, level, e.Cause, message, e.LogSource);
    }

    private static NetLogLevel LevelOf(AkkaLogLevel level) => level switch
    {
        AkkaLogLevel.DebugLevel => NetLogLevel.Debug,
        AkkaLogLevel.InfoLevel => NetLogLevel.Information,
        AkkaLogLevel.WarningLevel => NetLogLevel.Warning,
        _ => NetLogLevel.Error,
    };

    [LoggerMessage(Message = "{Message}")]
    private static partial void LogOwn(Microsoft.Extensions.Logging.ILogger logger, NetLogLevel level, Exception? cause, string message);

    [LoggerMessage(Message = "{Message} ({Source})")]
    private static partial void LogAkka(
        Microsoft.Extensions.Logging.ILogger logger, NetLogLevel level, Exception? cause, string message, string source);
}
