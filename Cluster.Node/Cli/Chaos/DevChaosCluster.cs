using Cluster.Node.Cli.Dev;

namespace Cluster.Node.Cli.Chaos;

/// <summary>The nodes of a `myrmidon dev` cluster, by its directory.</summary>
internal sealed class DevChaosCluster : IChaosCluster
{
    private readonly ClusterFile _file;

    /// <summary>Throws <see cref="DevException"/> when no cluster runs there.</summary>
    public DevChaosCluster(ClusterFile file)
    {
        _file = file;
        if (file.ReadRunning() is not { } running) throw new DevException(
            $"No local cluster runs in {file.Directory}: start one with `{DevOperations.Hint("dev", file)}`, or leave out --data.",
            ExitCode.NotFound);
        Nodes = [.. running.Nodes.Select(node => new ChaosNode(node.Name, new Uri(node.Api), new Uri(node.Nbd)))];
        Hosts = file.ReadShape()?.Hosts is { } hosts ? new DevChaosHosts(file, hosts, [.. Nodes.Select(node => node.Name)]) : null;
    }

    public IReadOnlyList<ChaosNode> Nodes { get; }

    public IChaosHosts? Hosts { get; }

    public async Task SignalAsync(string node, int signal, CancellationToken cancellation)
    {
        if (PidOf(node) is null) return;
        try
        {
            await DevOperations.KillAsync(_file, node, signal, cancellation);
        }
        catch (DevException failure) when (failure.Code == ExitCode.Conflict)
        {
            // It has ended by itself since.
        }
    }

    public Task StartAsync(string node, CancellationToken cancellation) => DevOperations.StartAsync(_file, node, cancellation);

    public int? PidOf(string node)
    {
        var found = _file.ReadRunning()?.Nodes.FirstOrDefault(known => known.Name == node);
        return found is not null && NodeProcess.IsAlive(found.Pid, found.Data) ? found.Pid : null;
    }

    public string LogOf(string node) => _file.LogOf(node);
}
