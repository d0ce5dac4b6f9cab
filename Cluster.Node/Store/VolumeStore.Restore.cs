using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>
/// A restore (R19) takes effect page by page. What takes more than a turn of the loop may is done in slices, with pauses in which other volumes have their turns; until all is done the marker
/// counts as not committed here, though it is for good: what comes behind it waits in the tail, a checkpoint has it in the tail, and a replay restores anew, which changes nothing that is done. Whoever asks for
/// what the volume holds meanwhile has the rest done at once, so that nobody sees half of it.
/// </summary>
public sealed partial class VolumeStore
{
    /// <summary>Records that wait behind a restore at most: then the rest of it is done at once.</summary>
    private const int TailWhileRestoringMax = 16_384;

    private Restoring? _restoring;

    /// <summary>What is to be committed once the restore is done.</summary>
    private ulong _wantedWatermark;

    /// <summary>Pages that may differ from the snapshot, and how many of them do not any more.</summary>
    private sealed record Restoring(ulong Snapshot, ulong Sequence, ulong[] Pages)
    {
        public int Done { get; set; }
    }

    public bool IsRestoring => _restoring is not null;

    private bool TryRestore(ulong snapshot, ulong sequence)
    {
        Invariant.That(Map.Layer(snapshot) is not null, "a snapshot was to be restored that is not here");
        var pages = Map.PagesChangedSince(snapshot);
        if (_store.Maps.IsOpening || pages.Length <= _store.Maps.PagesOfASlice)
        {
            Map.Restore(pages, 0, pages.Length, snapshot, sequence);
            return true;
        }
        _restoring = new Restoring(snapshot, sequence, pages);
        _store.NoteRestoring(this);
        return false;
    }

    /// <summary>Some more pages. True: that was all, and what waited behind it is committed.</summary>
    internal bool GoOnRestoring(int pages)
    {
        if (_restoring is not { } restoring || Damage is not null) return true;
        var count = Math.Min(pages, restoring.Pages.Length - restoring.Done);
        Map.Restore(restoring.Pages, restoring.Done, count, restoring.Snapshot, restoring.Sequence);
        restoring.Done += count;
        if (restoring.Done < restoring.Pages.Length) return false;
        _restoring = null;
        PassFirstOfTail(restoring.Sequence);
        CommitUpTo(_wantedWatermark);
        return _restoring is null;
    }

    SessionWindows IVolumeStore.Windows
    {
        get
        {
            Settle();
            return Windows;
        }
    }

    public void Settle()
    {
        while (!GoOnRestoring(int.MaxValue))
        {
        }
    }
}
