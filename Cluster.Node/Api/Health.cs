using System.Collections.Concurrent;

namespace Cluster.Node.Api;

/// <summary>How one part of a node is.</summary>
public enum HealthState
{
    /// <summary>Works.</summary>
    Healthy,
    /// <summary>Comes up; not ready yet.</summary>
    Starting,
    /// <summary>Works with less than it should have; the node stays ready.</summary>
    Degraded,
    /// <summary>Does not work; the node is not ready.</summary>
    Unhealthy,
}

/// <summary>One part's health. Times are UTC: updatedAt is the last report, changedAt the last one that said something else.</summary>
public sealed record SubmoduleHealth(string Name, string Status, string Reason, DateTimeOffset UpdatedAt, DateTimeOffset ChangedAt);

/// <summary>A node's health: the worst of its parts.</summary>
public sealed record HealthResource(string Node, string Status, IReadOnlyList<SubmoduleHealth> Submodules);

/// <summary>
/// Each part of a node reports here under its own name, at every change and as often as it likes. Any thread. A part that has something
/// to look up when asked adds a probe instead.
/// </summary>
public sealed class Health(TimeProvider time)
{
    private readonly ConcurrentDictionary<string, Entry> _parts = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, Func<(HealthState State, string Reason)>> _probes = new(StringComparer.Ordinal);

    private sealed record Entry(HealthState State, string Reason, DateTimeOffset UpdatedAt, DateTimeOffset ChangedAt);

    /// <summary>The reason is one sentence; empty when healthy.</summary>
    public void Report(string part, HealthState state, string reason = "")
    {
        var now = time.GetUtcNow();
        _parts.AddOrUpdate(
            part,
            _ => new Entry(state, reason, now, now),
            (_, last) => new Entry(state, reason, now, last.State == state && last.Reason == reason ? last.ChangedAt : now));
    }

    /// <summary>The probe is run at each look; it must be quick, and may be called by any thread.</summary>
    public void AddProbe(string part, Func<(HealthState State, string Reason)> probe) => _probes[part] = probe;

    /// <summary>One part's state now; unhealthy, if nobody has ever told of it.</summary>
    public HealthState StateOf(string part)
    {
        if (_probes.TryGetValue(part, out var probe)) return probe().State;
        return _parts.TryGetValue(part, out var entry) ? entry.State : HealthState.Unhealthy;
    }

    /// <summary>The node's health now; parts sorted by name.</summary>
    public HealthResource Look(string node)
    {
        foreach (var (part, probe) in _probes)
        {
            var (state, reason) = probe();
            Report(part, state, reason);
        }
        var parts = _parts.OrderBy(part => part.Key, StringComparer.Ordinal).ToArray();
        var worst = parts.Length == 0 ? HealthState.Starting : parts.Max(part => part.Value.State);
        return new HealthResource(node, Text(worst), [.. parts.Select(part => new SubmoduleHealth(
            part.Key, Text(part.Value.State), part.Value.Reason, part.Value.UpdatedAt, part.Value.ChangedAt))]);
    }

    /// <summary>Whether clients may be sent to this node.</summary>
    public static bool IsReady(HealthResource health) => health.Status is "healthy" or "degraded";

    private static string Text(HealthState state) => state switch
    {
        HealthState.Healthy => "healthy",
        HealthState.Starting => "starting",
        HealthState.Degraded => "degraded",
        _ => "unhealthy",
    };
}
