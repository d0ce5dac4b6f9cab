using System.Text.Json.Nodes;
using Spectre.Console;

namespace Cluster.Node.Cli.Output;

/// <summary>Prints answers on standard output, in the format that was asked for; errors and hints go to standard error.</summary>
internal sealed class Printer(TextWriter output, TextWriter error, OutputFormat format, int? widthMax = null)
{
    /// <summary>Width of a table where no terminal says its own: wide enough that no cell of ours wraps.</summary>
    private const int PlainWidth = 240;

    public OutputFormat Format => format;

    /// <summary>For what is more than answers: progress.</summary>
    public TextWriter Output => output;

    /// <summary>Json and yaml print the answer as it came; a table is drawn by the caller.</summary>
    public void Print(JsonNode? answer, Func<IEnumerable<string[]>> rows, params string[] columns)
    {
        if (format == OutputFormat.Table) PrintTable(rows(), columns);
        else PrintData(answer);
    }

    /// <summary>One thing: a table of name and value.</summary>
    public void PrintOne(JsonNode? answer, Func<IEnumerable<(string Name, string Value)>> lines)
    {
        if (format != OutputFormat.Table)
        {
            PrintData(answer);
            return;
        }
        var all = lines().ToArray();
        var width = all.Max(line => line.Name.Length) + 2;
        foreach (var (name, value) in all) output.WriteLine($"{name.PadRight(width)}{value}".TrimEnd());
    }

    /// <summary>
    /// A result in one sentence, for commands whose answer is the volume or node that they changed. Where the API answers nothing (204), json and yaml have
    /// the sentence: a script that parses what each command prints finds something to parse.
    /// </summary>
    public void PrintDone(JsonNode? answer, string sentence)
    {
        if (format == OutputFormat.Table) output.WriteLine(sentence);
        else PrintData(answer ?? new JsonObject { ["done"] = true, ["message"] = sentence });
    }

    public void Hint(string sentence)
    {
        if (format == OutputFormat.Table) output.WriteLine(sentence);
    }

    public void Error(string sentence) => error.WriteLine($"myrmidon: {sentence}");

    public void PrintTable(IEnumerable<string[]> rows, params string[] columns)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(output) });
        if (Console.IsOutputRedirected || widthMax is not null) console.Profile.Width = widthMax ?? PlainWidth;
        var table = new Table { Border = TableBorder.None, ShowRowSeparators = false };
        foreach (var column in columns) table.AddColumn(
            new TableColumn(Markup.Escape(column)) { NoWrap = true, Padding = new Padding(0, 0, 2, 0) });
        foreach (var row in rows) table.AddRow(row.Select(cell => new Text(cell)).ToArray<Spectre.Console.Rendering.IRenderable>());
        console.Write(table);
    }

    private void PrintData(JsonNode? answer)
    {
        if (format == OutputFormat.Json) output.WriteLine(answer?.ToJsonString(ApiClient.Json) ?? "null");
        else output.Write(YamlText.Of(answer));
    }
}
