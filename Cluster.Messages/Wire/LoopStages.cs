using System.Diagnostics;

namespace Cluster.Messages.Wire;

/// <summary>Whose work a loop does. Time counts for one stage at a time: the innermost that was entered.</summary>
public enum LoopStage : byte
{
    /// <summary>Timers, posted work, accepts, frames of the cluster.</summary>
    Other = 0,
    /// <summary>NBD parsed and answered, blocks encoded and decoded, sessions; receiving from and sending to clients.</summary>
    FrontEnd = 1,
    /// <summary>Order, sessions and acknowledgements of the volumes owned here.</summary>
    Owner = 2,
    /// <summary>Frames to and from other nodes: receiving, checking, sending.</summary>
    Mesh = 3,
    /// <summary>Copies held here: order, the log's entries, the map.</summary>
    Replica = 4,
    /// <summary>pwritev, and reads that the page cache has.</summary>
    Disk = 5,
}

/// <summary>Times of single I/Os, of which some are sampled.</summary>
public enum LoopWait : byte
{
    /// <summary>A front end's command, from parsed to answered.</summary>
    Read = 0,
    Write = 1,
    Flush = 2,
    /// <summary>One request of a session at its owner, from sent to answered: of that, what is not the front end's.</summary>
    OwnerRead = 3,
    OwnerWrite = 4,
    OwnerFlush = 5,
    /// <summary>A record sent to a copy on another node until that says it is written.</summary>
    Replica = 6,
    /// <summary>fdatasync; every one is counted.</summary>
    Sync = 7,
    /// <summary>A read that the page cache did not have, its queue included; every one is counted.</summary>
    DiskRead = 8,
}

/// <summary>
/// Where the time of one <see cref="ILoop"/> goes. Whether it works or waits is taken at every turn; by stage one turn in <see cref="SampleTurns"/> is
/// measured and counts for all of them; of I/Os one in <see cref="SampleIos"/>. Written on the loop's thread; any thread reads, each number by itself. Allocates nothing.
/// </summary>
public sealed class LoopStages
{
    /// <summary>A prime, so that turns which alternate are all met.</summary>
    public const int SampleTurns = 31;

    /// <summary>A prime too: several parts of one I/O ask in turn.</summary>
    public const int SampleIos = 31;

    // Before Off, which is made with them.
    private static readonly int StageCount = Enum.GetValues<LoopStage>().Length;
    private static readonly int WaitCount = Enum.GetValues<LoopWait>().Length;

    /// <summary>Of a loop that is not measured.</summary>
    public static readonly LoopStages Off = new(isOn: false);

    private readonly bool _isOn;
    private readonly TimeProvider? _clock;
    private readonly long[] _ticks = new long[StageCount];
    private readonly long[] _entries = new long[StageCount];
    private readonly long[] _waitTicks = new long[WaitCount];
    private readonly long[] _waits = new long[WaitCount];
    private bool _isSampled;
    private LoopStage _stage;
    private long _since;
    private long _turnBegan;
    private int _untilSample = 1;
    private int _untilIo = 1;
    private long _busyTicks;
    private long _waitingTicks;
    private long _turns;

    /// <param name="clock">Of the monotonic clock's frequency; null: that clock.</param>
    public LoopStages(TimeProvider? clock = null)
        : this(isOn: true) => _clock = clock;

    private LoopStages(bool isOn) => _isOn = isOn;

    /// <summary>Seconds that the loop did not wait for events.</summary>
    public double BusySeconds => Seconds(Volatile.Read(ref _busyTicks));

    /// <summary>Seconds that it did.</summary>
    public double WaitingSeconds => Seconds(Volatile.Read(ref _waitingTicks));

    public long Turns => Volatile.Read(ref _turns);

    /// <summary>Seconds of all turns, estimated from the sampled ones.</summary>
    public double SecondsOf(LoopStage stage) => Seconds(Volatile.Read(ref _ticks[(int)stage]) * SampleTurns);

    /// <summary>How often the stage began, estimated likewise.</summary>
    public long EntriesOf(LoopStage stage) => Volatile.Read(ref _entries[(int)stage]) * SampleTurns;

    public double SecondsOf(LoopWait wait) => Seconds(Volatile.Read(ref _waitTicks[(int)wait]));

    public long CountOf(LoopWait wait) => Volatile.Read(ref _waits[(int)wait]);

    /// <summary>The loop has events, or timers, and works from now on.</summary>
    public void BeginTurn()
    {
        if (!_isOn) return;
        var now = Timestamp();
        if (_turnBegan != 0) Volatile.Write(ref _waitingTicks, _waitingTicks + now - _turnBegan);
        _turnBegan = now;
        if (--_untilSample > 0) return;
        (_untilSample, _isSampled, _stage, _since) = (SampleTurns, true, LoopStage.Other, now);
    }

    /// <summary>It waits from now on.</summary>
    public void EndTurn()
    {
        if (!_isOn) return;
        if (_isSampled) Switch(LoopStage.Other);
        _isSampled = false;
        var now = Timestamp();
        Volatile.Write(ref _busyTicks, _busyTicks + now - _turnBegan);
        Volatile.Write(ref _turns, _turns + 1);
        _turnBegan = now;
    }

    /// <summary>What follows is the stage's, until <see cref="Leave"/> with what is returned here.</summary>
    public LoopStage Enter(LoopStage stage)
    {
        if (!_isSampled) return LoopStage.Other;
        var before = _stage;
        if (before == stage) return before;
        Switch(stage);
        _entries[(int)stage]++;
        return before;
    }

    public void Leave(LoopStage before)
    {
        if (_isSampled && before != _stage) Switch(before);
    }

    /// <summary>When an I/O begins: its time if it is sampled, else 0.</summary>
    public long Sample()
    {
        if (!_isOn || --_untilIo > 0) return 0;
        _untilIo = SampleIos;
        return Timestamp();
    }

    /// <summary>When something begins that is always counted; 0 if nothing is.</summary>
    public long Now() => _isOn ? Timestamp() : 0;

    /// <summary>It ended now. 0 was not sampled.</summary>
    public void Ended(LoopWait wait, long began)
    {
        if (began != 0) Add(wait, Timestamp() - began);
    }

    /// <summary>Loop thread only.</summary>
    public void Add(LoopWait wait, long ticks)
    {
        if (!_isOn) return;
        Volatile.Write(ref _waitTicks[(int)wait], _waitTicks[(int)wait] + ticks);
        Volatile.Write(ref _waits[(int)wait], _waits[(int)wait] + 1);
    }

    private void Switch(LoopStage stage)
    {
        var now = Timestamp();
        Volatile.Write(ref _ticks[(int)_stage], _ticks[(int)_stage] + now - _since);
        (_stage, _since) = (stage, now);
    }

    private long Timestamp() => _clock is null ? Stopwatch.GetTimestamp() : _clock.GetTimestamp();

    private static double Seconds(long ticks) => (double)ticks / Stopwatch.Frequency;
}
