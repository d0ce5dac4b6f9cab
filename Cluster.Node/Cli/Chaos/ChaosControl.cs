using System.Diagnostics;
using Cluster.Node.Api;
using Cluster.Node.Cli.Dev;

namespace Cluster.Node.Cli.Chaos;

/// <summary>The REST API of whichever node answers. Any thread.</summary>
internal sealed class ChaosControl(IReadOnlyList<ChaosNode> nodes) : IDisposable
{
    private const int PollMs = 200;
    private static readonly TimeSpan LookMax = TimeSpan.FromSeconds(4);
    private static readonly TimeSpan WorkMax = TimeSpan.FromSeconds(60);

    private readonly ApiClient[] _looks = [.. nodes.Select(node => new ApiClient(node.Api, LookMax))];

    public void Dispose()
    {
        foreach (var client in _looks) client.Dispose();
    }

    /// <summary>Null while no node can tell.</summary>
    public Task<VolumeResource?> VolumeAsync(string name, CancellationToken cancellation) =>
        LookAsync<VolumeResource>($"/v1/volumes/{name}", cancellation);

    /// <summary>Null while no node can tell.</summary>
    public Task<StatusResource?> StatusAsync(CancellationToken cancellation) => LookAsync<StatusResource>("/v1/status", cancellation);

    public async Task CreateAsync(CreateVolumeRequest volume, CancellationToken cancellation)
    {
        using var client = new ApiClient(nodes[0].Api, WorkMax);
        var answer = await client.PostAsync("/v1/volumes", volume, cancellation);
        if (!answer.IsOk) throw new DevException(answer.Error, answer.ExitCode);
    }

    public async Task<string?> DeleteAsync(string name, CancellationToken cancellation)
    {
        using var client = new ApiClient(nodes[0].Api, WorkMax);
        var answer = await client.SendAsync(HttpMethod.Delete, $"/v1/volumes/{name}", null, null, cancellation);
        return answer.IsOk ? null : answer.Error;
    }

    /// <summary>Asks for the move; the sentence of the refusal, or null.</summary>
    public async Task<string?> MoveAsync(string name, string node, CancellationToken cancellation)
    {
        var refusal = "no node answers";
        foreach (var client in _looks)
        {
            var answer = await client.PostAsync($"/v1/volumes/{name}/move", new NodeRequest { Node = node }, cancellation);
            if (answer.IsOk) return null;
            refusal = answer.Error;
            if (answer.ExitCode != ExitCode.Unreachable) break;
        }
        return refusal;
    }

    /// <summary>Looks until the volume is as wanted; the last look, with whether it was.</summary>
    public async Task<(bool Good, VolumeResource? Last)> WaitForAsync(
        string name, Func<VolumeResource, bool> wanted, TimeSpan limit, CancellationToken cancellation)
    {
        for (var waited = Stopwatch.StartNew(); ;)
        {
            var last = await VolumeAsync(name, cancellation);
            if (last is not null && wanted(last)) return (true, last);
            if (waited.Elapsed > limit) return (false, last);
            await Task.Delay(PollMs, cancellation);
        }
    }

    public static bool IsWhole(VolumeResource volume) =>
        volume.State == "healthy" && volume.Owner is not null && volume.Replicas.All(replica => replica.State == "in-sync");

    public static string Text(VolumeResource? volume) => volume is null ? "no node tells its state"
        : $"{volume.State} {volume.Reason}".TrimEnd() + $", owner {volume.Owner ?? "none"} (epoch {volume.Epoch}), "
            + string.Join(", ", volume.Replicas.Select(replica => $"{replica.Node} {replica.State}"));

    private async Task<T?> LookAsync<T>(string path, CancellationToken cancellation)
        where T : class
    {
        // All at once: a stopped node would cost the whole time limit.
        var open = _looks.Select(client => client.GetAsync(path, cancellation)).ToList();
        T? found = null;
        while (open.Count > 0 && found is null)
        {
            var next = await Task.WhenAny(open);
            open.Remove(next);
            var answer = await next;
            if (answer.IsOk) found = answer.As<T>();
        }
        return found;
    }
}
