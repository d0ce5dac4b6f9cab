using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Cluster.Node.Api;
using Cluster.Node.Cli.Output;
using Spectre.Console;

namespace Cluster.Node.Cli;

/// <summary>`myrmidon node drain`: asks the API again and again, so that the user sees how far it is.</summary>
internal sealed class NodeDrainCommand(string node, TimeSpan timeout, bool forRestart, ApiClient client, Printer printer, TextWriter error)
{
    /// <summary>How long one request may work before it says how far it is, in seconds.</summary>
    private const double StepSeconds = 1;

    /// <summary>How long the end of a restart's cordon may take, also after the command was cancelled.</summary>
    private static readonly TimeSpan EndMax = TimeSpan.FromSeconds(10);

    private readonly long _started = Stopwatch.GetTimestamp();

    public static Command Build(Argument<string> name)
    {
        var timeout = DurationOption.Of("--timeout", "Give up after this long; what has moved by then stays moved. Default: 5m", TimeSpan.FromMinutes(5), TimeSpan.FromMilliseconds(1));
        var restart = new Option<bool>("--for-restart")
        {
            Description = "Uncordon the node at the end, also when this is cancelled or fails, unless it was cordoned before: it stops now and comes back by itself. Its next start uncordons it too",
        };
        var command = new VerbCommand("drain",
            "Prepare a node for maintenance: place no new copies on it and move its owners to other nodes. Its copies stay, and clients "
            + "notice nothing but a pause of a fraction of a second for each volume. `node uncordon` takes it back.",
            "myrmidon node drain node-0", "myrmidon node drain node-0 --timeout 30s", "myrmidon node drain node-0 --for-restart && systemctl restart myrmidon")
        {
            name, timeout, restart,
        };
        ClientOptions.Set(command, (parsed, client, printer, cancellation) =>
            new NodeDrainCommand(parsed.GetRequiredValue(name), parsed.GetValue(timeout), parsed.GetValue(restart), client, printer, parsed.InvocationConfiguration.Error)
                .RunAsync(cancellation));
        return command;
    }

    private async Task<int> RunAsync(CancellationToken cancellation)
    {
        if (!forRestart) return await DrainAsync(cancellation);
        var exit = ExitCode.Interrupted;
        ApiAnswer ended;
        try
        {
            exit = await DrainAsync(cancellation);
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            error.WriteLine($"Cancelled; what has left node {node} stays where it is.");
        }
        finally
        {
            // In any case: nothing is left behind that somebody would have to undo.
            ended = await EndRestartAsync();
        }
        if (ended.IsOk)
        {
            if (exit != ExitCode.Ok) error.WriteLine(ended.As<NodeResource>().Cordoned ? $"Node {node} stays cordoned, as it was." : $"Node {node} is not cordoned.");
            return exit;
        }
        if (exit == ExitCode.NotFound) return exit;
        printer.Error($"Node {node} may still be cordoned until it starts the next time, or `myrmidon node uncordon {node}`: {ended.Error}");
        return exit == ExitCode.Ok ? ended.ExitCode : exit;
    }

    private async Task<ApiAnswer> EndRestartAsync()
    {
        using var limit = new CancellationTokenSource(EndMax);
        try
        {
            return await client.PostAsync(Path + "/end-restart", null, limit.Token);
        }
        catch (OperationCanceledException)
        {
            return new ApiAnswer(null, ExitCode.Unreachable, $"The node at {client.Endpoint} did not answer within {EndMax.TotalSeconds:0} s.");
        }
    }

    private string Path => $"/v1/nodes/{Uri.EscapeDataString(node)}";

    private async Task<int> DrainAsync(CancellationToken cancellation)
    {
        var first = await StepAsync(0, cancellation);
        if (!first.IsOk) return await NodeCommands.FailAsync(client, printer, first, node, cancellation);
        var answer = first;
        if (!IsDone(first))
        {
            var total = Math.Max(1, first.As<DrainResource>().Left);
            await Progress(error).StartAsync(async progress =>
            {
                var bar = progress.AddTask($"Moving {total} owners away from {Markup.Escape(node)}", maxValue: total);
                while (answer.IsOk && !IsDone(answer) && Stopwatch.GetElapsedTime(_started) < timeout)
                {
                    answer = await StepAsync(StepSeconds, cancellation);
                    if (!answer.IsOk) return;
                    var now = answer.As<DrainResource>();
                    bar.Value = total - now.Left;
                    bar.Description = Markup.Escape(now.Waits.Count > 0 ? $"{now.Left} owners left on {node}: {now.Waits[0]}"
                        : string.Create(CultureInfo.InvariantCulture, $"{now.Left} owners left on {node}"));
                }
            });
        }
        if (!answer.IsOk) return await NodeCommands.FailAsync(client, printer, answer, node, cancellation);
        if (!IsDone(answer)) return GiveUp(answer);
        foreach (var stays in answer.As<DrainResource>().Stays) error.WriteLine($"Stays: {stays}.");
        var how = await NodeCommands.IfNotUpAsync(client, node, cancellation);
        printer.PrintDone(answer.Body, answer.As<DrainResource>().Stays.Count > 0 ? $"Node {node} is drained{how}, but for what has its only copy there."
            : forRestart ? $"Node {node} is drained{how}: it serves no volume."
            : $"Node {node} is drained{how}: it is cordoned and serves no volume. `myrmidon node uncordon {node}` takes it back.");
        return ExitCode.Ok;
    }

    private int GiveUp(ApiAnswer answer)
    {
        var now = answer.As<DrainResource>();
        printer.Error(string.Create(CultureInfo.InvariantCulture,
            $"Node {node} still serves {now.Left} volumes after {timeout.TotalSeconds:0.#} s{(forRestart ? "; its stop hands them over."
                : $"; it stays cordoned. Run this again to go on, or `myrmidon node uncordon {node}` to take it back.")}"));
        foreach (var wait in now.Waits.Concat(now.Stays)) printer.Error($"  {wait}");
        return ExitCode.Unreachable;
    }

    private static bool IsDone(ApiAnswer answer) => answer.As<DrainResource>().State == "drained";

    private Task<ApiAnswer> StepAsync(double seconds, CancellationToken cancellation) => client.PostAsync(
        Path + "/drain", new DrainRequest { TimeoutSeconds = seconds, ForRestart = forRestart }, cancellation);

    private static Progress Progress(TextWriter error) =>
        AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(error) }).Progress()
            .Columns(new SpinnerColumn(), new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn(), new PercentageColumn(),
                new ElapsedTimeColumn());
}
