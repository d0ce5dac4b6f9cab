using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Cluster.Node.Cli.Output;

namespace Cluster.Node.Cli.Dev;

/// <summary>`myrmidon dev …`: a cluster on this machine, to try things and to break them.</summary>
internal static class DevCommands
{
    public static Command Build()
    {
        var data = Data();
        var nodes = NumberOption.Optional("--nodes", $"Nodes, 1-{DevPorts.NodesMax}; default: what DIR holds, else 3", 1, DevPorts.NodesMax);
        var offset = PortOffset("Added to every port, so that several clusters fit on one machine; default: what DIR holds, else 0");
        var namespaces = Namespaces();
        var diskSize = DiskSize();
        var command = new VerbCommand("dev",
            "Run a local cluster in the foreground, one process per node; Ctrl-C stops it, the same DIR starts it again with its data.",
            "myrmidon dev --nodes 3 --data /tmp/myrmidon", "myrmidon dev kill node-0 --data /tmp/myrmidon",
                "myrmidon dev start node-0 --data /tmp/myrmidon")
        {
            data, nodes, offset, namespaces, diskSize, Kill(), Start(), Stop(),
        };
        command.SetAction((parsed, cancellation) => GuardAsync(parsed, printer =>
            RunAsync(parsed.GetRequiredValue(data), parsed.GetValue(nodes), parsed.GetValue(offset),
                parsed.GetValue(namespaces) ? parsed.GetValue(diskSize) : null, parsed.InvocationConfiguration.Output, cancellation)));
        return command;
    }

    private static async Task<int> RunAsync(
        string directory, int? nodes, int? offset, ulong? diskBytes, TextWriter output, CancellationToken cancellation)
    {
        var clock = Stopwatch.StartNew();
        output.WriteLine("Starting a local cluster...");
        await using var cluster = await DevCluster.StartAsync(directory, nodes, offset, cancellation, diskBytes);
        output.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{cluster.Nodes.Count} nodes are healthy after {clock.Elapsed.TotalSeconds:0.0} s:"));
        foreach (var node in cluster.Nodes) output.WriteLine($"  {node.Name}  {node.Api}  {node.Nbd}  log {cluster.File.LogOf(node.Name)}");
        Explain(cluster, output);
        await cluster.WatchAsync(output, cancellation);
        output.WriteLine("Stopping every node...");
        var killed = await cluster.StopAsync();
        output.WriteLine($"Stopped. The data stays in {cluster.File.Directory}.");
        if (killed.Count == 0) return ExitCode.Ok;
        output.WriteLine($"{string.Join(", ", killed)} did not stop within {DevOperations.StopMs / 1000} s and had to be killed.");
        return ExitCode.Failure;
    }

    private static void Explain(DevCluster cluster, TextWriter output)
    {
        var endpoint = cluster.Shape is { PortOffset: 0, Hosts: null } ? "" : $" --endpoint {cluster.Nodes[0].Api}";
        var copies = Math.Min(3, cluster.Shape.Nodes);
        output.WriteLine("In another shell:");
        output.WriteLine($"  ./myrmidon volume create db --size 1GiB --replicas {copies}{endpoint}");
        output.WriteLine($"  nbdinfo {cluster.Nodes[^1].Nbd}/db");
        output.WriteLine($"  ./myrmidon dev kill node-0 --data {cluster.File.Directory}");
        output.WriteLine($"  ./myrmidon volume show db{(endpoint.Length == 0 ? "" : $" --endpoint {cluster.Nodes[^1].Api}")}");
        output.WriteLine($"  ./myrmidon dev start node-0 --data {cluster.File.Directory}");
        if (copies == 1) output.WriteLine("One node keeps a single copy of everything: losing its disk loses the data.");
        output.WriteLine("Ctrl-C stops every node.");
        output.Flush();
    }

    public static Option<int?> PortOffset(string help) => NumberOption.Optional("--port-offset", help, DevPorts.OffsetMin, DevPorts.OffsetMax);

    public static Option<bool> Namespaces() => new("--namespaces")
    {
        Description = "Each node in a network namespace, with an address and a small disk of its own, as on a machine of its own (as root)",
    };

    public static Option<ulong> DiskSize()
    {
        var option = new Option<ulong>("--disk-size")
        {
            Description = $"Of each node's disk with --namespaces; default: {SizeText.Format(DevHosts.DiskBytesUsual)}",
            HelpName = "SIZE",
            DefaultValueFactory = _ => DevHosts.DiskBytesUsual,
            CustomParser = parse =>
            {
                if (SizeText.TryParse(parse.Tokens[0].Value, out var bytes, out _) && bytes >= DevHosts.DiskBytesMin) return bytes;
                parse.AddError($"The disk size {parse.Tokens[0].Value} is not a size of at least {SizeText.Format(DevHosts.DiskBytesMin)}.");
                return default;
            },
        };
        return option;
    }

    private static Command Kill()
    {
        var (name, data) = (Name(), Data());
        var signal = new Option<int>("--signal")
        {
            Description = "KILL, TERM, STOP, CONT, another name or a number; default: KILL",
            HelpName = "SIGNAL",
            DefaultValueFactory = _ => NodeProcess.KillNow,
            CustomParser = parse =>
            {
                if (NodeProcess.SignalNumber(parse.Tokens[0].Value) is { } number) return number;
                parse.AddError($"'{parse.Tokens[0].Value}' is not a signal: use KILL, TERM, STOP, CONT, HUP, INT, QUIT, ABRT or a number.");
                return 0;
            },
        };
        var command = new VerbCommand("kill", "Send a node of a local cluster a signal.", "myrmidon dev kill node-0 --data /tmp/myrmidon",
            "myrmidon dev kill node-1 --data /tmp/myrmidon --signal STOP")
        {
            name, data, signal,
        };
        command.SetAction((parsed, cancellation) => GuardAsync(parsed, async printer =>
        {
            var file = new ClusterFile(parsed.GetRequiredValue(data));
            printer.Hint(await DevOperations.KillAsync(file, parsed.GetRequiredValue(name), parsed.GetValue(signal), cancellation));
            return ExitCode.Ok;
        }));
        return command;
    }

    private static Command Start()
    {
        var (name, data) = (Name(), Data());
        var command = new VerbCommand("start", "Start a killed node of a local cluster again and wait until it is healthy.",
            "myrmidon dev start node-0 --data /tmp/myrmidon")
        {
            name, data,
        };
        command.SetAction((parsed, cancellation) => GuardAsync(parsed, async printer =>
        {
            var node = await DevOperations.StartAsync(new ClusterFile(parsed.GetRequiredValue(data)), parsed.GetRequiredValue(name),
                cancellation);
            printer.Hint($"{node.Name} (pid {node.Pid}) is healthy at {node.Api}.");
            return ExitCode.Ok;
        }));
        return command;
    }

    private static Command Stop()
    {
        var data = Data();
        var command = new VerbCommand("stop", "Stop every node of a local cluster, also when its supervisor is gone.",
            "myrmidon dev stop --data /tmp/myrmidon")
        {
            data,
        };
        command.SetAction((parsed, _) => GuardAsync(parsed, async printer =>
        {
            var file = new ClusterFile(parsed.GetRequiredValue(data));
            if (file.ReadRunning() is null) throw new DevException($"No local cluster runs in {file.Directory}.", ExitCode.NotFound);
            var killed = await DevOperations.StopAllAsync(file);
            printer.Hint(killed.Count == 0 ? "Every node has stopped." : $"{string.Join(", ", killed)} did not stop and had to be killed.");
            return killed.Count == 0 ? ExitCode.Ok : ExitCode.Failure;
        }));
        return command;
    }

    private static async Task<int> GuardAsync(ParseResult parsed, Func<Printer, Task<int>> run)
    {
        var printer = new Printer(parsed.InvocationConfiguration.Output, parsed.InvocationConfiguration.Error, OutputFormat.Table);
        try
        {
            return await run(printer);
        }
        catch (DevException failure)
        {
            printer.Error(failure.Message);
            return failure.Code;
        }
    }

    private static Option<string> Data() => new("--data")
    {
        Description = "Directory of the cluster: cluster.json, and each node's data and log",
        HelpName = "DIR",
        Required = true,
    };

    private static Argument<string> Name() => new("name") { Description = "The node's name: node-0, node-1, ...", HelpName = "NODE" };
}
