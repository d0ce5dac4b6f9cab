using System.CommandLine;
using System.Diagnostics;
using Cluster.Node.Api;
using Cluster.Node.Cli.Output;
using Spectre.Console;

namespace Cluster.Node.Cli;

/// <summary>`myrmidon volume wait`: shows how far the copies that are behind are, until all of them are in sync.</summary>
internal sealed class VolumeWaitCommand(VolumeName volume, ApiClient client, Printer printer, TextWriter error)
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(500);

    public static Command Build(Argument<VolumeName> name)
    {
        var timeout = DurationOption.Of("--timeout", "Give up after this long, such as 600s or 10m, with exit code 1; a bare number is in seconds. Default: 0, which waits for ever", TimeSpan.Zero, TimeSpan.Zero, seconds: true);
        var command = new VerbCommand("wait",
            "Wait until all copies of a volume are in sync, and show how far those are that are being caught up.",
            "myrmidon volume wait db", "myrmidon volume wait db --timeout 10m")
        {
            name, timeout,
        };
        ClientOptions.Set(command, (parsed, client, printer, cancellation) =>
            new VolumeWaitCommand(parsed.GetRequiredValue(name), client, printer, parsed.InvocationConfiguration.Error)
                .RunAsync(parsed.GetValue(timeout), cancellation));
        return command;
    }

    private async Task<int> RunAsync(TimeSpan atMost, CancellationToken cancellation)
    {
        var answer = await AskAsync(cancellation);
        if (answer.IsOk && !IsWhole(answer)) answer = await WaitAsync(answer, atMost, cancellation);
        if (!answer.IsOk) return await VolumeCommands.FailAsync(client, printer, answer, volume, cancellation);
        printer.PrintOne(answer.Body, () => Describe.Lines(answer.As<VolumeResource>()));
        if (IsWhole(answer)) return ExitCode.Ok;
        printer.Error($"Not all copies of volume {volume} are in sync after {atMost.TotalSeconds:0.###} s.");
        return ExitCode.Failure;
    }

    private async Task<ApiAnswer> WaitAsync(ApiAnswer answer, TimeSpan atMost, CancellationToken cancellation)
    {
        var started = Stopwatch.GetTimestamp();
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(error) });
        await console.Progress().Columns(new SpinnerColumn(), new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn(),
            new PercentageColumn(), new ElapsedTimeColumn()).StartAsync(async progress =>
        {
            var bars = new Dictionary<string, ProgressTask>();
            while (true)
            {
                // An owner that has just moved is asked again: the catch-up goes on there.
                if (answer.IsOk) Show(progress, bars, answer.As<VolumeResource>());
                if (answer.IsOk ? IsWhole(answer) : answer.ExitCode != ExitCode.Unreachable) return;
                if (atMost > TimeSpan.Zero && Stopwatch.GetElapsedTime(started) >= atMost) return;
                await Task.Delay(Pause, cancellation);
                answer = await AskAsync(cancellation);
            }
        });
        return answer;
    }

    private static void Show(ProgressContext progress, Dictionary<string, ProgressTask> bars, VolumeResource volume)
    {
        foreach (var replica in volume.Replicas)
        {
            var isInSync = replica.State == "in-sync";
            if (!bars.TryGetValue(replica.Replica, out var bar))
            {
                if (isInSync) continue;
                bars[replica.Replica] = bar = progress.AddTask(replica.Node, maxValue: 1);
            }
            bar.MaxValue = Math.Max(1, Math.Max(replica.CatchUpBytesTotal, replica.CatchUpBytesSent));
            bar.Value = isInSync ? bar.MaxValue : Math.Min(replica.CatchUpBytesSent, bar.MaxValue - 1);
            bar.Description = Markup.Escape($"{replica.Node}: {Describe.ReplicaLine(replica)}");
        }
    }

    private static bool IsWhole(ApiAnswer answer) =>
        answer.As<VolumeResource>() is var volume && volume.State == "healthy" && volume.Replicas.All(replica => replica.State == "in-sync");

    private Task<ApiAnswer> AskAsync(CancellationToken cancellation) => client.GetAsync(VolumeCommands.PathOf(volume), cancellation);
}
