using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;

namespace Cluster.Node.Cli;

/// <summary>Options that take a whole number within a range; anything else is told with the option, what was given and the range, as wrong use.</summary>
internal static class NumberOption
{
    public static Option<int?> Optional(string name, string description, int least, int most) => new(name)
    {
        Description = description,
        HelpName = "N",
        CustomParser = parse => Parse(parse, name, least, most),
    };

    /// <param name="usual">If it is not given.</param>
    public static Option<int> Of(string name, string description, int usual, int least, int most, string helpName = "N") => new(name)
    {
        Description = description,
        HelpName = helpName,
        DefaultValueFactory = _ => usual,
        CustomParser = parse => Parse(parse, name, least, most) ?? usual,
    };

    private static int? Parse(ArgumentResult parse, string name, int least, int most)
    {
        var text = parse.Tokens[0].Value;
        var isNumber = long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number);
        if (isNumber && number >= least && number <= most) return (int)number;
        var range = most == int.MaxValue ? string.Create(CultureInfo.InvariantCulture, $"a number from {least} on") : string.Create(CultureInfo.InvariantCulture, $"{least} to {most}");
        parse.AddError($"{name} {text} is {(isNumber ? "out of range" : "not a whole number")}: use {range}.");
        return null;
    }
}
