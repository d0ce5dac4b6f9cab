using System.CommandLine;
using Cluster.Node.Cli.Output;

namespace Cluster.Node.Cli.Recover;

/// <summary>`myrmidon recover`.</summary>
internal static class RecoverCommand
{
    public static Command Build()
    {
        var endpoints = new Option<Uri[]>("--endpoint")
        {
            Description = $"REST address of a node; name every node that runs. Default: ${ApiClient.EndpointVariable}, else {ApiClient.DefaultEndpoint}",
            HelpName = "URL",
            AllowMultipleArgumentsPerToken = true,
            CustomParser = parse => [.. parse.Tokens.Select(token => ClientOptions.ReadEndpoint(token.Value, parse.AddError)).OfType<Uri>()],
        };
        var apply = new Option<bool>("--apply") { Description = "Do it; without this nothing is changed, and what would be done is printed" };
        var force = Names("--force", "Recover this volume from the best copies found, though writes may be missing; may be given again");
        var skip = Names("--skip", "Go on without this volume, which can't be recovered; may be given again");
        var standDown = new Option<bool>("--stand-down")
        {
            Description = "Only put the journal of these nodes aside: of those left of a lost majority, or of an era that was recovered without them",
        };
        var command = new VerbCommand("recover",
            "Rebuild the catalogue and the in-sync sets from the replicas' headers, when the journals of all control nodes, or of a majority of them, are gone for good. "
            + "Prints every volume found, its copies, what would be chosen and what can't be recovered and why; changes nothing without --apply. Refused while a majority "
            + "of the control nodes is alive. Exit code 4: refused, or a volume can't be recovered without --force or --skip.",
            "myrmidon recover --endpoint http://10.0.0.5:5705 --endpoint http://10.0.0.6:5705 --endpoint http://10.0.0.7:5705",
            "myrmidon recover --endpoint http://10.0.0.5:5705 http://10.0.0.6:5705 --force db --apply")
        {
            endpoints, apply, force, skip, standDown,
        };
        var format = ClientOptions.AddFormat(command);
        command.SetAction((parsed, cancellation) =>
        {
            var printer = new Printer(parsed.InvocationConfiguration.Output, parsed.InvocationConfiguration.Error, parsed.GetValue(format));
            var given = parsed.GetValue(endpoints) is { Length: > 0 } some ? some : Default(printer);
            if (given is null) return Task.FromResult(ExitCode.Usage);
            var run = new RecoverRun([.. given.Distinct()], Set(parsed.GetValue(force)), Set(parsed.GetValue(skip)), printer);
            return parsed.GetValue(standDown) ? run.StandDownAsync(cancellation) : run.RunAsync(parsed.GetValue(apply), cancellation);
        });
        return command;
    }

    private static Option<string[]> Names(string name, string description) => new(name) { Description = description, HelpName = "VOLUME", AllowMultipleArgumentsPerToken = true };

    private static HashSet<string> Set(string[]? names) => new(names ?? [], StringComparer.Ordinal);

    private static Uri[]? Default(Printer printer)
    {
        var text = Environment.GetEnvironmentVariable(ApiClient.EndpointVariable);
        var read = ClientOptions.ReadEndpoint(string.IsNullOrEmpty(text) ? ApiClient.DefaultEndpoint : text,
            sentence => printer.Error($"{ApiClient.EndpointVariable}: {sentence}"));
        return read is null ? null : [read];
    }
}
