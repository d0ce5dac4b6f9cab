using System.CommandLine;
using System.Globalization;
using Cluster.Node.Api;
using Cluster.Node.Cli.Output;
using Spectre.Console;

namespace Cluster.Node.Cli;

/// <summary>`myrmidon volume scrub`: starts a scrub, and with --wait shows how far it is until it has ended.</summary>
internal sealed class VolumeScrubCommand(VolumeName volume, ApiClient client, Printer printer, TextWriter error)
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(500);

    public static Command Build(Argument<VolumeName> name)
    {
        var wait = new Option<bool>("--wait") { Description = "Show the progress and return when the scrub has ended" };
        var show = new Option<bool>("--show") { Description = "Start nothing, only tell how far it is and what the last one found" };
        var command = new VerbCommand("scrub",
            "Read all written blocks of all in-sync copies of a volume, compare the copies, and mend what is bad on one from another. It goes on in the "
            + "background at the pace of the setting repair.scrub-bytes-per-second. Exit code 1 when blocks were found that no copy has good.",
            "myrmidon volume scrub db", "myrmidon volume scrub db --wait", "myrmidon volume scrub db --show -o json")
        {
            name, wait, show,
        };
        ClientOptions.Set(command, (parsed, client, printer, cancellation) =>
            new VolumeScrubCommand(parsed.GetRequiredValue(name), client, printer, parsed.InvocationConfiguration.Error)
                .RunAsync(parsed.GetValue(wait), parsed.GetValue(show), cancellation));
        return command;
    }

    private async Task<int> RunAsync(bool wait, bool show, CancellationToken cancellation)
    {
        var answer = await AskAsync(start: !show, cancellation);
        if (answer.IsOk && wait && !IsIdle(answer)) answer = await WaitAsync(answer, cancellation);
        if (!answer.IsOk) return await VolumeCommands.FailAsync(client, printer, answer, volume, cancellation);
        var scrub = answer.As<ScrubResource>();
        printer.PrintOne(answer.Body, () => Lines(scrub));
        return (scrub.Now ?? scrub.Last) is { LostBlocks: > 0 } ? ExitCode.Failure : ExitCode.Ok;
    }

    private async Task<ApiAnswer> WaitAsync(ApiAnswer answer, CancellationToken cancellation)
    {
        await Bar(error).StartAsync(async progress =>
        {
            var bar = progress.AddTask("Scrubbing", maxValue: 1);
            while (true)
            {
                // An owner that has just moved is asked again: the scrub goes on there.
                if (answer.IsOk) Show(bar, answer.As<ScrubResource>());
                if (answer.IsOk ? IsIdle(answer) : answer.ExitCode != ExitCode.Unreachable) return;
                await Task.Delay(Pause, cancellation);
                answer = await AskAsync(start: false, cancellation);
            }
        });
        return answer;
    }

    private void Show(ProgressTask bar, ScrubResource scrub)
    {
        var done = scrub.Now?.CheckedBytes ?? scrub.StoredBytes;
        bar.MaxValue = Math.Max(1, Math.Max(done, scrub.StoredBytes));
        bar.Value = scrub.State == "idle" ? bar.MaxValue : Math.Min(done, bar.MaxValue - 1);
        bar.Description = Markup.Escape(scrub.Reason.Length > 0 ? $"Scrub of {volume} waits: {scrub.Reason}"
            : $"Scrubbing {volume}, {Progress(done, scrub)} on each copy");
    }

    /// <summary>How much there is may be told too low: writes go on, and what a clone shares with its origin is counted piece by piece.</summary>
    internal static string Progress(ulong done, ScrubResource scrub) =>
        done <= scrub.StoredBytes ? $"{SizeText.Format(done)} of about {SizeText.Format(scrub.StoredBytes)} read" : $"{SizeText.Format(done)} read";

    private static IEnumerable<(string Name, string Value)> Lines(ScrubResource scrub)
    {
        yield return ("State", scrub.Reason.Length > 0 ? $"{scrub.State}: {scrub.Reason}" : scrub.State);
        if (scrub.Now is { } now)
            yield return ("Now", $"{Progress(now.CheckedBytes, scrub)} on each copy, {Found(now)}");
        yield return ("Last", scrub is { Last: { } last, LastEndedAt: { } ended }
            ? $"ended {Describe.Time(ended)}, {SizeText.Format(last.CheckedBytes)} read on each copy, {Found(last)}" : "never");
        if (scrub.NextAt is { } next) yield return ("Next", Describe.Time(next));
        yield return ("Pace", $"at most {SizeText.Format(scrub.BytesPerSecond)} per second");
    }

    private static string Found(ScrubCountsResource counts) => string.Create(CultureInfo.InvariantCulture,
        $"{counts.MendedBlocks} blocks mended, {counts.DifferingBlocks} differed, {counts.LostBlocks} lost");

    private static bool IsIdle(ApiAnswer answer) => answer.As<ScrubResource>().State == "idle";

    private Task<ApiAnswer> AskAsync(bool start, CancellationToken cancellation)
    {
        var path = VolumeCommands.PathOf(volume, "scrub");
        return start ? client.PostAsync(path, null, cancellation) : client.GetAsync(path, cancellation);
    }

    private static Progress Bar(TextWriter error) =>
        AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(error) }).Progress()
            .Columns(new SpinnerColumn(), new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn(), new PercentageColumn(),
                new ElapsedTimeColumn());
}
