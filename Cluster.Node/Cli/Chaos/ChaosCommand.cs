using System.CommandLine;
using System.Globalization;
using Cluster.Node.Cli.Dev;

namespace Cluster.Node.Cli.Chaos;

/// <summary>`myrmidon chaos`.</summary>
internal static class ChaosCommand
{
    private const int NodesDefault = 3;

    public static Command Build()
    {
        var data = new Option<string?>("--data")
        { Description = "Directory of a running dev cluster; default: a cluster of three is started, and removed at the end", HelpName = "DIR" };
        var duration = Duration();
        var seed = NumberOption.Optional("--seed", "Decides faults, their order and what clients ask; default: drawn", int.MinValue, int.MaxValue);
        var clients = Count("--clients", "Clients, each with a connection of its own", 4, ChaosSettings.ClientsMax);
        var volumes = Count("--volumes", "Volumes that they work on", 3, 16);
        var rate = Count("--rate", "Requests per second and client", 100, 10_000);
        var faults = Faults();
        var offset = DevCommands.PortOffset("Of the cluster that is started: added to every port; default: the first that is free");
        var namespaces = DevCommands.Namespaces();
        var diskSize = DevCommands.DiskSize();
        var rounds = Rounds();
        var markdown = new Option<string?>("--markdown")
        { Description = "Also write table and sentences there, as Markdown for a document", HelpName = "FILE" };
        var keep = new Option<bool>("--keep") { Description = "Leave the cluster that was started running, and the volumes there" };
        var command = new VerbCommand("chaos",
            "Break a local cluster for as long as you like, under load, and see whether what it acknowledged holds: clients write and read "
            + "through NBD while nodes are killed, stopped, restarted, and with --namespaces also cut off from each other and their disks "
            + "filled; every answer is checked (each block must be a linearizable register), and at the end everything is read back through "
            + "every node and from every copy. "
            + "Exit code 0 only if nothing was violated.",
            "myrmidon chaos --duration 10m", "myrmidon chaos --duration 1h --data /tmp/myrmidon --clients 8",
            "myrmidon chaos --duration 5m --faults kill,all-kill --seed 7", "myrmidon chaos --duration 30m --namespaces",
            "myrmidon chaos --namespaces --rounds 20 --markdown table.md")
        {
            data, duration, rounds, seed, clients, volumes, rate, faults, offset, namespaces, diskSize, markdown, keep,
        };
        var format = ClientOptions.AddFormat(command);
        command.SetAction(async (parsed, cancellation) =>
        {
            var settings = new ChaosSettings
            {
                Duration = parsed.GetValue(duration),
                Rounds = parsed.GetValue(rounds),
                Seed = parsed.GetValue(seed) ?? Random.Shared.Next(1, 1_000_000),
                Clients = parsed.GetValue(clients),
                Volumes = parsed.GetValue(volumes),
                RatePerSecond = parsed.GetValue(rate),
                Faults = parsed.GetValue(faults) ?? [],
            };
            var output = new ChaosOutput(parsed.InvocationConfiguration, parsed.GetValue(format), parsed.GetValue(markdown));
            var printer = output.Progress;
            try
            {
                return parsed.GetValue(data) is { } directory
                    ? await RunAsync(new ClusterFile(directory), settings, parsed.GetValue(keep), output, cancellation)
                    : await RunOwnAsync(settings, parsed.GetValue(offset), parsed.GetValue(namespaces) ? parsed.GetValue(diskSize) : null,
                        parsed.GetValue(keep), output, cancellation);
            }
            catch (DevException failure)
            {
                printer.Error(failure.Message);
                return failure.Code;
            }
        });
        return command;
    }

    /// <summary>With a cluster of its own, which stays with its logs when something was violated.</summary>
    private static async Task<int> RunOwnAsync(
        ChaosSettings settings, int? offset, ulong? diskBytes, bool keep, ChaosOutput output, CancellationToken cancellation)
    {
        var printer = output.Progress;
        FaultsFor(diskBytes is not null, settings);
        var directory = Directory.CreateTempSubdirectory("myrmidon-chaos-").FullName;
        var code = ExitCode.Failure;
        var stays = false;
        try
        {
            printer.Hint("Starting three nodes...");
            offset ??= diskBytes is null ? DevOperations.FreeOffset(NodesDefault) : 0;
            var cluster = await DevCluster.StartAsync(directory, NodesDefault, offset, cancellation, diskBytes);
            try
            {
                code = await RunAsync(cluster.File, settings, keep, output, cancellation);
                stays = keep || code != ExitCode.Ok;
                if (keep) cluster.Abandon();
            }
            finally
            {
                await cluster.DisposeAsync();
            }
            if (keep) printer.Hint($"The cluster goes on; stop it with `{DevOperations.Hint("dev stop", cluster.File)}`.");
            else if (stays) printer.Hint($"Logs and data of the nodes stay in {directory}.");
            return code;
        }
        finally
        {
            if (!stays) Directory.Delete(directory, recursive: true);
        }
    }

    private static async Task<int> RunAsync(
        ClusterFile file, ChaosSettings settings, bool keep, ChaosOutput output, CancellationToken cancellation)
    {
        var cluster = new DevChaosCluster(file);
        var progress = new ChaosProgress(output.Progress.Output, output.IsTerminal);
        settings = settings with { Faults = FaultsFor(cluster.Hosts is not null, settings) };
        var run = new ChaosRun(cluster, settings, ChaosFaults.FindAll(settings.Faults), progress.Say);
        using (run.Control)
        {
            await using (progress)
            {
                progress.Start(run);
                await run.RunAsync(cancellation);
            }
            await output.PrintAsync(ChaosResult.Of(run));
            if (run.IsGood && !keep) await run.CleanUpAsync();
            return run.IsGood ? ExitCode.Ok : ExitCode.Failure;
        }
    }

    /// <summary>None named: all that the cluster can have.</summary>
    private static IReadOnlyList<string> FaultsFor(bool hasHosts, ChaosSettings settings)
    {
        if (hasHosts) return settings.Faults.Count > 0 ? settings.Faults : ChaosFaults.Names;
        if (settings.Faults.Count == 0) return ChaosFaults.OfProcesses;
        return settings.Faults.FirstOrDefault(HostFaults.Names.Contains) is not { } name ? settings.Faults : throw new DevException(
            $"The fault '{name}' needs nodes with networks and disks of their own: use --namespaces, or a dev cluster that has them.",
            ExitCode.Usage);
    }

    private static Option<TimeSpan> Duration() =>
        DurationOption.Of("--duration", "How long faults strike, such as 90s, 30m, 12h; default: 10m", TimeSpan.FromMinutes(10), TimeSpan.FromSeconds(1));

    private static Option<int> Rounds() => NumberOption.Of("--rounds",
        "Go on after the duration until every fault has struck so often, from two on each time when the cluster had recovered from the one before; default: end with the duration",
        0, 1, ChaosSettings.RoundsMax);

    private static Option<int> Count(string name, string what, int usual, int max) =>
        NumberOption.Of(name, string.Create(CultureInfo.InvariantCulture, $"{what}, 1-{max}; default: {usual}"), usual, 1, max);

    private static Option<string[]?> Faults() => new("--faults")
    {
        Description = $"Kinds of faults, with commas between them, from: {string.Join(", ", ChaosFaults.Names)}; default: all, the last "
            + "four only with namespaces",
        HelpName = "LIST",
        CustomParser = parse =>
        {
            var names = parse.Tokens[0].Value.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
            foreach (var name in names.Where(name => !ChaosFaults.Names.Contains(name)))
            {
                parse.AddError($"The fault '{name}' is not known: use {string.Join(", ", ChaosFaults.Names)}.");
            }
            if (names.Length == 0) parse.AddError($"--faults names none: use some of {string.Join(", ", ChaosFaults.Names)}.");
            return names;
        },
    };
}
