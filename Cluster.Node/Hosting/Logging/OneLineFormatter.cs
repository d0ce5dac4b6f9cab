using System.Globalization;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Logging.Console;

namespace Cluster.Node.Hosting.Logging;

/// <summary>One line per event: time in UTC, level, node, category, message; an exception's own lines follow it, joined.</summary>
internal sealed class OneLineFormatter(NodeNameSource node) : ConsoleFormatter(FormatterName)
{
    public const string FormatterName = "one-line";

    public override void Write<TState>(in LogEntry<TState> entry, IExternalScopeProvider? scopes, TextWriter output)
    {
        Write(output, entry.LogLevel, node.Name, Last(entry.Category), entry.Formatter(entry.State, entry.Exception), entry.Exception);
    }

    /// <summary>One line.</summary>
    internal static void Write(TextWriter output, LogLevel level, string node, string category, string message, Exception? cause)
    {
        output.Write(DateTime.UtcNow.ToString("yyyy-MM-ddTHH:mm:ss.fffZ", CultureInfo.InvariantCulture));
        output.Write(' ');
        output.Write(Short(level));
        output.Write(' ');
        output.Write(node);
        output.Write(' ');
        output.Write(category);
        output.Write(": ");
        output.Write(Joined(message));
        if (cause is { } exception)
        {
            output.Write(" | ");
            output.Write(Joined(exception.ToString()));
        }
        output.Write('\n');
    }

    private static string Short(LogLevel level) => level switch
    {
        LogLevel.Trace => "TRC",
        LogLevel.Debug => "DBG",
        LogLevel.Information => "INF",
        LogLevel.Warning => "WRN",
        LogLevel.Error => "ERR",
        _ => "CRT",
    };

    private static string Last(string category) => category[(category.LastIndexOf('.') + 1)..];

    private static string Joined(string text) => text.ReplaceLineEndings(" | ");
}

/// <summary>The node's name, for the log.</summary>
internal sealed record NodeNameSource(string Name);
