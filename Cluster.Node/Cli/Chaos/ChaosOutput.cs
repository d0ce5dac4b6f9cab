using System.CommandLine;
using System.Text.Json;
using Cluster.Node.Cli.Output;

namespace Cluster.Node.Cli.Chaos;

/// <summary>
/// Where a run's sentences and its result go: both to standard output for people; with -o json or yaml the result alone goes there, and the
/// sentences to standard error.
/// </summary>
internal sealed class ChaosOutput
{
    private readonly Printer _result;
    private readonly string? _markdown;

    /// <summary>Throws nothing; a file that can't be written to is told when the run is over, after the result itself.</summary>
    public ChaosOutput(InvocationConfiguration configuration, OutputFormat format, string? markdown)
    {
        var (output, error) = (configuration.Output, configuration.Error);
        _result = new Printer(output, error, format);
        _markdown = markdown;
        Progress = new Printer(format == OutputFormat.Table ? output : error, error, OutputFormat.Table);
        IsTerminal = format == OutputFormat.Table && !Console.IsOutputRedirected;
    }

    public Printer Progress { get; }

    /// <summary>Whether a line that is overwritten every second makes sense.</summary>
    public bool IsTerminal { get; }

    public async Task PrintAsync(ChaosResult result)
    {
        if (_result.Format == OutputFormat.Table)
        {
            _result.Hint("");
            _result.PrintTable(ChaosReport.Rows(result), ChaosReport.Columns);
            foreach (var sentence in ChaosReport.Sentences(result)) _result.Hint(sentence);
        }
        else _result.Print(JsonSerializer.SerializeToNode(result, ApiClient.Json), () => []);
        if (_markdown is null) return;
        try
        {
            await File.WriteAllTextAsync(_markdown, ChaosReport.Markdown(result));
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            _result.Error($"{_markdown} could not be written: {failure.Message}");
        }
    }
}
