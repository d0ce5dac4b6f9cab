using Cluster.Node.Hosting.Logging;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Node.Hosting.WarmUp;

/// <summary>Puts log lines together as the process's log does, and writes them nowhere: a line about a throw-away volume would be taken for a real one's.</summary>
internal sealed class WarmUpLogs : ILoggerProvider, ILogger
{
    private readonly OneLineFormatter _formatter = new(new NodeNameSource(""));

    /// <summary>Lines that were put together.</summary>
    public int Lines { get; private set; }

    public ILogger CreateLogger(string categoryName) => this;

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        Lines++;
        _formatter.Write(new LogEntry<TState>(logLevel, "", eventId, state, exception, formatter), null, TextWriter.Null);
    }

    public void Dispose()
    {
    }
}
