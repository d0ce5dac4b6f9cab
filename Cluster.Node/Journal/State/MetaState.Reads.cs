namespace Cluster.Node.Journal.State;

/// <summary>Reads. Linearizable only behind a barrier of the Raft leader; <see cref="IMetaLog"/> takes care of that.</summary>
public sealed partial class MetaState
{
    public long HighestSequenceNr(string persistenceId)
    {
        lock (_gate) return _streams.TryGetValue(persistenceId, out var stream) ? stream.HighestSequenceNr : 0;
    }

    /// <summary>
    /// Events with numbers in [from, to], at most <paramref name="max"/>, and no more once they pass <paramref name="bytesMax"/>.
    /// </summary>
    public IReadOnlyList<MetaEvent> Events(string persistenceId, long from, long to, long max, long bytesMax)
    {
        lock (_gate)
        {
            if (!_streams.TryGetValue(persistenceId, out var stream)) return [];
            var found = new List<MetaEvent>();
            long bytes = 0;
            for (var i = from <= 1 ? 0 : stream.CountUpTo(from - 1); i < stream.Events.Count; i++)
            {
                var e = stream.Events[i];
                if (e.SequenceNr > to || found.Count >= max || bytes >= bytesMax) break;
                found.Add(e);
                bytes += SizeOf(e.Payload);
            }
            return found;
        }
    }

    /// <summary>The newest snapshot within the bounds, or null.</summary>
    public MetaSnapshot? Snapshot(string persistenceId, MetaSnapshotRange range)
    {
        lock (_gate) return _streams.TryGetValue(persistenceId, out var stream) ? stream.Snapshots.FindLast(range.Covers) : null;
    }

    public MetaKeyValue? Key(string key)
    {
        lock (_gate) return _keys.GetValueOrDefault(key);
    }

    /// <summary>Keys that start with <paramref name="prefix"/>, in ordinal order.</summary>
    public IReadOnlyList<MetaKeyValue> Keys(string prefix)
    {
        lock (_gate)
        {
            return [.. _keys.Values.Where(k => k.Key.StartsWith(prefix, StringComparison.Ordinal)).Take(JournalLimits.KeysPerReadMax)];
        }
    }
}
