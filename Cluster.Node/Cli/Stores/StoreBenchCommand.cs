using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Cluster.Messages.Wire;
using Cluster.Node.Cli.Output;
using Cluster.Node.Ingress;
using Cluster.Node.Store;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Node.Cli.Stores;

/// <summary>`myrmidon store bench`.</summary>
internal static class StoreBenchCommand
{
    private const int GroupWrites = 32;
    private const long SizeDefault = 1L << 30;
    private const int HotPercent = 20;
    private static readonly TimeSpan TimeDefault = TimeSpan.FromSeconds(10);

    /// <summary>In the order in which they run: the first one fills what the others touch.</summary>
    private static readonly StoreBenchJob[] Jobs =
    [
        new("fill", Reads: false, Sequential: true, Group: GroupWrites, Syncs: false, HotPercent: 0),
        new("write", Reads: false, Sequential: false, Group: GroupWrites, Syncs: false, HotPercent: 0),
        new("write-sync32", Reads: false, Sequential: false, Group: GroupWrites, Syncs: true, HotPercent: 0),
        new("write-80-20", Reads: false, Sequential: false, Group: GroupWrites, Syncs: false, HotPercent: HotPercent),
        new("read", Reads: true, Sequential: false, Group: 0, Syncs: false, HotPercent: 0),
    ];

    public static Command Build()
    {
        var data = new Option<string>("--data") { Description = "A directory that does not exist yet, on the disk to try; removed at the end", HelpName = "DIR", Required = true };
        var size = SizeOption("--size", "What is written and overwritten", SizeDefault);
        var capacity = SizeOption("--capacity", "What the store may use; default: what the file system has. With little more than --size the cleaner has to work", 0);
        var map = SizeOption("--map-cache", "Memory for the maps, as a node's setting of that name", StoreOptions.MapCacheBytesDefault);
        var time = DurationOption.Of("--time", $"Of each job, such as 10s or 10m; default: {TimeDefault.TotalSeconds:0}s", TimeDefault, TimeSpan.FromMilliseconds(1));
        var jobs = new Option<string>("--jobs") { Description = $"Which, with commas between them, from: {string.Join(", ", Jobs.Skip(1).Select(job => job.Name))}; default: all", HelpName = "LIST" };
        jobs.Validators.Add(result =>
        {
            if (Unknown(result.Tokens[0].Value) is { } unknown) result.AddError($"There is no job '{unknown}': use {string.Join(", ", Jobs.Skip(1).Select(job => job.Name))}.");
        });
        var command = new VerbCommand("bench",
            "Measure the store by itself, without network, copies and front end: blocks of 4 KiB that don't compress, in groups of 32, on one thread as in a node.",
            "myrmidon store bench --data /mnt/disk/bench", "myrmidon store bench --data /mnt/disk/bench --size 8700MiB --capacity 10GiB --jobs write,write-80-20 --time 10m")
        {
            data, size, capacity, map, time, jobs,
        };
        var format = ClientOptions.AddFormat(command);
        command.SetAction(async (parsed, cancellation) =>
        {
            var printer = new Printer(parsed.InvocationConfiguration.Output, parsed.InvocationConfiguration.Error, parsed.GetValue(format));
            var directory = Path.GetFullPath(parsed.GetRequiredValue(data));
            if (Directory.Exists(directory) || File.Exists(directory))
            {
                printer.Error($"{directory} exists already: name a directory that the bench may make, and remove at the end.");
                return ExitCode.Usage;
            }
            var names = parsed.GetValue(jobs)?.Split(',') ?? [.. Jobs.Select(job => job.Name)];
            var chosen = Jobs.Where(job => job.Sequential || names.Contains(job.Name)).ToList();
            var options = new StoreOptions { CapacityBytes = (long)parsed.GetValue(capacity), MapCacheBytes = (long)parsed.GetValue(map) };
            if (options.Problem() is { } problem)
            {
                printer.Error($"--capacity is too small: {problem}.");
                return ExitCode.Usage;
            }
            try
            {
                var rows = await RunAsync(directory, options, (long)parsed.GetValue(size), chosen, parsed.GetValue(time), cancellation);
                printer.Print(JsonSerializer.SerializeToNode(rows, ApiClient.Json), () => rows.Select(Row), "JOB", "SECONDS", "IOPS", "MB/S", "CPU US/IO", "WRITE AMP", "MOVED", "CHECKPOINTS", "HEADERS", "LIVE");
                return ExitCode.Ok;
            }
            catch (IOException e)
            {
                printer.Error($"The store at {directory} failed: {e.Message}");
                return ExitCode.Failure;
            }
            finally
            {
                if (Directory.Exists(directory)) Directory.Delete(directory, recursive: true);
            }
        });
        return command;
    }

    private static Option<ulong> SizeOption(string flag, string help, long standard) => new(flag)
    {
        Description = help,
        HelpName = "SIZE",
        DefaultValueFactory = _ => (ulong)standard,
        CustomParser = parse =>
        {
            if (!SizeText.TryParse(parse.Tokens[0].Value, out var bytes, out var reason)) parse.AddError(reason);
            return bytes;
        },
    };

    private static string? Unknown(string list) => list.Split(',').FirstOrDefault(name => !Jobs.Any(job => job.Name == name));

    private static async Task<List<StoreBenchResource>> RunAsync(
        string directory, StoreOptions options, long size, IReadOnlyList<StoreBenchJob> jobs, TimeSpan time, CancellationToken cancellation)
    {
        var failure = new TaskCompletionSource<StoreBenchResource>(TaskCreationOptions.RunContinuationsAsynchronously);
        Directory.CreateDirectory(directory);
        await using var loop = new EpollLoop("bench", NullLogger.Instance, error => failure.TrySetException(error));
        using var scheduler = new ThreadDiskScheduler(loop, "bench");
        var opened = BlockStore.Open(options, loop, new FileDisk(directory), scheduler, NullLogger.Instance);
        if (opened.Store is not { } store) throw new IOException(opened.Reason);
        loop.Start();
        var rows = new List<StoreBenchResource>();
        try
        {
            var made = new TaskCompletionSource<StoreBench>(TaskCreationOptions.RunContinuationsAsynchronously);
            loop.Post(() =>
            {
                loop.AddPhase(TurnPhase.Store, store);
                made.SetResult(new StoreBench(loop, store, size));
            });
            var bench = await made.Task;
            foreach (var job in jobs)
            {
                var done = new TaskCompletionSource<StoreBenchResource>(TaskCreationOptions.RunContinuationsAsynchronously);
                loop.Post(() => bench.Begin(job, time, done));
                rows.Add(await await Task.WhenAny(done.Task, failure.Task).WaitAsync(cancellation));
            }
        }
        finally
        {
            await store.DisposeAsync();
        }
        return rows;
    }

    private static string[] Row(StoreBenchResource row) =>
    [
        row.Job, row.Seconds.ToString("F1", CultureInfo.InvariantCulture), row.PerSecond.ToString("N0", CultureInfo.InvariantCulture),
        row.MegabytesPerSecond.ToString("F1", CultureInfo.InvariantCulture), row.CpuMicroseconds.ToString("F1", CultureInfo.InvariantCulture),
        Share(row, row.WriteAmplification), Share(row, row.MovedShare), Share(row, row.CheckpointShare), Share(row, row.HeaderShare),
        row.LiveRatio.ToString("P0", CultureInfo.InvariantCulture),
    ];

    private static string Share(StoreBenchResource row, double share) => row.WriteAmplification == 0 ? "-" : share.ToString("F2", CultureInfo.InvariantCulture);
}
