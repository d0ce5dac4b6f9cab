using System.Diagnostics;
using Cluster.Node.Api;
using Cluster.Node.Cli;
using Cluster.Node.Cli.Dev;

namespace Cluster.Tests.Integration.EndToEnd;

/// <summary>
/// Real node processes of the built program, on ports and in a directory of their own. Made by <see cref="StartAsync"/>; disposing it
/// stops them and deletes the directory.
/// </summary>
internal sealed class LocalCluster : IAsyncDisposable
{
    /// <summary>Above the ports that people use by hand, below the ephemeral ones.</summary>
    private const int OffsetFirst = 6000;

    private const int OffsetStep = 100;
    private const int PollMs = 50;

    /// <summary>Tests that break the owner's node, or another one, know which that is for as long as they run.</summary>
    private const string OwnersStay = "myrmidon.locality-settle = 1h";
    private static readonly TimeSpan WaitMax = TimeSpan.FromSeconds(90);

    private readonly DevCluster _cluster;
    private readonly bool _ownsDirectory;

    private LocalCluster(DevCluster cluster, bool ownsDirectory) => (_cluster, _ownsDirectory) = (cluster, ownsDirectory);

    public ClusterFile File => _cluster.File;

    public IReadOnlyList<DevNode> Nodes => _cluster.Nodes;

    public string Directory => _cluster.File.Directory;

    /// <param name="settings">Of all nodes, as in hocon/myrmidon.conf, beside <see cref="OwnersStay"/>.</param>
    /// <param name="disks">Further disks of each node: directories disk-1 and so on in its own.</param>
    public static async Task<LocalCluster> StartAsync(int nodes = 3, string settings = "", int disks = 0)
    {
        var directory = System.IO.Directory.CreateTempSubdirectory("myrmidon-test-").FullName;
        for (var node = 0; node < nodes; node++)
        {
            for (var disk = 1; disk <= disks; disk++) System.IO.Directory.CreateDirectory(Path.Combine(new ClusterFile(directory).DataOf(node), $"disk-{disk}"));
        }
        var all = settings.Contains("locality-settle", StringComparison.Ordinal) ? settings : $"{OwnersStay}\n{settings}";
        await System.IO.File.WriteAllTextAsync(new ClusterFile(directory).SettingsPath, all);
        return new LocalCluster(await DevCluster.StartAsync(directory, nodes, FreeOffset(nodes), CancellationToken.None),
            ownsDirectory: true);
    }

    /// <summary>A port offset at which that many nodes find their ports free.</summary>
    public static int FreeOffset(int nodes)
    {
        // Tests of several processes start at different places, so that they seldom meet.
        var start = OffsetFirst + (Environment.ProcessId % 50 * OffsetStep);
        return Enumerable.Range(0, 100).Select(step => start + (step * OffsetStep))
            .First(offset => Enumerable.Range(0, nodes).All(index => DevOperations.ArePortsFree(new DevPorts(offset, index))));
    }

    public DevNode Node(string name) => Nodes.Single(node => node.Name == name);

    /// <summary>A node that is none of these.</summary>
    public DevNode Other(params string[] names) => Nodes.First(node => node.Pid is not null && !names.Contains(node.Name));

    public async Task<VolumeResource> CreateVolumeAsync(string name, ulong sizeBytes, int replicas = 3)
    {
        using var api = new ApiClient(new Uri(Nodes[0].Api));
        var answer = await api.PostAsync("/v1/volumes",
            new CreateVolumeRequest { Name = name, SizeBytes = sizeBytes, Replicas = replicas }, default);
        Assert.True(answer.IsOk, answer.Error);
        return answer.As<VolumeResource>();
    }

    public Task KillAsync(string name, int signal = NodeProcess.KillNow) =>
        DevOperations.KillAsync(File, name, signal, CancellationToken.None);

    public Task StartNodeAsync(string name) => DevOperations.StartAsync(File, name, CancellationToken.None);

    /// <summary>The volume as that node tells it.</summary>
    public static async Task<VolumeResource?> GetVolumeAsync(DevNode node, string name)
    {
        using var api = new ApiClient(new Uri(node.Api));
        var answer = await api.GetAsync($"/v1/volumes/{name}", default);
        return answer.IsOk ? answer.As<VolumeResource>() : null;
    }

    public static async Task<StatusResource> GetStatusAsync(DevNode node)
    {
        using var api = new ApiClient(new Uri(node.Api));
        var answer = await api.GetAsync("/v1/status", default);
        Assert.True(answer.IsOk, answer.Error);
        return answer.As<StatusResource>();
    }

    /// <summary>Looks at the volume until it is as wanted; fails the test with the last look after a while.</summary>
    public static async Task<VolumeResource> WaitForVolumeAsync(DevNode node, string name, string what, Func<VolumeResource, bool> wanted)
    {
        VolumeResource? last = null;
        for (var waited = Stopwatch.StartNew(); waited.Elapsed < WaitMax;)
        {
            last = await GetVolumeAsync(node, name);
            if (last is not null && wanted(last)) return last;
            await Task.Delay(PollMs);
        }
        var copies = string.Join(", ", last?.Replicas.Select(replica => $"{replica.Node}: {replica.State}") ?? []);
        throw new Xunit.Sdk.XunitException(
            $"{name} is not {what} after {WaitMax.TotalSeconds} s: {last?.State} {last?.Reason}, owner {last?.Owner}, {copies}");
    }

    /// <summary>Looks until it is as wanted; fails the test with the last look after a while.</summary>
    public static async Task<T> WaitForAsync<T>(Func<Task<T>> look, Func<T, bool> wanted, string otherwise)
    {
        for (var waited = Stopwatch.StartNew(); ;)
        {
            var last = await look();
            if (wanted(last)) return last;
            if (waited.Elapsed > WaitMax) throw new Xunit.Sdk.XunitException($"{otherwise} within {WaitMax.TotalSeconds} s: {last}");
            await Task.Delay(PollMs);
        }
    }

    public static Task<VolumeResource> WaitUntilInSyncAsync(DevNode node, string name) =>
        WaitForVolumeAsync(node, name, "in sync", volume => volume.Owner is not null
            && volume.Replicas.All(replica => replica.State == "in-sync"));

    /// <summary>Until placement, asked at that node, can put copies on the other: a node that was started is healthy a moment before.</summary>
    public static Task<string?> WaitUntilUpAsync(DevNode at, string name) => WaitForAsync(() => StateOfAsync(at, name), state => state == "up", $"{name} is not up for {at.Name}");

    /// <summary>How placement, asked at that node, sees the other.</summary>
    public static async Task<string?> StateOfAsync(DevNode at, string name)
    {
        using var api = new ApiClient(new Uri(at.Api));
        var answer = await api.GetAsync("/v1/nodes", default);
        return answer.IsOk ? answer.As<NodeResource[]>().Single(node => node.Name == name).State : null;
    }

    /// <summary>The end of every node's log, for a test that failed.</summary>
    public string Logs() => string.Join('\n', Nodes.Select(node => $"{node.Name}\n{NodeProcess.Tail(File.LogOf(node.Name), 40)}"));

    /// <summary>All that the nodes have logged so far.</summary>
    public string FullLogs()
    {
        var text = new System.Text.StringBuilder();
        foreach (var node in Nodes)
        {
            using var log = new FileStream(File.LogOf(node.Name), FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
            using var reader = new StreamReader(log);
            text.AppendLine(reader.ReadToEnd());
        }
        return text.ToString();
    }

    public async ValueTask DisposeAsync()
    {
        await _cluster.DisposeAsync();
        if (_ownsDirectory) System.IO.Directory.Delete(Directory, recursive: true);
    }
}

/// <summary>A cluster that the tests of one class share.</summary>
public sealed class LocalClusterFixture : IAsyncLifetime
{
    internal LocalCluster Cluster { get; private set; } = null!;

    public async Task InitializeAsync() => Cluster = await LocalCluster.StartAsync();

    public async Task DisposeAsync() => await Cluster.DisposeAsync();
}

/// <summary>Tests with real clusters take both cores: one class at a time.</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class EndToEnd
{
    public const string Name = "end to end";
}
