using Cluster.Messages.Protocol;

namespace Cluster.Node.Owner;

/// <summary>
/// A running catch-up of one copy (R4, R8). Without a cursor all changes above From are sent, first trims, then blocks in ascending order. With one it goes on where an
/// earlier attempt was interrupted: blocks below the cursor are there up to CursorTo, so first what is newer than that is sent (of all blocks, up to the cursor),
/// then what is newer than From, from the cursor on. What only snapshots hold comes at the end, of all blocks since From: a cursor says nothing of it (R19).
/// </summary>
internal sealed class CatchUp(ulong from, ulong join, bool reset, ulong cursor, ulong cursorTo)
{
    private const int RateWindowMs = 2000;

    private long _rateAtMs;
    private long _rateFromBytes;

    public ulong From => from;

    public ulong Join => join;

    public bool Reset => reset;

    public ulong Cursor => cursor;

    public ulong CursorTo => cursorTo;

    /// <summary>The part below the cursor is being sent.</summary>
    public bool IsBelowCursor { get; private set; } = cursor > 0;

    /// <summary>Changes after this sequence are read now.</summary>
    public ulong Since => IsBelowCursor ? cursorTo : from;

    public ChangePosition? Position { get; private set; }

    public bool ScanDone { get; private set; }

    public ulong NextIndex { get; set; } = 1;

    public ulong EndIndex { get; set; }

    /// <summary>Items sent and not yet acknowledged, by index.</summary>
    public Queue<(ulong Index, int Bytes)> Unacked { get; } = new();

    public long UnackedBytes { get; set; }

    public long SentBytes { get; set; }

    public long TotalBytes { get; init; }

    /// <summary>What was sent when the last mark was.</summary>
    public long MarkedBytes { get; set; }

    /// <summary>The copy has begun with it: it counts as under way.</summary>
    public bool HasBegun { get; set; }

    public long BytesPerSecond { get; private set; }

    /// <summary>All up to that position was sent; null: all there is.</summary>
    public void OnBatch(ChangePosition? next)
    {
        if (IsBelowCursor && (next is not { } at || (at.IsInBlocks && (at.Snapshot != 0 || at.Block >= cursor))))
        {
            (IsBelowCursor, Position, MarkedBytes) = (false, new ChangePosition(true, cursor), long.MinValue);
            return;
        }
        (Position, ScanDone) = (next, next is null);
    }

    /// <summary>
    /// The cursor that the copy is to keep now; 0: none. Not while the part below the last one is being sent: a copy has one cursor, and it stays where it was till then.
    /// </summary>
    public ulong DueMark(long everyBytes) =>
        !IsBelowCursor && Position is { IsInBlocks: true, Snapshot: 0 } at && (MarkedBytes < 0 || SentBytes - MarkedBytes >= everyBytes) ? at.Block : 0;

    public void OnTick(long nowMs)
    {
        if (_rateAtMs == 0) _rateAtMs = nowMs;
        if (nowMs - _rateAtMs < RateWindowMs) return;
        BytesPerSecond = (SentBytes - _rateFromBytes) * 1000 / (nowMs - _rateAtMs);
        (_rateAtMs, _rateFromBytes) = (nowMs, SentBytes);
    }

    /// <summary>Seconds until all is sent at the present pace; -1: not known.</summary>
    public long EtaSeconds => BytesPerSecond > 0 ? (Math.Max(0, TotalBytes - SentBytes) + BytesPerSecond - 1) / BytesPerSecond : -1;
}
