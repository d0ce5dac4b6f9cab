using System.CommandLine;
using Cluster.Node.Cli.Output;

namespace Cluster.Node.Cli;

/// <summary>The options that every client verb has, and the running of such a verb.</summary>
internal sealed class ClientOptions
{
    private readonly Option<OutputFormat> _format;

    private readonly Option<Uri> _endpoint = new("--endpoint")
    {
        Description = $"Any node's REST address; default: ${ApiClient.EndpointVariable}, else {ApiClient.DefaultEndpoint}",
        HelpName = "URL",
        CustomParser = parse => ReadEndpoint(parse.Tokens[0].Value, parse.AddError),
    };

    public ClientOptions(Command command)
    {
        _format = AddFormat(command);
        command.Add(_endpoint);
    }

    /// <summary>The option of every verb that prints an answer.</summary>
    internal static Option<OutputFormat> AddFormat(Command command)
    {
        var format = new Option<OutputFormat>("--output", "-o")
        {
            Description = "How to print the answer; default: table",
            HelpName = "table|json|yaml",
        };
        format.Validators.Add(result =>
        {
            var text = result.Tokens.Count > 0 ? result.Tokens[0].Value : "table";
            if (!Enum.TryParse<OutputFormat>(text, ignoreCase: true, out _) || char.IsDigit(text[0]))
            {
                result.AddError($"The output format '{text}' is not known: use table, json or yaml.");
            }
        });
        command.Add(format);
        return format;
    }

    /// <summary>Gives the verb a client and a printer; an answer that failed is printed and becomes the exit code.</summary>
    public static void Set(Command command, Func<ParseResult, ApiClient, Printer, CancellationToken, Task<int>> run)
    {
        var options = new ClientOptions(command);
        command.SetAction(async (parsed, cancellation) =>
        {
            var configuration = parsed.InvocationConfiguration;
            var printer = new Printer(configuration.Output, configuration.Error, parsed.GetValue(options._format));
            if (options.Endpoint(parsed, out var problem) is not { } endpoint)
            {
                printer.Error(problem);
                return ExitCode.Usage;
            }
            using var client = new ApiClient(endpoint);
            return await run(parsed, client, printer, cancellation);
        });
    }

    private Uri? Endpoint(ParseResult parsed, out string problem)
    {
        problem = "";
        if (parsed.GetValue(_endpoint) is { } given) return given;
        var text = Environment.GetEnvironmentVariable(ApiClient.EndpointVariable);
        var reason = "";
        var read = ReadEndpoint(string.IsNullOrEmpty(text) ? ApiClient.DefaultEndpoint : text, sentence => reason = sentence);
        problem = $"{ApiClient.EndpointVariable}: {reason}";
        return read;
    }

    internal static Uri? ReadEndpoint(string text, Action<string> refuse)
    {
        if (Uri.TryCreate(text, UriKind.Absolute, out var uri) && uri.Scheme is "http" or "https") return uri;
        refuse($"The endpoint '{text}' is not an http address: write one such as {ApiClient.DefaultEndpoint}.");
        return null;
    }
}
