using System.Collections.Concurrent;
using Cluster.Node.Api;

namespace Cluster.Node.Hosting.Volumes;

/// <summary>What waited for the limits of the volumes that this node owns, for Prometheus, by volume: only volumes that had to wait have a series. Any thread.</summary>
public sealed class LimitMetrics(Metrics metrics)
{
    /// <summary>Volumes told apart; those beyond are counted together as "(others)".</summary>
    private const int VolumesMax = 1024;

    private const string Others = "(others)";

    private readonly ConcurrentDictionary<string, (Counter Ios, Counter Ms)> _volumes = new(StringComparer.Ordinal);

    public void Count(string volume, ulong ios, ulong waitedMs)
    {
        var name = _volumes.Count < VolumesMax || _volumes.ContainsKey(volume) ? volume : Others;
        var (counter, waited) = _volumes.GetOrAdd(name, Counters);
        counter.Add((long)ios);
        waited.Add((long)waitedMs);
    }

    private (Counter Ios, Counter Ms) Counters(string volume) => (
        metrics.AddCounter("myrmidon_throttled_ios_total", "Requests that waited at this node, the owner, for the limits of their volume.", ("volume", volume)),
        metrics.AddCounter("myrmidon_throttled_milliseconds_total", "Milliseconds for which they waited, all together.", ("volume", volume)));
}
