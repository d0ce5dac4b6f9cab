namespace Cluster.Node.Store;

/// <summary>
/// How many bytes each snapshot sees. Kept is one sum per snapshot: of the versions, wherever they are kept by now, for which it is the oldest that may see them
/// (<see cref="SnapshotLayer.BegunBytes"/>). A version that is kept by a snapshot is seen by all from its first one up to that one, so what a snapshot sees is all that began up to it, less what
/// older ones keep. Changes cost one addition, a new snapshot nothing that grows with the volume, and no page is read for it.
/// <para>Bytes are those that <see cref="BytesOf"/> counts: encoded, and not what a clone has of its base.</para>
/// </summary>
public sealed partial class BlockMap
{
    /// <summary>No version in the map was ever newer.</summary>
    private ulong _newest;

    /// <summary>A snapshot was put between versions whose places were not looked at: from then on the sums say nothing, until the map is empty or read anew.</summary>
    private bool _isSeenUnknown;

    /// <summary>Encoded bytes of the map's own that the snapshot sees; null: not known.</summary>
    public long? SeenBytes(ulong snapshot)
    {
        if (_isSeenUnknown || IsDamaged || IndexOf(snapshot) is not (>= 0 and var at)) return null;
        var bytes = _layers[at].BegunBytes;
        for (var index = 0; index < at; index++) bytes += _layers[index].BegunBytes - _layers[index].StoredBytes;
        return bytes;
    }

    /// <summary>A version of this sequence is in the map now, or is not any more.</summary>
    internal void NoteBegun(ulong sequence, long bytes)
    {
        if (_layers.Count > 0 && sequence <= _layers[^1].Sequence) _layers[FirstAtOrAfter(sequence)].BegunBytes += bytes;
    }

    /// <summary>The oldest snapshot that sees a version of this sequence, which one keeps.</summary>
    internal ulong BegunWith(ulong sequence) => _layers[FirstAtOrAfter(sequence)].Sequence;

    /// <summary>The snapshot, not yet among the others, is about to be at this place among them.</summary>
    private void BeginSeen(SnapshotLayer layer, int at)
    {
        if (at < _layers.Count)
        {
            _isSeenUnknown |= _layers[at].BegunBytes != 0;
            for (var index = at; index < _layers.Count; index++) _layers[index].SplitBegun(_layers[at].Sequence);
        }
        else
        {
            _isSeenUnknown |= _newest > layer.Sequence;
            layer.BegunBytes = StoredBytes + SnapshotBytes - _layers.Sum(other => other.BegunBytes);
        }
    }

    /// <summary>The snapshot that was at this place is gone: what else began with it begins with the next one.</summary>
    private void EndSeen(SnapshotLayer layer, int at)
    {
        if (at == _layers.Count) return;
        _layers[at].BegunBytes += layer.BegunBytes;
        for (var index = at; index < _layers.Count; index++) _layers[index].EndBegun(layer.Sequence, _layers[at].Sequence);
    }
}
