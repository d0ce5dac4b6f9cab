using System.Collections.Concurrent;
using Cluster.Messages.Model;

namespace Cluster.Node.Owner;

/// <summary>Who serves a volume, and in which epoch.</summary>
public readonly record struct ServedBy(NodeId Node, ulong Epoch);

/// <summary>
/// Where volumes are served, as the nodes that serve them told this one over links that are up: a hint for whoever looks for an owner, never a
/// permission (P4). Of two nodes the one with the higher epoch is believed, also after it has ended. Written on the loop, read by any thread.
/// </summary>
public sealed class OwnerTable
{
    /// <summary>Beyond this many volumes those that nobody serves are forgotten.</summary>
    private const int EntriesMax = 65_536;

    private readonly ConcurrentDictionary<VolumeId, Entry> _entries = new();

    public readonly record struct Entry(NodeId Node, ulong Epoch, bool Serves);

    /// <summary>Null when no node that this one is linked to has said that it serves the volume.</summary>
    public ServedBy? Of(VolumeId volume) =>
        _entries.TryGetValue(volume, out var entry) && entry.Serves ? new ServedBy(entry.Node, entry.Epoch) : null;

    /// <summary>The newest owner that this node has ever heard of, also one that serves no more; null when it has heard of none.</summary>
    public Entry? LastOf(VolumeId volume) => _entries.TryGetValue(volume, out var entry) ? entry : null;

    /// <summary>True when it is news: nobody, or an older owner, was known to serve the volume.</summary>
    public bool Serves(VolumeId volume, NodeId node, ulong epoch)
    {
        var known = _entries.GetValueOrDefault(volume);
        if (known.Epoch > epoch || (known.Epoch == epoch && known.Serves)) return false;
        if (_entries.Count >= EntriesMax) Trim();
        _entries[volume] = new Entry(node, epoch, true);
        return true;
    }

    /// <summary>True when it is the newest owner that is known, and ended by this.</summary>
    public bool Ended(VolumeId volume, NodeId node, ulong epoch)
    {
        if (!_entries.TryGetValue(volume, out var known) || known.Node != node || known.Epoch != epoch || !known.Serves) return false;
        _entries[volume] = known with { Serves = false };
        return true;
    }

    /// <summary>The link to the node is down: what it said may not be so any more. It says it again over the next one.</summary>
    public void Lost(NodeId node)
    {
        foreach (var (volume, known) in _entries)
        {
            if (known.Serves && known.Node == node) _entries[volume] = known with { Serves = false };
        }
    }

    /// <summary>Volumes that the node is known to serve.</summary>
    public IReadOnlyList<(VolumeId Volume, ulong Epoch)> ServedAt(NodeId node) =>
        [.. _entries.Where(entry => entry.Value.Serves && entry.Value.Node == node).Select(entry => (entry.Key, entry.Value.Epoch))];

    private void Trim()
    {
        foreach (var (volume, known) in _entries)
        {
            if (!known.Serves) _entries.TryRemove(volume, out _);
        }
    }
}
