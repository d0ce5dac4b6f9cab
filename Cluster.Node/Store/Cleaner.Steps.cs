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

    /// <summary>Windows that were left, under way or ended: on a disk that errs slowly each takes longer than anybody waits. The newest of each disk at most.</summary>
    private readonly List<LateRead> _late = [];

    /// <param name="Number">Of the source, when it was left.</param>
    /// <param name="LeavesBad">How it was read.</param>
    /// <param name="Last">See <see cref="_last"/>.</param>
    private sealed record LateRead(ReadWindow Window, LogScanner Scanner, Segment Source, ulong Number, bool LeavesBad, ColdSegment? Last)
    {
        /// <summary>The source is what it was, and has something to move.</summary>
        public bool IsWanted => Source.Number == Number && !Source.IsDead && Source.IsAvoided == LeavesBad;
    }

    private const int LateFailuresMax = 1;

    private bool IsStepping => _window is not null || _writing.Count > 0;

    /// <summary>Called once a second: what does not return is left, and its disk alone until it does. What else there is to do goes on.</summary>
    public void LeaveHung()
    {
        var hung = _writing.FindAll(cold => IsOnHung(cold.Segment));
        if (hung.Count > 0)
        {
            foreach (var cold in hung) cold.Segment.PoolDisk!.Leave();
            _writing.RemoveAll(hung.Contains);
            store.LeaveHungCold();
            if (!IsStepping) OnStepped();
        }
        ForgetLate(late => late.Window.IsOver && !late.IsWanted);
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
        store.SubmitApart(source.PoolDisk, _window);
    }

    private void Write(ColdSegment cold)
    {
        if (!cold.NeedsWrite) return;
        cold.OnWriteBegins();
        _writing.Add(cold);
        store.SubmitApart(cold.Segment.PoolDisk, new WriteJob(this, cold));
    }

    private void OnWritten(WriteJob job, ColdSegment cold)
    {
        var isAwaited = _writing.Remove(cold);
        store.OnColdWritten(cold);
        if (isAwaited && !IsStepping) OnStepped();
        else if (!isAwaited) cold.Segment.PoolDisk!.EndLeft();
        store.OnJobDone(job);
    }

    private void OnWindowEnded(ReadWindow window)
    {
        if (_window == window)
        {
            (_window, _read) = (null, window);
            if (!IsStepping) OnStepped();
        }
        else if (store.IsStopping) ForgetLate(late => late.Window == window);
        else
        {
            ForgetLate(late => late.Window == window && MayPass(late));
            // Its source may be the next one.
            store.OnCleanerStepped();
        }
        store.OnJobDone(window);
    }

    /// <summary>The cleaner does not wait for the window of its source any more. What it brings is kept for when that source is taken again.</summary>
    private void LeaveWindow(ReadWindow window, Segment source, LogScanner scanner)
    {
        ForgetLate(late => late.Window.IsOver && late.Source.PoolDisk == source.PoolDisk);
        window.Leave();
        _late.Add(new LateRead(window, scanner, source, _sourceNumber, _leavesBad, _last));
    }

    /// <summary>
    /// A hang ends in errors as a rule, and the disk answers again: it is read anew. What failed so the second time is taken as it is, for bad sectors may take as long.
    /// </summary>
    private static bool MayPass(LateRead late) =>
        (!late.Window.WasRead || !late.Scanner.HasReadAny) && late.Source.LateFailures++ < LateFailuresMax;

    /// <summary>What was read late of that segment, if it is to be read in the same way now.</summary>
    private LateRead? TakeLate(Segment source)
    {
        var found = _late.Find(late => late.Source == source && late.Window.IsOver && late.IsWanted && late.LeavesBad == _leavesBad);
        if (found is not null) _late.Remove(found);
        return found;
    }

    private bool HasLate(Segment source) => _late.Count > 0 && _late.Exists(late => late.Source == source && late.Window.IsOver && late.IsWanted);

    /// <param name="which">Of those that have ended.</param>
    private void ForgetLate(Predicate<LateRead> which)
    {
        for (var at = _late.Count - 1; at >= 0; at--)
        {
            if (!which(_late[at])) continue;
            _late[at].Scanner.Dispose();
            _late.RemoveAt(at);
        }
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

        public override StoreDisk? OnlyDisk => disk;

        public override bool OnlyReads => true;

        public bool IsOver { get; private set; }

        public bool WasRead { get; private set; }

        /// <summary>No entry is behind the bad bytes.</summary>
        public bool HasEnded { get; private set; }

        /// <summary>The cleaner does not wait for it any more. The scanner stays until the read ends, which may still put bytes there.</summary>
        public void Leave()
        {
            _isLeft = true;
            disk?.Leave();
        }

        public override void Execute()
        {
            // Behind bad bytes, from where the next entry begins; if there is none, the scan ends where it stands.
            HasEnded = skipsBad && !scanner.TrySkipToNextEntry();
            WasRead = HasEnded ? scanner.FailureDetail is null : scanner.Prefetch();
        }

        public override void Complete()
        {
            IsOver = true;
            if (_isLeft) disk?.EndLeft();
            cleaner.OnWindowEnded(this);
        }
    }

    /// <summary>Writes what is staged in a segment beside the log.</summary>
    private sealed class WriteJob(Cleaner cleaner, ColdSegment cold) : DiskJob
    {
        /// <summary>Nothing names the segment before it is whole.</summary>
        public override bool MayBeLeft => true;

        public override StoreDisk? OnlyDisk => cold.Segment.PoolDisk;

        public override void Execute() => cold.WriteStaged();

        public override void Complete() => cleaner.OnWritten(this, cold);
    }
}
