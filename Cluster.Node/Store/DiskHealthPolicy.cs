namespace Cluster.Node.Store;

public enum DiskVerdict : byte
{
    Healthy = 0,
    /// <summary>Its calls take much longer than those of the other disks, and long.</summary>
    Slow = 1,
    /// <summary>More of its reads failed, or gave bad bytes, than a disk may have.</summary>
    Erring = 2,
}

/// <summary>What one disk did in one window.</summary>
/// <param name="Calls">Writes, syncs and reads that ended, and those that are under way for longer than the window.</param>
/// <param name="LatencyMs">The greatest of the means of these kinds of calls.</param>
/// <param name="Errors">Places where reads failed or gave bad bytes, each for the first time; and probes that failed.</param>
public readonly record struct DiskWindow(int Calls, double LatencyMs, int Errors);

/// <summary>
/// Which disks of a pool are to be trusted with new data. A disk is slow that has been so in most of the windows in which it did something: by itself, and beside the other disks; when all are slow it
/// is the load or the host, and nobody is to be blamed. Errors have a budget that fills again with time. Who is suspect stays so until it was well for long, and longer each time. Pure; one thread.
/// </summary>
public sealed class DiskHealthPolicy
{
    /// <summary>How often disks are looked at.</summary>
    public const int WindowMs = 1000;

    /// <summary>Below this mean of a window no disk is slow, whatever the others do.</summary>
    public const double SlowMs = 500;

    /// <summary>So many times what the quickest of the other disks took lately.</summary>
    public const double SlowTimes = 4;

    /// <summary>Beyond this mean a disk is slow that there is nothing to compare with.</summary>
    public const double AloneMs = 2000;

    /// <summary>How long a disk's latency stands for it in comparisons, with no call since.</summary>
    public const int ComparableMs = 60_000;

    /// <summary>Windows with calls that are remembered; one that slow in so many of them is suspect.</summary>
    public const int WindowsKept = 32;
    public const int WindowsSlow = 20;

    /// <summary>Errors that a disk may have at once; so long as it takes to have the whole budget again.</summary>
    public const int ErrorsMax = 16;
    public const int ErrorsRefillMs = 3_600_000;

    /// <summary>How long a suspect disk must have been well, with <see cref="WindowsKept"/> windows of calls, before it is used again; twice as long at each further offence.</summary>
    public const int WellMs = 600_000;
    public const int WellGrowthMax = 64;

    /// <summary>After so long without an offence the next one is the first again.</summary>
    public const long ForgetMs = 24 * 3_600_000L;

    private readonly State[] _disks;

    public DiskHealthPolicy(int disks) => _disks = [.. Enumerable.Range(0, disks).Select(_ => new State())];

    public DiskVerdict this[int disk] => _disks[disk].Verdict;

    /// <summary>Mean of the newest window with calls; negative: there was none lately.</summary>
    public double LatencyOf(int disk) => _disks[disk].LatencyMs;

    /// <summary>What the quickest of the others took lately; negative: none of them did anything.</summary>
    public double OthersOf(int disk)
    {
        var least = -1.0;
        for (var index = 0; index < _disks.Length; index++)
        {
            if (index != disk && _disks[index].LatencyMs >= 0 && (least < 0 || _disks[index].LatencyMs < least)) least = _disks[index].LatencyMs;
        }
        return least;
    }

    /// <summary>It was suspect when the store was used last.</summary>
    public void Remember(int disk, long nowMs) => Blame(_disks[disk], DiskVerdict.Slow, nowMs);

    /// <summary>One window of all disks. True: a verdict has changed.</summary>
    public bool Observe(long nowMs, ReadOnlySpan<DiskWindow> windows)
    {
        for (var index = 0; index < _disks.Length; index++) _disks[index].Take(in windows[index], nowMs);
        var changed = false;
        for (var index = 0; index < _disks.Length; index++) changed |= Judge(index, in windows[index], nowMs);
        return changed;
    }

    private bool Judge(int index, in DiskWindow window, long nowMs)
    {
        var disk = _disks[index];
        if (window.Calls > 0) disk.Note(IsSlow(index), nowMs);
        if (window.Errors > 0) disk.LastBadMs = nowMs;
        var isErring = disk.ErrorsLevel >= ErrorsMax;
        if (disk.Verdict == DiskVerdict.Healthy)
        {
            var isSlow = System.Numerics.BitOperations.PopCount(disk.SlowWindows) >= WindowsSlow;
            if (isSlow || isErring) Blame(disk, isErring ? DiskVerdict.Erring : DiskVerdict.Slow, nowMs);
            return isSlow || isErring;
        }
        var isWell = nowMs - disk.LastBadMs >= (long)WellMs * Math.Min(WellGrowthMax, 1L << Math.Clamp(disk.Offences - 1, 0, 30))
            && disk.WellWindows >= WindowsKept && disk.ErrorsLevel <= ErrorsMax / 2.0;
        if (isWell) disk.Verdict = DiskVerdict.Healthy;
        return isWell;
    }

    private bool IsSlow(int index)
    {
        var (own, others) = (_disks[index].LatencyMs, OthersOf(index));
        return others < 0 ? own > AloneMs : own > SlowMs && own > SlowTimes * others;
    }

    private static void Blame(State disk, DiskVerdict verdict, long nowMs)
    {
        disk.Offences = nowMs - disk.OffenceMs >= ForgetMs ? 1 : disk.Offences + 1;
        (disk.Verdict, disk.OffenceMs, disk.LastBadMs, disk.SlowWindows, disk.WellWindows) = (verdict, nowMs, nowMs, 0, 0);
    }

    private sealed class State
    {
        private long _measuredMs;
        private long _levelMs;

        public DiskVerdict Verdict { get; set; }

        public double LatencyMs { get; private set; } = -1;

        /// <summary>Bit by bit the newest windows with calls; 1: slow.</summary>
        public uint SlowWindows { get; set; }

        /// <summary>Windows with calls since the last slow one.</summary>
        public int WellWindows { get; set; }

        public double ErrorsLevel { get; private set; }

        public int Offences { get; set; }

        public long OffenceMs { get; set; }

        public long LastBadMs { get; set; }

        public void Take(in DiskWindow window, long nowMs)
        {
            ErrorsLevel = Math.Max(0, ErrorsLevel - ((double)(nowMs - _levelMs) * ErrorsMax / ErrorsRefillMs)) + window.Errors;
            _levelMs = nowMs;
            if (window.Calls > 0) (LatencyMs, _measuredMs) = (window.LatencyMs, nowMs);
            else if (nowMs - _measuredMs >= ComparableMs) LatencyMs = -1;
        }

        public void Note(bool isSlow, long nowMs)
        {
            SlowWindows = (SlowWindows << 1) | (isSlow ? 1U : 0);
            WellWindows = isSlow ? 0 : WellWindows + 1;
            if (isSlow) LastBadMs = nowMs;
        }
    }
}
