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
    /// The entries of a page are gone, and with them what the map's volume holds: it, and the clones that stand on it, are damaged from this moment on, so that nothing is answered from what is
    /// left. The replicas hear of it in an event of their own: this is in the midst of an operation on the map.
    /// </summary>
    internal void OnPageLost(BlockMap map, ulong number, string reason)
    {
        // One page says it all; if the disk is gone, so is every other one.
        if (map.IsDamaged) return;
        var blocks = new BlockRange(number << MapPage.BlocksLog2, MapPage.Blocks);
        StoreLog.MapPageLost(_logger, map.Volume, _disk.Description, number, blocks.First, blocks.End - 1, reason);
        map.IsDamaged = true;
        foreach (var volume in _volumes.Values)
        {
            var what = volume.Map == map ? $"page {number} of its map (blocks {blocks.First} to {blocks.End - 1}) can't be read back: {reason}"
                : volume.Map.HasDamagedBase ? "the volume that it was cloned from is damaged on this node"
                : null;
            if (what is null || volume.Damage is not null) continue;
            volume.MarkDamaged(what);
            if (!Maps.IsOpening) _loop.Post(() => volume.TellDamaged(what));
        }
    }

    internal void OnReleaseFailed(string reason) => StoreLog.MapPageLeaked(_logger, _disk.Description, reason);

    /// <summary>Segments that the cleaner could not empty because of blocks that nobody had any more can be tried again.</summary>
    internal void OnReleasesDone()
    {
        Segments.Unstick();
        _backgroundDue = true;
    }

    internal PagedRead TakePagedRead() => _pagedReads.TryPop(out var read) ? read : new PagedRead(this);

    internal void Return(PagedRead read) => _pagedReads.Push(read);

    private void NoteCheckpointBytes(long bytes) => (_checkpointBytes, Maps.File.ReserveBytes) = (bytes, CheckpointsReserved * bytes);
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

    public PagedRead Prepare(VolumeStore volume, long position, BlockRange range, IReadCompletion completion, ulong token)
    {
        (_volume, _map, _position, _range, _completion, _token) = (volume, volume.Map, position, range, completion, token);
        return this;
    }

    public void OnPagesLoaded()
    {
        var (volume, map, position, range, completion, token) = (_volume!, _map, _position, _range, _completion!, _token);
        (_volume, _map, _completion) = (null, null, null);
        store.Return(this);
        volume.ReadLoaded(map!, position, range, completion, token);
    }
}
