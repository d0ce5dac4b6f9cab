using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using System.Text.Json.Nodes;
using Cluster.Node.Api;
using Cluster.Node.Hosting.Options;
using Cluster.Node.Store;

namespace Cluster.Node.Cli.Dev;

/// <summary>
/// What can be done to the nodes of a local cluster, by its supervisor or from another shell. Failures are <see
/// cref="DevException"/>.
/// </summary>
internal static class DevOperations
{
    /// <summary>How long a cluster or a node may take to become healthy, in milliseconds.</summary>
    public const int HealthyMs = 60_000;

    /// <summary>How long a node may take to stop before it is killed: above its own stop-timeout of 30 s.</summary>
    public const int StopMs = 45_000;

    private const int PollMs = 100;

    /// <summary>A node that does not answer a look at its health for this long is not healthy.</summary>
    private const int LookMs = 2_000;

    private const int LogTailLines = 15;

    public static bool ArePortsFree(DevPorts ports) => FindTakenPort(ports) is null;

    /// <summary>The first port offset at which so many nodes find their ports free.</summary>
    public static int FreeOffset(int nodes)
    {
        for (var offset = 0; offset <= DevPorts.OffsetMax; offset += DevPorts.Stride * 10)
        {
            if (Enumerable.Range(0, nodes).All(index => ArePortsFree(new DevPorts(offset, index)))) return offset;
        }
        throw new DevException($"No free ports were found for {nodes} nodes: name some with --port-offset N.");
    }

    /// <summary>Throws the sentence that names the port. A node with an address of its own has all ports to itself.</summary>
    public static void CheckPortsAreFree(DevShape shape, int index)
    {
        var ports = new DevPorts(shape.PortOffset, index);
        if (shape.Hosts is not null || FindTakenPort(ports) is not { } port) return;
        throw new DevException($"Port {port}, which {ClusterFile.NameOf(ports.Index)} needs, is in use: stop what uses it, "
            + "or move all ports of a new cluster with --port-offset N.", ExitCode.Conflict);
    }

    /// <summary>Starts the process; it is not healthy yet.</summary>
    public static Process Spawn(ClusterFile file, DevShape shape, int index)
    {
        var ports = new DevPorts(shape.PortOffset, index);
        var name = ClusterFile.NameOf(index);
        Directory.CreateDirectory(file.DataOf(index));
        List<string> arguments =
        [
            "--name", name, "--data", file.DataOf(index), "--host", shape.AddressOf(index), "--bootstrap-expect", Number(shape.Nodes),
            "--api-port", Number(ports.Api), "--nbd-port", Number(ports.Nbd), "--mesh-port", Number(ports.Mesh),
            "--remote-port", Number(ports.Remote), "--journal-port", Number(ports.Journal),
        ];
        if (shape.Nodes > 1)
        {
            var seeds = Enumerable.Range(0, shape.Nodes)
                .Select(peer => $"{shape.AddressOf(peer)}:{Number(new DevPorts(shape.PortOffset, peer).Journal)}");
            arguments.AddRange(["--seeds", string.Join(',', seeds)]);
        }
        var disks = Directory.EnumerateFileSystemEntries(file.DataOf(index), ClusterFile.DiskPattern)
            .Where(path => Directory.Exists(path) || FileDisk.IsDevice(path)).Order(StringComparer.Ordinal).ToArray();
        if (disks.Length > 0) arguments.AddRange(["--disks", string.Join(',', disks)]);
        if (File.Exists(file.SettingsPath))
        {
            CheckMemory(file.SettingsPath, shape);
            arguments.AddRange(["--config", file.SettingsPath]);
        }
        return NodeProcess.Start(shape.Hosts?.Enter(index) ?? [], arguments, file.LogOf(name));
    }

    /// <summary>A size is each node's own. Of the container's limit each would take three quarters.</summary>
    internal static void CheckMemory(string settings, DevShape shape)
    {
        // What else is wrong with them the node tells.
        var host = new Dictionary<string, string> { ["host"] = shape.AddressOf(0) };
        if (NodeSettings.Load(host, new Dictionary<string, string>(), settings).Options is not { MemoryLimitBytes: null } || shape.Nodes == 1) return;
        throw new DevException($"{settings} has myrmidon.memory-limit = auto, by which each of {shape.Nodes} nodes would take 75 % of this container's memory: give a size for each node, such as 512MiB, or off.",
            ExitCode.Usage);
    }

    public static DevNode Describe(ClusterFile file, DevShape shape, int index, int? pid)
    {
        var ports = new DevPorts(shape.PortOffset, index);
        var address = shape.AddressOf(index);
        return new DevNode(
            ClusterFile.NameOf(index), pid, $"http://{address}:{Number(ports.Api)}", $"nbd://{address}:{Number(ports.Nbd)}",
                file.DataOf(index));
    }

    /// <summary>
    /// Returns once the nodes are healthy and each sees as many up as `members` says; throws with the log's tail when one ends or
    /// time runs out.
    /// </summary>
    public static async Task WaitUntilHealthyAsync(ClusterFile file, IReadOnlyList<DevNode> nodes, int members,
        CancellationToken cancellation)
    {
        var waited = Stopwatch.StartNew();
        foreach (var node in nodes)
        {
            using var client = new ApiClient(new Uri(node.Api), TimeSpan.FromMilliseconds(LookMs));
            for (var reason = ""; ;)
            {
                // Whichever it is: the others are not healthy without it, and their logs don't say why.
                if (nodes.FirstOrDefault(other => !NodeProcess.IsAlive(other.Pid, other.Data)) is { } ended) throw Failed(file, ended, "has ended");
                if (await IsHealthyAsync(client, members, cancellation) is not { } why) break;
                reason = why;
                if (waited.ElapsedMilliseconds > HealthyMs) throw Failed(file, node,
                    $"is not healthy after {HealthyMs / 1000} s ({reason})");
                await Task.Delay(PollMs, cancellation);
            }
        }
    }

    /// <summary>
    /// Sends the signal; for one that ends a process, returns when it has ended, and takes its pid out of cluster.json.
    /// </summary>
    public static async Task<string> KillAsync(ClusterFile file, string name, int signal, CancellationToken cancellation)
    {
        var node = Find(file, name);
        if (!NodeProcess.IsAlive(node.Pid, node.Data) || !NodeProcess.Signal(node.Pid!.Value, signal))
        {
            throw new DevException($"{name} does not run: start it with `{Hint($"dev start {name}", file)}`.", ExitCode.Conflict);
        }
        if (!NodeProcess.EndsProcess(signal)) return $"{name} (pid {node.Pid}) got signal {signal}.";
        if (!await NodeProcess.WaitForEndAsync(node.Pid.Value, node.Data, StopMs, cancellation))
        {
            throw new DevException($"{name} (pid {node.Pid}) still runs {StopMs / 1000} s after signal {signal}: use --signal KILL.");
        }
        await file.SetPidAsync(name, null, cancellation);
        return $"{name} (pid {node.Pid}) is gone. Start it again with `{Hint($"dev start {name}", file)}`.";
    }

    /// <summary>
    /// Starts a stopped node again and waits until it is healthy. The supervisor, if one runs, stops it with the others.
    /// </summary>
    public static async Task<DevNode> StartAsync(ClusterFile file, string name, CancellationToken cancellation)
    {
        var node = Find(file, name);
        if (file.ReadShape() is not { } shape) throw new DevException(
            $"{file.Directory} has lost its dev.json: start a cluster in another directory.");
        if (NodeProcess.IsAlive(node.Pid, node.Data)) throw new DevException($"{name} runs already (pid {node.Pid}).", ExitCode.Conflict);
        var index = IndexOf(file, name);
        CheckPortsAreFree(shape, index);
        using var process = Spawn(file, shape, index);
        var started = node with { Pid = process.Id };
        await file.SetPidAsync(name, process.Id, cancellation);
        await WaitUntilHealthyAsync(file, [started], members: 1, cancellation);
        return started;
    }

    /// <summary>
    /// Stops every node of cluster.json, also those that others started, and removes the file. Answers the names of those that had
    /// to be killed.
    /// </summary>
    public static async Task<IReadOnlyList<string>> StopAllAsync(ClusterFile file)
    {
        if (file.ReadRunning() is not { } running) return [];
        var alive = running.Nodes.Where(node => NodeProcess.IsAlive(node.Pid, node.Data)).ToArray();
        foreach (var node in alive)
        {
            NodeProcess.Signal(node.Pid!.Value, NodeProcess.Term);
            // A stopped process sees the signal only when it goes on.
            NodeProcess.Signal(node.Pid.Value, NodeProcess.Continue);
        }
        var killed = new List<string>();
        foreach (var node in alive)
        {
            if (await NodeProcess.WaitForEndAsync(node.Pid!.Value, node.Data, StopMs, CancellationToken.None)) continue;
            NodeProcess.Signal(node.Pid.Value, NodeProcess.KillNow);
            await NodeProcess.WaitForEndAsync(node.Pid.Value, node.Data, StopMs, CancellationToken.None);
            killed.Add(node.Name);
        }
        if (file.ReadShape() is { Hosts: { } hosts } shape) await hosts.DownAsync(file, shape.Nodes);
        file.RemoveRunning();
        return killed;
    }

    /// <summary>A command of this program for the same directory, as the user would type it.</summary>
    public static string Hint(string verb, ClusterFile file) => $"myrmidon {verb} --data {file.Directory}";

    private static async Task<string?> IsHealthyAsync(ApiClient client, int members, CancellationToken cancellation)
    {
        var health = await client.GetAsync("/v1/health", cancellation);
        if (!health.IsOk) return health.Body is { } body ? Reasons(body) : health.Error;
        if (members <= 1) return null;
        var nodes = await client.GetAsync("/v1/nodes", cancellation);
        if (!nodes.IsOk) return nodes.Error;
        var up = nodes.As<NodeResource[]>().Count(node => node.State == "up");
        return up >= members ? null : $"it sees {up} of {members} nodes up";
    }

    private static string Reasons(JsonNode body)
    {
        var parts = body.Deserialize<HealthResource>(ApiClient.Json)?.Submodules ?? [];
        var ill = parts.Where(part => part.Status is "starting" or "unhealthy")
            .Select(part => $"{part.Name}: {part.Status} {part.Reason}".TrimEnd());
        return string.Join("; ", ill);
    }

    private static DevException Failed(ClusterFile file, DevNode node, string what) =>
        new($"{node.Name} {what}. The end of its log, {file.LogOf(node.Name)}:\n{NodeProcess.Tail(file.LogOf(node.Name), LogTailLines)}");

    private static DevNode Find(ClusterFile file, string name)
    {
        if (file.ReadRunning() is not { } running)
        {
            throw new DevException($"No local cluster runs in {file.Directory}: start one with `{Hint("dev", file)}`.", ExitCode.NotFound);
        }
        var names = string.Join(", ", running.Nodes.Select(node => node.Name));
        return running.Nodes.FirstOrDefault(node => node.Name == name)
            ?? throw new DevException($"There is no node \"{name}\" in {file.RunningPath}: it has {names}.", ExitCode.NotFound);
    }

    private static int IndexOf(ClusterFile file, string name) => file.ReadRunning()!.Nodes.Select((node, index) => (node, index))
        .First(found => found.node.Name == name).index;

    private static int? FindTakenPort(DevPorts ports)
    {
        foreach (var port in ports.All)
        {
            try
            {
                using var probe = new TcpListener(IPAddress.Loopback, port);
                probe.Start();
            }
            catch (SocketException)
            {
                return port;
            }
        }
        return null;
    }

    private static string Number(int value) => value.ToString(CultureInfo.InvariantCulture);
}
