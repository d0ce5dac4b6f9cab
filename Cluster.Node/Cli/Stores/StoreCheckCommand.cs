using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Cluster.Node.Cli.Output;
using Cluster.Node.Store;
using Spectre.Console;

namespace Cluster.Node.Cli.Stores;

/// <summary>What `store check` prints. Frozen: add, never rename.</summary>
internal sealed record StoreCheckResource(bool Ok, int Volumes, long BlocksRead, long Problems, IReadOnlyList<StoreProblemResource> Listed);

internal sealed record StoreProblemResource(string Volume, ulong? Block, string Problem);

/// <summary>`myrmidon store check`.</summary>
internal static class StoreCheckCommand
{
    /// <summary>Problems that are printed one by one; the others are counted.</summary>
    private const int ListedMax = 1000;

    public static Command Build()
    {
        var data = StoreCommands.Data();
        var disks = StoreCommands.Disks();
        var command = new VerbCommand("check",
            "Read all that the store of a node holds and compare it with its checksums. Changes nothing, and is refused while the node runs. Exit code 1 if anything is "
            + "wrong: a node mends bad blocks from the other copies when it reads or scrubs them, and copies anew what can't say what it holds.",
            "myrmidon store check --data /var/lib/myrmidon", "myrmidon store check --data /var/lib/myrmidon -o json")
        {
            data, disks,
        };
        var format = ClientOptions.AddFormat(command);
        command.SetAction((parsed, cancellation) =>
        {
            var configuration = parsed.InvocationConfiguration;
            var printer = new Printer(configuration.Output, configuration.Error, parsed.GetValue(format));
            return StoreDirectory.InspectAsync(parsed.GetRequiredValue(data), StoreCommands.PathsOf(parsed.GetValue(disks)), printer, store => Run(store, printer, configuration.Error, cancellation));
        });
        return command;
    }

    private static int Run(StoreInspection store, Printer printer, TextWriter error, CancellationToken cancellation)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(error) });
        var result = console.Progress().Columns(new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn(), new PercentageColumn(), new RemainingTimeColumn())
            .Start(progress => Read(store, progress.AddTask("reading blocks", maxValue: Math.Max(1, store.BlocksToRead)), cancellation));
        if (!result.Ok || printer.Format != OutputFormat.Table)
        {
            printer.Print(JsonSerializer.SerializeToNode(result, ApiClient.Json), () => result.Listed.Select(problem => new[]
            {
                problem.Volume, problem.Block?.ToString(CultureInfo.InvariantCulture) ?? "-", problem.Problem,
            }), "VOLUME", "BLOCK", "PROBLEM");
        }
        if (result.Problems > result.Listed.Count) printer.Hint($"and {result.Problems - result.Listed.Count} more");
        printer.Hint(string.Create(CultureInfo.InvariantCulture,
            $"{result.Volumes} volumes, {result.BlocksRead} blocks read: {(result.Ok ? "no problem found" : $"{result.Problems} problems")}."));
        return result.Ok ? ExitCode.Ok : ExitCode.Failure;
    }

    private static StoreCheckResource Read(StoreInspection store, ProgressTask bar, CancellationToken cancellation)
    {
        var listed = new List<StoreProblemResource>();
        var (problems, blocks) = (0L, 0L);
        void Add(StoreProblem problem)
        {
            problems++;
            if (listed.Count < ListedMax) listed.Add(new StoreProblemResource(problem.Volume?.ToString() ?? "-", problem.Block, problem.What));
        }
        foreach (var volume in store.Volumes)
        {
            if (!StoreVolumeResource.Of(volume).HeaderIsGood) Add(new StoreProblem(volume.Volume, null, "its header can't be read: the copy counts as lost"));
        }
        store.Check(Add, read =>
        {
            blocks += read;
            bar.Value = blocks;
        }, cancellation);
        bar.Value = bar.MaxValue;
        return new StoreCheckResource(problems == 0, store.Volumes.Count, blocks, problems, listed);
    }
}
