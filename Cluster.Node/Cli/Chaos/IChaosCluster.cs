using System.Globalization;

namespace Cluster.Node.Cli.Chaos;

/// <summary>A node as its clients see it.</summary>
internal sealed record ChaosNode(string Name, Uri Api, Uri Nbd);

/// <summary>The nodes that chaos strikes. Signals of a node that does not run are ignored. Any thread.</summary>
internal interface IChaosCluster
{
    IReadOnlyList<ChaosNode> Nodes { get; }

    /// <summary>Sends the signal; for one that ends a process, returns when it has ended.</summary>
    Task SignalAsync(string node, int signal, CancellationToken cancellation);

    /// <summary>Starts a node that does not run and returns when it is healthy. Throws <see cref="Dev.DevException"/>.</summary>
    Task StartAsync(string node, CancellationToken cancellation);

    /// <summary>The process's id, or null when it does not run.</summary>
    int? PidOf(string node);

    string LogOf(string node);

    /// <summary>The nodes' machines; null when they share one.</summary>
    IChaosHosts? Hosts { get; }
}

/// <summary>Faults of a network and of disks. Clients reach every node throughout. Throws <see cref="Dev.DevException"/>.</summary>
internal interface IChaosHosts
{
    /// <summary>From now on the node gets nothing from those nodes.</summary>
    Task DropAsync(string node, IEnumerable<string> from);

    /// <summary>The node gets everything again.</summary>
    Task HealAsync(string node);

    /// <summary>Takes all that is free of the node's disk.</summary>
    Task FillDiskAsync(string node);

    /// <summary>Gives it back.</summary>
    Task FreeDiskAsync(string node);
}

/// <summary>What /proc tells about a process.</summary>
internal static class ProcessMemory
{
    /// <summary>Resident bytes, or null when there is no such process.</summary>
    public static long? ResidentBytes(int? pid)
    {
        if (pid is not { } number) return null;
        try
        {
            foreach (var line in File.ReadLines($"/proc/{number.ToString(CultureInfo.InvariantCulture)}/status"))
            {
                if (!line.StartsWith("VmRSS:", StringComparison.Ordinal)) continue;
                return long.Parse(line.AsSpan(6).Trim().TrimEnd("kB ").ToString(), CultureInfo.InvariantCulture) * 1024;
            }
        }
        catch (IOException)
        {
            // It has ended.
        }
        return null;
    }
}
