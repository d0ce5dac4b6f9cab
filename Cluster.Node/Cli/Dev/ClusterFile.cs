using System.Text.Json;
using System.Text.Json.Serialization;

namespace Cluster.Node.Cli.Dev;

/// <summary>One node of a local cluster, as cluster.json names it. The pid is null while the node is stopped.</summary>
internal sealed record DevNode(string Name, int? Pid, string Api, string Nbd, string Data);

/// <summary>What cluster.json holds. Its shape is public: tests and scripts read it.</summary>
internal sealed record DevNodes(IReadOnlyList<DevNode> Nodes);

/// <summary>How the cluster in a directory was made, so that it is started again the same way.</summary>
/// <param name="Hosts">Null when the nodes share the machine's addresses and disks.</param>
internal sealed record DevShape(int Nodes, int PortOffset, DevHosts? Hosts = null)
{
    public string AddressOf(int index) => Hosts?.AddressOf(index) ?? "127.0.0.1";
}

/// <summary>
/// The files of a local cluster: DIR/cluster.json while it runs, and DIR/dev.json for good. Each is written whole and renamed into
/// place, so that a reader
/// sees the old one or the new one. Changes of one process exclude those of another.
/// </summary>
internal sealed class ClusterFile(string directory)
{
    /// <summary>How long a change waits for another process's, in milliseconds.</summary>
    private const int LockMs = 10_000;

    private const int LockRetryMs = 20;

    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web)
    {
        WriteIndented = true,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Skip,
    };

    public string Directory { get; } = Path.GetFullPath(directory);

    public string RunningPath => Path.Combine(Directory, "cluster.json");

    /// <summary>Settings of all nodes, if somebody put them there; what makes the nodes a cluster is given by flags and wins.</summary>
    public string SettingsPath => Path.Combine(Directory, "node.conf");

    private string ShapePath => Path.Combine(Directory, "dev.json");

    public static string NameOf(int index) => $"node-{index}";

    /// <summary>Directories of this name in a node's directory, and links to block devices, are further disks of its store.</summary>
    public const string DiskPattern = "disk-*";

    public string DataOf(int index) => Path.Combine(Directory, NameOf(index));

    public string LogOf(string name) => Path.Combine(Directory, name + ".log");

    /// <summary>Null when no cluster runs here.</summary>
    public DevNodes? ReadRunning() => Read<DevNodes>(RunningPath);

    /// <summary>Null when none was ever made here.</summary>
    public DevShape? ReadShape() => Read<DevShape>(ShapePath);

    public void WriteShape(DevShape shape) => Write(ShapePath, shape);

    public void WriteRunning(DevNodes nodes) => Write(RunningPath, nodes);

    public void RemoveRunning() => File.Delete(RunningPath);

    /// <summary>Changes one node's pid.</summary>
    public async Task SetPidAsync(string name, int? pid, CancellationToken cancellation)
    {
        await using var held = await LockAsync(cancellation);
        if (ReadRunning() is not { } running) return;
        WriteRunning(new DevNodes([.. running.Nodes.Select(node => node.Name == name ? node with { Pid = pid } : node)]));
    }

    /// <summary>Held until it is disposed, or until the process ends.</summary>
    public async Task<FileStream> LockAsync(CancellationToken cancellation)
    {
        var path = Path.Combine(Directory, "cluster.lock");
        for (var waitedMs = 0; ; waitedMs += LockRetryMs)
        {
            try
            {
                return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException) when (waitedMs < LockMs)
            {
                await Task.Delay(LockRetryMs, cancellation);
            }
        }
    }

    private static T? Read<T>(string path)
        where T : class
    {
        try
        {
            return JsonSerializer.Deserialize<T>(File.ReadAllText(path), Json);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
        catch (JsonException e)
        {
            throw new DevException($"{path} is not what `myrmidon dev` writes ({e.Message}): restore it, or use another directory.");
        }
    }

    private static void Write<T>(string path, T value)
    {
        var fresh = path + ".new";
        File.WriteAllText(fresh, JsonSerializer.Serialize(value, Json) + "\n");
        File.Move(fresh, path, overwrite: true);
    }
}

/// <summary>A local cluster can't do what was asked; the message is one sentence for the user.</summary>
internal sealed class DevException(string message, int exitCode = ExitCode.Failure) : Exception(message)
{
    public int Code => exitCode;
}
