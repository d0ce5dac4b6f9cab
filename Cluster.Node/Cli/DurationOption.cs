using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using Cluster.Node.Hosting.Options;

namespace Cluster.Node.Cli;

/// <summary>Options that take a time with its unit; anything else is told with the option, what was given and what would be right, as wrong use.</summary>
internal static class DurationOption
{
    /// <param name="usual">If it is not given.</param>
    /// <param name="seconds">Whether a bare number is taken too, as seconds.</param>
    public static Option<TimeSpan> Of(string name, string description, TimeSpan usual, TimeSpan least, bool seconds = false) => new(name)
    {
        Description = description,
        HelpName = "TIME",
        DefaultValueFactory = _ => usual,
        CustomParser = parse => Parse(parse, name, least, seconds),
    };

    private static TimeSpan Parse(ArgumentResult parse, string name, TimeSpan least, bool seconds)
    {
        var text = parse.Tokens[0].Value;
        if (Quantities.TryDuration(text, out var read) || (seconds && Quantities.TryDuration($"{text}s", out read)))
        {
            if (read >= least) return read;
            parse.AddError($"{name} {text} is too short: use {Text(least)} or more.");
            return default;
        }
        parse.AddError($"{name} {text} is not a time: write {Quantities.DurationForm}.");
        return default;
    }

    private static string Text(TimeSpan time) =>
        time < TimeSpan.FromSeconds(1) ? string.Create(CultureInfo.InvariantCulture, $"{time.TotalMilliseconds:0}ms") : string.Create(CultureInfo.InvariantCulture, $"{time.TotalSeconds:0}s");
}
