using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>
/// The order of the volume as it was committed, record by record, and what it makes of the blocks and of each snapshot (R19): told from the records alone, by no code that
/// is tested. Where a loss of power gave a sequence out twice, the record of the higher epoch is the one of the order.
/// </summary>
internal sealed class SimOrder
{
    private readonly SortedDictionary<ulong, Entry> _entries = [];

    private readonly record struct Entry(ulong Epoch, BlockRange Range, ulong Value, SnapshotMarker? Marker);

    /// <summary>What blocks hold, without those that hold nothing.</summary>
    public sealed class Content : SortedDictionary<ulong, (ulong Sequence, ulong Value)>
    {
        public Content()
        {
        }

        public Content(Content from)
            : base(from)
        {
        }

        public List<(ulong Block, ulong Sequence, ulong Value)> AsList() => [.. this.Select(pair => (pair.Key, pair.Value.Sequence, pair.Value.Value))];
    }

    /// <summary>True: it was not known before as the one at its place.</summary>
    public bool Add(in RecordHeader record, ulong value, SnapshotMarker? marker)
    {
        if (_entries.TryGetValue(record.Sequence, out var known) && known.Epoch >= record.Epoch) return false;
        _entries[record.Sequence] = new Entry(record.Epoch, record.Range, value, marker);
        return true;
    }

    /// <summary>The epoch of the record there; 0: none is known.</summary>
    public ulong EpochAt(ulong sequence) => _entries.TryGetValue(sequence, out var entry) ? entry.Epoch : 0;

    /// <summary>The marker there; null: another record, or none.</summary>
    public SnapshotMarker? MarkerAt(ulong sequence) => _entries.TryGetValue(sequence, out var entry) ? entry.Marker : null;

    /// <summary>
    /// The markers that put the volume back to that snapshot the last time that all parts of it came, ascending: the newest one of the newest epoch (an older one may have been lost with the power of all
    /// copies), and those of the parts before it. Null: a part is missing, or something else is between them.
    /// </summary>
    public IReadOnlyList<ulong>? LastRestoreOf(ulong snapshot)
    {
        var at = _entries.Where(pair => pair.Value.Marker?.RestoreFrom == snapshot).OrderBy(pair => pair.Value.Epoch).ThenBy(pair => pair.Key).Select(pair => pair.Key).LastOrDefault();
        var (parts, end) = (new List<ulong>(), ulong.MaxValue);
        for (; MarkerAt(at) is { } marker && marker.RestoreFrom == snapshot && marker.Part.End == end; at--)
        {
            parts.Insert(0, at);
            end = marker.Part.First;
            if (end == 0) return parts;
        }
        return null;
    }

    /// <summary>What all records below that sequence made of the blocks; null: one of them was never committed.</summary>
    public Content? Below(ulong sequence)
    {
        var content = new Content();
        var snapshots = new Dictionary<ulong, Content>();
        ulong last = 0;
        foreach (var (at, entry) in _entries)
        {
            if (at >= sequence) break;
            if (at != last + 1) return null;
            last = at;
            if (entry.Marker is { } marker) content = Apply(at, marker, content, snapshots);
            else Apply(at, in entry, content);
        }
        return last + 1 == sequence ? content : null;
    }

    private static void Apply(ulong at, in Entry entry, Content content)
    {
        for (var block = entry.Range.First; block < entry.Range.End; block++)
        {
            if (entry.Value == 0) content.Remove(block);
            else content[block] = (at, entry.Value);
        }
    }

    private static Content Apply(ulong at, SnapshotMarker marker, Content content, Dictionary<ulong, Content> snapshots)
    {
        if (marker.Creates) snapshots[at] = new Content(content);
        if (marker.RestoreFrom == 0) return content;
        var restored = new Content();
        foreach (var (block, now) in content)
        {
            if (!marker.Part.Contains(block)) restored[block] = now;
        }
        foreach (var (block, then) in snapshots[marker.RestoreFrom])
        {
            if (!marker.Part.Contains(block)) continue;
            // What has not changed since stays the version that it is.
            restored[block] = content.TryGetValue(block, out var now) && now.Sequence == then.Sequence ? now : (at, then.Value);
        }
        return restored;
    }
}
