using System.CommandLine;
using System.Text.Json;
using Cluster.Messages.Model;
using Cluster.Node.Api;
using Cluster.Node.Cli.Output;

namespace Cluster.Node.Cli.Bench;

/// <summary>`myrmidon bench`.</summary>
internal static class BenchCommand
{
    private const ulong SizeDefault = 1UL << 30;
    private const int DepthMax = 256;
    private const ulong BlockBytesMax = 1UL << 20;
    private static readonly TimeSpan TimeDefault = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan WarmUpDefault = TimeSpan.FromSeconds(2);

    public static Command Build()
    {
        var volume = VolumeOption();
        var overwrite = new Option<bool>("--overwrite") { Description = "Write to --volume though it holds data: what is there is lost" };
        var replicas = NumberOption.Optional("--replicas", "Copies of the bench's own volume; default: as many as there are nodes, 3 at most", 1, Limits.ReplicasMax);
        var size = SizeOption("--size", $"Bytes at the volume's beginning that the jobs work on; default: {SizeText.Format(SizeDefault)}", SizeDefault);
        var node = new Option<string?>("--node") { Description = "The node whose NBD port is used; default: the one to which --volume is attached, else the first that is up", HelpName = "NODE" };
        var jobs = JobsOption();
        var depth = DepthOption();
        var block = BlockOption();
        var time = DurationOption.Of("--time", "Of each job, such as 10s or 1m; default: 10s", TimeDefault, TimeSpan.FromMilliseconds(1));
        var warmUp = DurationOption.Of("--warm-up", "Before each job, not measured; default: 2s", WarmUpDefault, TimeSpan.Zero);
        var command = new VerbCommand("bench",
            "Measure a volume through a node's NBD port: IOPS, latencies, CPU per I/O by stage, and which stage is the bottleneck. Without --volume it makes one and deletes it at the end, also after Ctrl-C.",
            "myrmidon bench", "myrmidon bench --jobs write,fsync --time 30s -o json", "myrmidon bench --volume db --jobs read --depth 8")
        {
            volume, overwrite, replicas, size, node, jobs, depth, block, time, warmUp,
        };
        command.Validators.Add(result =>
        {
            if (result.GetResult(volume) is not null && result.GetResult(replicas) is { Implicit: false }) result.AddError("--replicas is for a volume of the bench's own: leave it out with --volume.");
            if (result.GetResult(volume) is null && result.GetValue(overwrite)) result.AddError("--overwrite says that a volume's data may be lost: name that volume with --volume.");
        });
        ClientOptions.Set(command, (parsed, client, printer, cancellation) =>
        {
            var (depthAsked, blockAsked) = (parsed.GetValue(depth), parsed.GetValue(block));
            var names = (parsed.GetValue(jobs) ?? BenchJob.Names).Split(',');
            var chosen = BenchJob.All.Where(job => names.Contains(job.Name))
                .Select(job => job with { Depth = depthAsked ?? job.Depth, BlockBytes = blockAsked is { } bytes ? (int)bytes : job.BlockBytes }).ToList();
            var settings = new BenchSettings(parsed.GetValue(volume), parsed.GetValue(overwrite), parsed.GetValue(replicas), parsed.GetValue(size), parsed.GetValue(node), chosen,
                parsed.GetValue(time), parsed.GetValue(warmUp));
            return RunAsync(settings, client, printer, parsed.InvocationConfiguration.Error, cancellation);
        });
        return command;
    }

    private static async Task<int> RunAsync(BenchSettings settings, ApiClient client, Printer printer, TextWriter error, CancellationToken cancellation)
    {
        try
        {
            var progress = new BenchProgress(error, isTerminal: !Console.IsErrorRedirected);
            var report = await new BenchRun(client, settings, progress, error.WriteLine).RunAsync(cancellation);
            printer.Print(JsonSerializer.SerializeToNode(report, ApiClient.Json), () => report.Jobs.Select(job => job.Row()), BenchJobReport.Columns);
            if (printer.Format != OutputFormat.Table) return ExitCode.Ok;
            printer.Hint("\nCPU, us per I/O, of all nodes by stage:\n");
            printer.PrintTable(report.Jobs.Select(job => job.CpuRow()), ["JOB", .. report.Jobs[0].CpuByStage.Keys.Select(stage => stage.ToUpperInvariant())]);
            return ExitCode.Ok;
        }
        catch (BenchException failure)
        {
            printer.Error(failure.Message);
            return failure.Code;
        }
    }

    private static Option<VolumeName?> VolumeOption() => new("--volume")
    {
        Description = "NAME or NAMESPACE/NAME of a volume that exists; default: one of the bench's own",
        HelpName = "NAME",
        CustomParser = parse =>
        {
            if (!VolumeName.TryParse(parse.Tokens[0].Value, out var name, out var reason)) parse.AddError(reason);
            return name;
        },
    };

    private static Option<string?> JobsOption()
    {
        var jobs = new Option<string?>("--jobs") { Description = $"Which, with commas between them, from: {BenchJob.Names}; default: all", HelpName = "LIST" };
        jobs.Validators.Add(result =>
        {
            foreach (var name in result.Tokens[0].Value.Split(','))
            {
                if (!BenchJob.All.Any(job => job.Name == name)) result.AddError($"There is no job '{name}': use {BenchJob.Names}.");
            }
        });
        return jobs;
    }

    private static Option<int?> DepthOption() =>
        NumberOption.Optional("--depth", $"I/Os at one time, 1-{DepthMax}; default: 1 for fsync, 8 for seqwrite and seqread, 32 for the others", 1, DepthMax);

    private static Option<ulong?> BlockOption() => new("--block-size")
    {
        Description = "Bytes of an I/O, 512B-1MiB; default: 128KiB for seqwrite and seqread, 4KiB for the others",
        HelpName = "SIZE",
        CustomParser = parse =>
        {
            if (!SizeText.TryParse(parse.Tokens[0].Value, out var bytes, out var reason)) parse.AddError(reason);
            else if (bytes is 0 or > BlockBytesMax || bytes % Limits.SectorBytes != 0) parse.AddError($"'{parse.Tokens[0].Value}' is not a block size: use a multiple of 512 bytes up to 1MiB.");
            return bytes;
        },
    };

    private static Option<ulong> SizeOption(string flag, string help, ulong standard) => new(flag)
    {
        Description = help,
        HelpName = "SIZE",
        DefaultValueFactory = _ => standard,
        CustomParser = parse =>
        {
            if (!SizeText.TryParse(parse.Tokens[0].Value, out var bytes, out var reason)) parse.AddError(reason);
            return bytes;
        },
    };
}
