using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>The maps' pages in memory, and what it means that one can't be read back.</summary>
public sealed partial class BlockStore
{
    /// <summary>Free on the home for a checkpoint beside the one that is there: of such a size again, as it may have grown meanwhile.</summary>
    private const int CheckpointsReserved = 2;

    private readonly List<MapPage> _absent = [];
    private readonly Stack<PagedRead> _pagedReads = new();

    /// <summary>What keeps them within their budget.</summary>
    public MapCache Maps { get; }

    internal long NowMs => _loop.NowMs;

    /// <summary>For one look at what is absent; empty.</summary>
    internal List<MapPage> AbsentPages
    {
        get
        {
            _absent.Clear();
            return _absent;
        }
    }

    internal void OnMapCacheFull() => _backgroundDue = true;

    internal void OnMapCacheStuck(string reason) => StoreLog.MapPagesKept(_logger, _disk.Description, Maps.ResidentPages, Maps.BudgetPages, reason);

    /// <summary>
    /// The entries of a page are gone, from memory only: checkpoint and log have them. The store has failed (R10), so that it stays like that: no checkpoint, no reclaim, no record comes from what
    /// is left of the map. Its volume, and the clones that stand on it, answer nothing more from this moment on; the replicas hear of it in an event of their own, as this is in the midst of an
    /// operation on the map.
    /// </summary>
    internal void OnPageLost(MapPage page, string reason)
    {
        var (map, what) = (page.Map!, $"{page.What} can't be read back ({reason})");
        map.IsDamaged = true;
        foreach (var volume in _volumes.Values)
        {
            if (volume.Map == map || volume.Map.HasDamagedBase) volume.StopAnswering(what);
        }
        // Whoever still asks a store that has stopped gets no answer, and that is all.
        if (Maps.IsClosed || !BeginFailure(what) || Maps.IsOpening) return;
        _loop.Post(() =>
        {
            if (_stopped) return;
            TellFailed(IoStatus.DeviceError, what);
            StartsAnew?.Invoke($"The store at {_disk.Description} has failed: {what}. The node starts anew and reads the maps from checkpoint and log.");
        });
    }

    internal void OnReleaseFailed(string reason) => StoreLog.MapPageLeaked(_logger, _disk.Description, reason);

    /// <summary>Segments that the cleaner could not empty because of blocks that nobody had any more can be tried again.</summary>
    internal void OnReleasesDone()
    {
        Segments.OnReleased();
        _backgroundDue = true;
    }

    internal PagedRead TakePagedRead() => _pagedReads.TryPop(out var read) ? read : new PagedRead(this);

    internal void Return(PagedRead read) => _pagedReads.Push(read);

    internal void NoteCheckpointBytes(long bytes)
    {
        _checkpointBytes = bytes;
        LeaveToCheckpoint();
    }
}

/// <summary>A client's read that waits for pages of its volume's map. Pooled; the sessions' limits bound them.</summary>
internal sealed class PagedRead(BlockStore store) : IPagesLoaded
{
    private VolumeStore? _volume;
    private BlockMap? _map;
    private long _position;
    private BlockRange _range;
    private IReadCompletion? _completion;
    private ulong _token;
    private ulong[] _known = [];
    private int _knownCount;
    private int _jobsMax;

    public PagedRead Prepare(VolumeStore volume, long position, BlockRange range, IReadCompletion completion, ulong token, ReadOnlySpan<ulong> known, int jobsMax)
    {
        (_volume, _map, _position, _range, _completion, _token, _knownCount, _jobsMax) = (volume, volume.Map, position, range, completion, token, known.Length, jobsMax);
        if (known.Length > _known.Length) _known = new ulong[Limits.RecordBlocksMax];
        known.CopyTo(_known);
        return this;
    }

    public void OnPagesLoaded()
    {
        var (volume, map, completion) = (_volume!, _map!, _completion!);
        (_volume, _map, _completion) = (null, null, null);
        volume.ReadLoaded(map, _position, _range, completion, _token, _known.AsSpan(0, _knownCount), _jobsMax);
        store.Return(this);
    }
}
