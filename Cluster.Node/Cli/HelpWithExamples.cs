using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using System.Text.RegularExpressions;

namespace Cluster.Node.Cli;

/// <summary>A command whose help ends with examples.</summary>
internal sealed class VerbCommand(string name, string description, params string[] examples) : Command(name, description)
{
    public IReadOnlyList<string> Examples => examples;
}

/// <summary>The usual help, and then the command's examples. Descriptions say the defaults in the user's terms; the library's own way of showing them goes.</summary>
internal sealed partial class HelpWithExamples(HelpAction usual) : SynchronousCommandLineAction
{
    public override bool ClearsParseErrors => true;

    public override int Invoke(ParseResult parseResult)
    {
        var configuration = parseResult.InvocationConfiguration;
        var output = configuration.Output;
        using var text = new StringWriter();
        configuration.Output = text;
        var result = usual.Invoke(parseResult);
        configuration.Output = output;
        output.Write(ShownDefault().Replace(text.ToString(), ""));
        if (parseResult.CommandResult.Command is not VerbCommand { Examples.Count: > 0 } verb) return result;
        output.WriteLine(verb.Examples.Count == 1 ? "Example:" : "Examples:");
        foreach (var example in verb.Examples) output.WriteLine($"  {example}");
        output.WriteLine();
        return result;
    }

    [GeneratedRegex(@"\s*\[default: [^\]]*\]")]
    private static partial Regex ShownDefault();
}
