using System.Diagnostics;
using Cluster.Node.Api;

namespace Cluster.Node.Cli.Bench;

/// <summary>The cluster as the bench needs it: its nodes, their metrics, and the volume.</summary>
internal sealed class BenchCluster(ApiClient client) : IDisposable
{
    private const int PollMs = 200;
    private const int DeleteTriesMax = 10;
    private static readonly TimeSpan HealthyMax = TimeSpan.FromSeconds(60);

    private readonly HttpClient _http = new() { Timeout = TimeSpan.FromSeconds(ApiClient.TimeoutSeconds) };
    private IReadOnlyList<NodeResource> _nodes = [];

    /// <summary>Those that are up.</summary>
    public IReadOnlyList<NodeResource> Nodes => _nodes;

    public void Dispose() => _http.Dispose();

    /// <summary>The node whose NBD port the bench uses.</summary>
    public async Task<NodeResource> FindAsync(string? name, CancellationToken cancellation)
    {
        _nodes = [.. (await AskAsync<NodeResource[]>("/v1/nodes", cancellation)).Where(node => node.State == "up" && node.Api is not null)];
        if (name is null) return _nodes.FirstOrDefault(node => node.Nbd is not null) ?? throw new BenchException("No node of the cluster is up.", ExitCode.Unreachable);
        return _nodes.FirstOrDefault(node => node.Name == name && node.Nbd is not null)
            ?? throw new BenchException($"There is no node '{name}' that is up: use one of {string.Join(", ", _nodes.Select(node => node.Name))}.", ExitCode.NotFound);
    }

    public Task<VolumeResource> VolumeAsync(VolumeName volume, CancellationToken cancellation) => AskAsync<VolumeResource>(VolumeCommands.PathOf(volume), cancellation);

    /// <summary>The node that serves the volume: looks until there is one, which a move from one to the next may keep from being for a moment.</summary>
    public async Task<string> OwnerAsync(VolumeName volume, CancellationToken cancellation)
    {
        for (var waited = Stopwatch.StartNew(); ;)
        {
            var last = await VolumeAsync(volume, cancellation);
            if (last.Owner is { } owner) return owner;
            if (waited.Elapsed > HealthyMax) throw new BenchException($"The volume {volume} is {last.State} after {HealthyMax.TotalSeconds:0} s ({last.Reason}): no node serves it.", ExitCode.Conflict);
            await Task.Delay(PollMs, cancellation);
        }
    }

    /// <summary>Waits for the answer also after Ctrl-C, so that a volume that is made after all is there to be deleted.</summary>
    public async Task CreateAsync(VolumeName volume, ulong sizeBytes, int? replicas, CancellationToken cancellation)
    {
        var body = new CreateVolumeRequest { Name = volume.Name, Namespace = volume.Namespace, SizeBytes = sizeBytes, Replicas = replicas };
        var answer = await client.PostAsync("/v1/volumes", body, CancellationToken.None);
        cancellation.ThrowIfCancellationRequested();
        if (!answer.IsOk) throw new BenchException(answer.Error, answer.ExitCode);
    }

    /// <summary>Looks until the volume has an owner and all copies are in sync.</summary>
    public async Task<VolumeResource> WholeAsync(VolumeName volume, CancellationToken cancellation)
    {
        for (var waited = Stopwatch.StartNew(); ;)
        {
            var last = await VolumeAsync(volume, cancellation);
            if (last.State == "healthy" && last.Owner is not null && last.Replicas.All(replica => replica.State == "in-sync")) return last;
            if (waited.Elapsed > HealthyMax)
                throw new BenchException($"The volume {volume} is {last.State} after {HealthyMax.TotalSeconds:0} s ({last.Reason}): a bench of it would measure that.", ExitCode.Conflict);
            await Task.Delay(PollMs, cancellation);
        }
    }

    /// <summary>Also after Ctrl-C. Null, or why it is still there.</summary>
    public async Task<string?> DeleteAsync(VolumeName volume)
    {
        var error = "";
        for (var tries = 0; tries < DeleteTriesMax; tries++)
        {
            var answer = await client.SendAsync(HttpMethod.Delete, VolumeCommands.PathOf(volume, query: "force=true"), null, null, CancellationToken.None);
            if (answer.IsOk || answer.ExitCode == ExitCode.NotFound) return null;
            error = answer.Error;
            await Task.Delay(PollMs, CancellationToken.None);
        }
        return error;
    }

    /// <summary>Of all nodes, asked at one time.</summary>
    public async Task<IReadOnlyDictionary<string, MetricsPage>> MetricsAsync(CancellationToken cancellation)
    {
        var pages = await Task.WhenAll(_nodes.Select(async node => (node.Name, Page: await MetricsAsync(node, cancellation))));
        return pages.ToDictionary(page => page.Name, page => page.Page);
    }

    private async Task<MetricsPage> MetricsAsync(NodeResource node, CancellationToken cancellation)
    {
        MetricsPage page;
        try
        {
            page = MetricsPage.Parse(await _http.GetStringAsync(new Uri(new Uri(node.Api!), "/metrics"), cancellation));
        }
        catch (HttpRequestException failure)
        {
            throw new BenchException($"The metrics of node {node.Name} at {node.Api} can't be read: {failure.Message}", ExitCode.Unreachable);
        }
        return page.Has("myrmidon_loop_busy_seconds_total") ? page
            : throw new BenchException($"Node {node.Name} at {node.Api} tells nothing of its stages: it runs version {node.Version}, which is older than this program.", ExitCode.Failure);
    }

    private async Task<T> AskAsync<T>(string path, CancellationToken cancellation)
    {
        var answer = await client.GetAsync(path, cancellation);
        return answer.IsOk ? answer.As<T>() : throw new BenchException(answer.Error, answer.ExitCode);
    }
}
