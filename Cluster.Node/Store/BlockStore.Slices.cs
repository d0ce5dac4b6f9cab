using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>Long work on maps, in slices with pauses between them: clients' I/O of other volumes waits for one slice at most.</summary>
public sealed partial class BlockStore
{
    /// <summary>Between two slices; a third of the loop's time goes to them at most.</summary>
    private const int SlicePauseMs = 10;

    private readonly List<VolumeStore> _restoring = [];
    private ILoopTimer? _sliceTimer;

    /// <summary>It has a restore that goes on.</summary>
    internal void NoteRestoring(VolumeStore volume)
    {
        if (!_restoring.Contains(volume)) _restoring.Add(volume);
    }

    private void SliceLater()
    {
        if (_sliceTimer is not null || (!Maps.IsHandingDown && _restoring.Count == 0)) return;
        _sliceTimer = _loop.Schedule(SlicePauseMs, () =>
        {
            _sliceTimer = null;
            if (_stopped || HasFailed) return;
            // A volume that is restored is waited for.
            if (_restoring.Count == 0) Maps.HandDown();
            else if (_restoring[0].GoOnRestoring(Math.Max(Maps.PagesOfASlice, 1))) _restoring.RemoveAt(0);
            _backgroundDue = true;
        });
    }
}
