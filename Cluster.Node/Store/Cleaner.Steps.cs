namespace Cluster.Node.Store;

// What disk threads do for it: one reads the next window of the source, others write what is staged beside the log. Each disk has a thread of its own for both, so that one that hangs keeps up nothing else.
internal sealed partial class Cleaner
{
    /// <summary>Being written.</summary>
    private readonly List<ColdSegment> _writing = [];

    /// <summary>Under way on a disk thread.</summary>
    private ReadWindow? _window;

    /// <summary>It has ended, and what is staged is still being written.</summary>
    private ReadWindow? _read;

    private bool IsStepping => _window is not null || _writing.Count > 0;

    /// <summary>Called once a second: what does not return is left, and its disk alone until it does. What else there is to do goes on.</summary>
    public void LeaveHung()
    {
        var hung = _writing.FindAll(cold => IsOnHung(cold.Segment));
        if (hung.Count > 0)
        {
            foreach (var cold in hung) cold.Segment.PoolDisk!.HasLeftWrite = true;
            _writing.RemoveAll(hung.Contains);
            store.LeaveHungCold();
            if (!IsStepping) OnStepped();
        }
        if (_window is null || _source is not { IsHung: true, PoolDisk: { IsHome: false } disk }) return;
        store.LogCleanerLeft(_source, disk);
        Stop();
    }

    private static bool IsOnHung(Segment segment) => segment is { IsHung: true, PoolDisk.IsHome: false };

    private void Step(bool reads = true)
    {
        if (IsStepping) return;
        foreach (var cold in _closing) Write(cold);
        if (_cold is { } current) Write(current);
        if (!reads || _source is not { } source || _scanner is not { } scanner) return;
        _window = new ReadWindow(this, scanner, source.PoolDisk, TakeSkip());
        store.SubmitWindow(source, _window);
    }

    private void Write(ColdSegment cold)
    {
        if (!cold.NeedsWrite) return;
        cold.OnWriteBegins();
        _writing.Add(cold);
        store.SubmitWindow(cold.Segment, new WriteJob(this, cold));
    }

    private void OnWritten(WriteJob job, ColdSegment cold)
    {
        var isAwaited = _writing.Remove(cold);
        store.OnColdWritten(cold);
        if (isAwaited && !IsStepping) OnStepped();
        else if (!isAwaited) cold.Segment.PoolDisk!.HasLeftWrite = false;
        store.OnJobDone(job);
    }

    private void OnWindowEnded(ReadWindow window)
    {
        if (_window == window)
        {
            (_window, _read) = (null, window);
            if (!IsStepping) OnStepped();
        }
        store.OnJobDone(window);
    }

    private void OnStepped()
    {
        var read = _read;
        _read = null;
        _closing.RemoveAll(cold => cold.IsReady || cold.IsGone);
        if (_source is not { } source || _scanner is not { } scanner)
        {
            if (_closing.Count > 0 && !store.IsStopping) Step();
            store.OnCleanerStepped();
        }
        // Overwritten meanwhile, and in use anew.
        else if (store.IsStopping || source.Number != _sourceNumber) Stop();
        else if (read is null) store.OnCleanerStepped();
        else if (!read.WasRead) Skip(source, scanner.FailureDetail ?? "it could not be read");
        else GoOnCopying(source, scanner, read.HasEnded);
    }

    private sealed class ReadWindow(Cleaner cleaner, LogScanner scanner, StoreDisk? disk, bool skipsBad) : DiskJob
    {
        private bool _isLeft;

        public override bool MayBeLeft => true;

        public bool WasRead { get; private set; }

        /// <summary>No entry is behind the bad bytes.</summary>
        public bool HasEnded { get; private set; }

        /// <summary>The cleaner does not wait for it any more. The scanner stays until the read ends, which may still put bytes there.</summary>
        public void Leave()
        {
            _isLeft = true;
            if (disk is not null) disk.HasLeftRead = true;
        }

        public override void Execute()
        {
            // Behind bad bytes, from where the next entry begins; if there is none, the scan ends where it stands.
            HasEnded = skipsBad && !scanner.TrySkipToNextEntry();
            WasRead = HasEnded ? scanner.FailureDetail is null : scanner.Prefetch();
        }

        public override void Complete()
        {
            if (_isLeft)
            {
                scanner.Dispose();
                if (disk is not null) disk.HasLeftRead = false;
            }
            cleaner.OnWindowEnded(this);
        }
    }

    /// <summary>Writes what is staged in a segment beside the log.</summary>
    private sealed class WriteJob(Cleaner cleaner, ColdSegment cold) : DiskJob
    {
        /// <summary>Nothing names the segment before it is whole.</summary>
        public override bool MayBeLeft => true;

        public override void Execute() => cold.WriteStaged();

        public override void Complete() => cleaner.OnWritten(this, cold);
    }
}
