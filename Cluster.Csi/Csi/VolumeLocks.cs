using System.Collections.Concurrent;

namespace Cluster.Csi.Csi;

/// <summary>
/// What calls are under way for. The orchestrator makes one call per volume at a time; one that lost its state may not, and is told ABORTED rather than
/// served in some order. Bounded; any thread.
/// </summary>
internal sealed class VolumeLocks
{
    private readonly ConcurrentDictionary<string, bool> _held = new(StringComparer.Ordinal);

    /// <summary>Null when the name is locked already, or too many are.</summary>
    public IDisposable? TryEnter(string name)
    {
        if (_held.Count >= CsiLimits.LocksMax || !_held.TryAdd(name, true)) return null;
        return new Hold(this, name);
    }

    private sealed class Hold(VolumeLocks locks, string name) : IDisposable
    {
        public void Dispose() => locks._held.TryRemove(name, out _);
    }
}
