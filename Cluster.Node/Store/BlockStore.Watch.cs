using System.Globalization;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>How the disks are, once a second: which are suspect, what is noted of them on media, and whether the home has room for the next checkpoint. Loop only.</summary>
public sealed partial class BlockStore
{
    /// <summary>Between two probes of a disk that has nothing to do.</summary>
    private const int ProbeEveryMs = 5000;

    /// <summary>A disk whose latency is so many times the quickest one's is probed while it has nothing to do: else a bad moment would keep it out of use for ever.</summary>
    private const double ProbedTimes = 2;

    private DiskHealthPolicy _health = null!;
    private DiskWindow[] _windows = [];
    private string[] _reasons = [];

    /// <summary>What the list of disks had on media when it was last known, by disk; it is not known from a write that failed on.</summary>
    private DiskMark[] _marked = [];
    private bool[] _isMarkKnown = [];

    /// <summary>The label was found before a mark that lets the disk be used again; and why it was not.</summary>
    private bool[] _isChecked = [];
    private string[] _strange = [];
    private long[] _calledMs = [];

    /// <summary>By disk, for each has a thread of its own for them: the probe, while it is under way, and since when a check is; negative: none is.</summary>
    private DiskProbe?[] _probes = [];
    private long[] _checkingSinceMs = [];
    private bool _isMarking;
    private string _markFailure = "";
    private ILoopTimer? _watchTimer;
    private Action? _watch;

    /// <summary>Called at the end of the open: no thread has the store yet.</summary>
    private void BeginWatch()
    {
        var disks = _disk.Disks;
        _health = new DiskHealthPolicy(disks.Count);
        (_windows, _calledMs) = (new DiskWindow[disks.Count], new long[disks.Count]);
        _reasons = new string[disks.Count];
        _marked = [.. disks.Select(disk => new DiskMark(disk.Id, disk.IsDrained, disk.IsSuspect, disk.IsEmpty))];
        for (var index = 0; index < disks.Count; index++)
        {
            disks[index].Index = index;
            _reasons[index] = "it was suspect before this start, and is used again when it was well for long";
            if (disks[index].IsSuspect) _health.Remember(index, _loop.NowMs);
        }
        (_isMarkKnown, _isChecked, _strange) = (new bool[disks.Count], new bool[disks.Count], new string[disks.Count]);
        (_probes, _checkingSinceMs) = (new DiskProbe?[disks.Count], new long[disks.Count]);
        Array.Fill(_checkingSinceMs, -1);
        Array.Fill(_isMarkKnown, true);
        Array.Fill(_strange, "");
        BeginKeeping();
        Describe();
        (_hasAvoided, _isDrainDue) = (disks.Any(disk => disk.IsAvoided), true);
    }

    /// <summary>What a disk that does not answer has free is promised to nobody (R21); once it answers it is again.</summary>
    private void NoteHung()
    {
        var hung = 0UL;
        for (var index = 1; index < _disk.Disks.Count && index < 64; index++) hung |= _disk.Disks[index].IsHung ? 1UL << index : 0;
        var areOthers = hung != _hung;
        _hung = hung;
        if (areOthers) UpdateCapacity();
        if (Segments.CountHung() || areOthers) _backgroundDue = true;
    }

    /// <summary>The further disks that hung at the last look, as bits; those beyond the 63rd are asked when the capacity is looked at next.</summary>
    private ulong _hung;

    private void WatchLater() => _watchTimer ??= _loop.Schedule(DiskHealthPolicy.WindowMs, _watch ??= Watch);

    private void Watch()
    {
        _watchTimer = null;
        if (IsStopping) return;
        var disks = _disk.Disks;
        for (var index = 0; index < disks.Count; index++)
        {
            _windows[index] = disks[index].TakeWindow();
            if (_windows[index].Calls > 0) _calledMs[index] = _loop.NowMs;
        }
        if (_health.Observe(_loop.NowMs, _windows)) ApplyVerdicts();
        _disk.Share();
        _cleaner.LeaveHung();
        LeaveHungSpare();
        NoteHung();
        ProbeOne();
        RetireAgain();
        AnswerUnchecked();
        MarkOne();
        KeepRoom();
        Describe();
        (_isDrainDue, _backgroundDue) = (true, true);
        WatchLater();
    }

    private void ApplyVerdicts()
    {
        for (var index = 0; index < _disk.Disks.Count; index++)
        {
            var disk = _disk.Disks[index];
            var isSuspect = _health[index] != DiskVerdict.Healthy;
            if (isSuspect == disk.IsSuspect) continue;
            disk.IsSuspect = isSuspect;
            if (!isSuspect)
            {
                StoreLog.DiskWell(_logger, disk.Id, _disk.Description, disk.Path);
                continue;
            }
            _reasons[index] = WhySuspect(index);
            StoreLog.DiskSuspect(_logger, disk.Id, _disk.Description, disk.Path, _reasons[index],
                disk.IsHome ? "It is the store's home, which can't be drained: that is only reported" : "No new data goes there, and what is there is moved to the other disks");
            if (!disk.IsHome) Avoid(disk);
        }
    }

    private string WhySuspect(int index)
    {
        var disk = _disk.Disks[index];
        if (_health[index] == DiskVerdict.Erring) return string.Create(CultureInfo.InvariantCulture, $"{disk.Errors} of its reads failed or gave bad bytes since the start");
        var (own, others) = (_health.LatencyOf(index), _health.OthersOf(index));
        var beside = others < 0 ? "" : string.Create(CultureInfo.InvariantCulture, $", those of the quickest other disk {others:0.0} ms");
        return string.Create(CultureInfo.InvariantCulture, $"its calls took {own:0} ms in most of the last seconds{beside}");
    }

    /// <summary>The one that was called longest ago of those that have to be.</summary>
    private void ProbeOne()
    {
        var quickest = _disk.Disks.Min(disk => disk.LatencyMs);
        var oldest = -1;
        for (var index = 0; index < _disk.Disks.Count; index++)
        {
            var disk = _disk.Disks[index];
            var isDoubtful = disk.IsSuspect || (!disk.IsAvoided && disk.LatencyMs > DiskPool.LatencyFloorMs + (ProbedTimes * quickest));
            if (!isDoubtful || disk.Failure is not null || _probes[index] is not null || _loop.NowMs - _calledMs[index] < ProbeEveryMs) continue;
            if (oldest < 0 || _calledMs[index] < _calledMs[oldest]) oldest = index;
        }
        if (oldest < 0) return;
        var probe = _probes[oldest] = new DiskProbe(this) { Disk = _disk.Disks[oldest] };
        _disk.Disks[oldest].LooksUnderWay++;
        _scheduler.Submit(DiskLane.Probe, oldest, probe);
    }

    /// <summary>The stop waits for none, nor for a check.</summary>
    internal void OnProbed(DiskProbe probe)
    {
        var index = probe.Disk!.Index;
        _probes[index] = null;
        EndLook(probe.Disk!);
        _strange[index] = probe.Label.IsOk ? "" : probe.Label.Detail ?? "";
    }

    /// <summary>A stop waits for no probe and no check. What one that hung does late meets the disk as the store had it, locked.</summary>
    private void EndLook(StoreDisk disk)
    {
        disk.LooksUnderWay--;
        if (_hasEnded && !disk.IsInCall) disk.Files.Dispose();
    }

    /// <summary>Brings what is on media of one disk to what is wanted.</summary>
    private void MarkOne()
    {
        if (_isMarking || IsStopping) return;
        for (var index = 1; index < _disk.Disks.Count; index++)
        {
            var disk = _disk.Disks[index];
            var isUsed = disk is { IsDrained: false, IsSuspect: false };
            _isChecked[index] &= isUsed;
            // A segment may be on its way there, or its name be gone in the page cache only. And first it must be known why the disk is avoided: a mark that fails may be there in whole.
            var isEmpty = !isUsed && _isMarkKnown[index] && _marked[index] is { Drained: true } or { Suspect: true }
                && disk is { Segments: 0, Failure: null } && !IsMakingOn(disk) && !_retiring.ContainsKey(disk) && !_undurable.Contains(disk);
            var wanted = new DiskMark(disk.Id, disk.IsDrained, disk.IsSuspect, isEmpty);
            if (_isMarkKnown[index] && wanted == _marked[index])
            {
                // An order was taken back before it was noted.
                if (isUsed && disk.IsAvoided) UseAgain(disk);
                continue;
            }
            if (isUsed && !_isChecked[index])
            {
                Check(index);
                continue;
            }
            (_isMarking, _isChecked[index]) = (true, false);
            Submit(DiskLane.Sync, new DiskMarkJob(this, _disk, index, wanted));
            return;
        }
    }

    /// <summary>That it is still there, before it is used again.</summary>
    private void Check(int index)
    {
        if (_checkingSinceMs[index] >= 0) return;
        _checkingSinceMs[index] = _loop.NowMs;
        _disk.Disks[index].LooksUnderWay++;
        _scheduler.Submit(DiskLane.Probe, index, new DiskCheckJob(this, _disk.Disks[index], index));
    }

    /// <summary>Orders to use a disk again that does not answer: whoever gave them waits.</summary>
    private void AnswerUnchecked()
    {
        for (var index = 0; index < _checkingSinceMs.Length; index++)
        {
            var since = _checkingSinceMs[index];
            if (since < 0 || _loop.NowMs - since < StoreDisk.HungMs || _disk.Disks[index] is not { IsDrained: false, IsSuspect: false } disk) continue;
            AnswerOrders(index, $"the disk at {disk.Path} does not answer: a call on it is under way for {(_loop.NowMs - since) / 1000} s");
        }
    }

    internal void OnChecked(DiskCheckJob job)
    {
        _checkingSinceMs[job.Index] = -1;
        EndLook(_disk.Disks[job.Index]);
        if (IsStopping) return;
        _isChecked[job.Index] = job.Result.IsOk;
        _strange[job.Index] = job.Result.Detail ?? "";
        if (job.Result.IsOk) MarkOne();
        else if (_disk.Disks[job.Index] is { IsDrained: false, IsSuspect: false }) AnswerOrders(job.Index, $"the disk can't be used: {job.Result.Detail}");
        Describe();
    }

    internal void OnMarked(DiskMarkJob job)
    {
        _isMarking = false;
        var disk = _disk.Disks[job.Index];
        var failure = job.Result.IsOk ? "" : job.Result.Detail ?? "its list of disks can't be written";
        if (failure.Length > 0 && failure != _markFailure) StoreLog.MarkFailed(_logger, _disk.Description, disk.Id, failure);
        _markFailure = failure;
        _isMarkKnown[job.Index] = job.Result.IsOk;
        if (job.Result.IsOk)
        {
            var before = _marked[job.Index];
            _marked[job.Index] = job.Mark;
            if (job.Mark is { Empty: true, Drained: true } && before is not { Empty: true, Drained: true }) StoreLog.DiskEmpty(_logger, _disk.Description, disk.Id, disk.Path);
            disk.IsEmpty = job.Mark.Empty;
            if (job.Mark is { Drained: false, Suspect: false } && disk is { IsDrained: false, IsSuspect: false, IsAvoided: true }) UseAgain(disk);
        }
        AnswerOrders(job.Result.IsOk ? -1 : job.Index, $"that could not be noted: {failure}");
        Describe();
        if (job.Result.IsOk) MarkOne();
        OnJobDone();
    }

    private void Describe()
    {
        for (var index = 0; index < _disk.Disks.Count; index++)
        {
            var disk = _disk.Disks[index];
            var parts = new List<string>();
            if (disk.IsSuspect) parts.Add(_reasons[index]);
            if (disk is { IsSuspect: true, IsHome: true }) parts.Add("it is the store's home, which can't be drained");
            if (_strange[index].Length > 0) parts.Add(_strange[index]);
            if (disk.IsAvoided) parts.Add(disk is { IsDrained: false, IsSuspect: false } ? "it is used again once the store's list of disks says so on media" : WhatIsLeft(disk));
            if (disk.IsHome && _keepProblem.Length > 0) parts.Add(_keepProblem);
            disk.Problem = string.Join("; ", parts);
        }
    }

    private string WhatIsLeft(StoreDisk disk)
    {
        // What is suspect is used again by itself.
        if (disk is { Segments: 0, IsDrained: false }) return "nothing of the store is on it now: drain it before it is taken away";
        if (disk.Segments == 0) return disk.IsEmpty ? "nothing of the store is on it: it can be taken away" : "nothing of the store is on it";
        var (stuck, bytes) = (0, 0L);
        foreach (var segment in Segments.All)
        {
            if (segment.IsRetired || !segment.IsOn(disk)) continue;
            bytes += segment.LiveBytes;
            if (segment is { IsStuck: true, IsDead: false }) stuck++;
        }
        var left = string.Create(CultureInfo.InvariantCulture, $"{disk.Segments} segments with {bytes >> 20} MiB of data are left on it");
        if (stuck > 0) return left + string.Create(CultureInfo.InvariantCulture, $", {stuck} of them with blocks that are bad or can't be reached: a scrub mends them from other copies");
        if (disk.IsHung) return left + ", and it does not answer";
        return MayDrain ? left : left + ", and the other disks have no room for it";
    }
}

/// <summary>Looks through the path whether the disk is there. In the lane of the probes: it may hang.</summary>
internal sealed class DiskCheckJob(BlockStore store, StoreDisk disk, int index) : DiskJob
{
    public int Index => index;

    public DiskResult Result { get; private set; }

    public override void Execute() => Result = disk.CheckLabel();

    public override void Complete() => store.OnChecked(this);
}

/// <summary>Notes on media why a disk is avoided. In the lane of <see cref="DiskNoteJob"/>: both write the list.</summary>
internal sealed class DiskMarkJob(BlockStore store, DiskPool disks, int index, DiskMark mark) : DiskJob
{
    public int Index => index;

    public DiskMark Mark => mark;

    public DiskResult Result { get; private set; }

    public override void Execute() => Result = disks.Mark(mark);

    public override void Complete() => store.OnMarked(this);
}
