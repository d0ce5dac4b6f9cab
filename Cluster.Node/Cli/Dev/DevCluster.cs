using System.Diagnostics;

namespace Cluster.Node.Cli.Dev;

/// <summary>
/// The supervisor of a local cluster: one process per node. It starts them, says when one has ended (and leaves it so: killing
/// nodes is what local clusters are
/// for), and stops them all.
/// </summary>
internal sealed class DevCluster : IAsyncDisposable
{
    private const int WatchMs = 200;

    private readonly FileStream _supervisor;
    private readonly List<Process> _processes = [];
    private readonly HashSet<int> _told = [];
    private bool _stopped;

    private DevCluster(ClusterFile file, DevShape shape, FileStream supervisor) => (File, Shape, _supervisor) = (file, shape, supervisor);

    public ClusterFile File { get; }

    public DevShape Shape { get; }

    public IReadOnlyList<DevNode> Nodes => File.ReadRunning()?.Nodes ?? [];

    /// <summary>
    /// Starts the cluster of that directory, or makes one. Null takes what the directory has, else 3 nodes and the documented
    /// ports. Returns once every node is
    /// healthy and sees all others, with cluster.json written; throws <see cref="DevException"/> with nothing left running.
    /// A disk's size makes each node of a new cluster a machine of its own.
    /// </summary>
    public static async Task<DevCluster> StartAsync(
        string directory, int? nodes, int? portOffset, CancellationToken cancellation, ulong? diskBytes = null)
    {
        var file = new ClusterFile(directory);
        try
        {
            Directory.CreateDirectory(file.Directory);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new DevException(
                $"The directory {file.Directory} can't be made ({e.Message}): name one that you may write to with --data.");
        }
        var shape = ShapeOf(file, nodes, portOffset, diskBytes);
        var cluster = new DevCluster(file, shape, BecomeSupervisor(file));
        try
        {
            await cluster.StartNodesAsync(cancellation);
            return cluster;
        }
        catch
        {
            await cluster.DisposeAsync();
            throw;
        }
    }

    /// <summary>
    /// Returns when it is cancelled, or when `dev stop` has removed cluster.json. Says on `output` which nodes have ended.
    /// </summary>
    public async Task WatchAsync(TextWriter output, CancellationToken cancellation)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(WatchMs));
        try
        {
            while (await timer.WaitForNextTickAsync(cancellation) && System.IO.File.Exists(File.RunningPath))
            {
                foreach (var ended in _processes.Where(process => process.HasExited).ToArray())
                {
                    var name = ClusterFile.NameOf(_processes.IndexOf(ended));
                    if (!_told.Add(ended.Id)) continue;
                    output.WriteLine($"{name} (pid {ended.Id}) has ended with code {ended.ExitCode}; start it again with "
                        + $"`{DevOperations.Hint($"dev start {name}", File)}`.");
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The way a supervisor is told to stop.
        }
    }

    /// <summary>Stops every node and waits for its end. Answers those that had to be killed.</summary>
    public async Task<IReadOnlyList<string>> StopAsync()
    {
        if (_stopped) return [];
        _stopped = true;
        // Before cluster.json is there, the nodes are known to this process alone.
        if (File.ReadRunning() is null) File.WriteRunning(new DevNodes(Describe()));
        var killed = await DevOperations.StopAllAsync(File);
        foreach (var process in _processes)
        {
            await process.WaitForExitAsync();
            process.Dispose();
        }
        return killed;
    }

    /// <summary>Leaves the nodes running, without a supervisor: `dev stop` stops them.</summary>
    public void Abandon()
    {
        _stopped = true;
        foreach (var process in _processes) process.Dispose();
        _supervisor.Dispose();
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        await _supervisor.DisposeAsync();
    }

    private async Task StartNodesAsync(CancellationToken cancellation)
    {
        for (var index = 0; index < Shape.Nodes; index++) DevOperations.CheckPortsAreFree(Shape, index);
        File.WriteShape(Shape);
        if (Shape.Hosts is { } hosts) await hosts.UpAsync(File, Shape.Nodes);
        for (var index = 0; index < Shape.Nodes; index++) _processes.Add(DevOperations.Spawn(File, Shape, index));
        var nodes = Describe();
        await DevOperations.WaitUntilHealthyAsync(File, nodes, Shape.Nodes, cancellation);
        File.WriteRunning(new DevNodes(nodes));
    }

    private List<DevNode> Describe() => [.. _processes.Select((process, index) => DevOperations.Describe(File, Shape, index, process.Id))];

    /// <summary>At most one per directory; a lock of the file that ends with the process.</summary>
    private static FileStream BecomeSupervisor(ClusterFile file)
    {
        FileStream held;
        try
        {
            held = new FileStream(Path.Combine(file.Directory, "dev.lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException)
        {
            throw new DevException($"A cluster runs in {file.Directory} already: "
                + $"stop it with `{DevOperations.Hint("dev stop", file)}`, or name another --data.", ExitCode.Conflict);
        }
        var orphan = file.ReadRunning()?.Nodes.FirstOrDefault(node => NodeProcess.IsAlive(node.Pid, node.Data));
        if (orphan is not null)
        {
            held.Dispose();
            throw new DevException($"{orphan.Name} (pid {orphan.Pid}) of {file.Directory} still runs, without a supervisor: "
                + $"stop it with `{DevOperations.Hint("dev stop", file)}`.", ExitCode.Conflict);
        }
        file.RemoveRunning();
        return held;
    }

    private static DevShape ShapeOf(ClusterFile file, int? nodes, int? portOffset, ulong? diskBytes)
    {
        if (file.ReadShape() is not { } shape)
        {
            return new DevShape(nodes ?? 3, portOffset ?? 0, diskBytes is { } bytes ? DevHosts.Choose(bytes) : null);
        }
        if (diskBytes is not null && shape.Hosts is null)
        {
            throw new DevException($"{file.Directory} holds a cluster without namespaces: leave out --namespaces, or name another --data.",
                ExitCode.Conflict);
        }
        if (nodes is { } wanted && wanted != shape.Nodes)
        {
            throw new DevException(
                $"{file.Directory} holds a cluster of {shape.Nodes} nodes, not {wanted}: leave out --nodes, or name another --data.",
                    ExitCode.Conflict);
        }
        if (portOffset is { } offset && offset != shape.PortOffset)
        {
            throw new DevException(
                $"{file.Directory} holds a cluster with the port offset {shape.PortOffset}, not {offset}: leave out --port-offset, "
                + "or name another --data.", ExitCode.Conflict);
        }
        return shape;
    }
}
