using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Csi.Client;

/// <summary>What all sessions of a process keep together, and what came of it. Any thread.</summary>
public sealed class KeptBudget(long bytesMax = Limits.KeptBytesOfProcessMax)
{
    private long _bytes;
    private long _forcedFlushes;
    private long _presented;

    /// <summary>Flushes that no user asked for.</summary>
    public long ForcedFlushes => Interlocked.Read(ref _forcedFlushes);

    /// <summary>Writes that were presented to owners that had lost them.</summary>
    public long Presented => Interlocked.Read(ref _presented);

    public long Bytes => Interlocked.Read(ref _bytes);

    internal bool TryTake(long bytes)
    {
        if (Interlocked.Add(ref _bytes, bytes) <= bytesMax) return true;
        Interlocked.Add(ref _bytes, -bytes);
        return false;
    }

    internal void CountForcedFlush() => Interlocked.Increment(ref _forcedFlushes);

    internal void CountPresented(int writes) => Interlocked.Add(ref _presented, writes);

    internal void Give(long bytes) => Interlocked.Add(ref _bytes, -bytes);
}

/// <summary>An answered write that is not known to be on media: as encoded, with the sequence that it had.</summary>
internal readonly record struct KeptWrite(ulong Sequence, ulong RequestId, IoBuffer Record);

/// <summary>
/// What a session was answered and would lose if all copies lost their power (R13), in the order of the volume. Pure; the session's loop only. One reference of
/// each record is held here.
/// </summary>
internal sealed class KeptWrites(KeptBudget budget)
{
    private readonly Queue<KeptWrite> _writes = new();
    private long _bytes;
    private ulong _last;

    /// <summary>Of what was committed up to here, something of this session is not kept.</summary>
    private ulong _missingUpTo;

    public int Count => _writes.Count;

    /// <summary>Something is not on media: a flush makes room, or whole again.</summary>
    public bool IsEmpty => _writes.Count == 0 && _missingUpTo == 0;

    public bool WantsFlush => _bytes >= Limits.KeptBytesMax / 2 || _writes.Count >= Limits.KeptRecordsMax / 2 || _missingUpTo != 0;

    /// <summary>What is on its way may still come on top.</summary>
    public bool IsFull => _bytes >= Limits.KeptBytesMax || _writes.Count >= Limits.KeptRecordsMax;

    /// <summary>All of this session's writes above that sequence that it was answered are kept.</summary>
    public bool IsWholeAbove(ulong sequence) => _missingUpTo <= sequence;

    /// <summary>Takes a reference of its own.</summary>
    public void Add(ulong sequence, ulong requestId, IoBuffer record)
    {
        if (sequence == _last) return;
        if (sequence < _last || !budget.TryTake(record.RoomBytes))
        {
            Miss(sequence);
            return;
        }
        record.AddReference();
        _last = sequence;
        _bytes += record.CapacityBytes;
        _writes.Enqueue(new KeptWrite(sequence, requestId, record));
    }

    /// <summary>A write that was committed at that sequence or below can't be presented.</summary>
    public void Miss(ulong upTo) => _missingUpTo = Math.Max(_missingUpTo, upTo);

    public void OnDurable(ulong sequence)
    {
        if (_missingUpTo <= sequence) _missingUpTo = 0;
        while (_writes.TryPeek(out var write) && write.Sequence <= sequence) Drop();
    }

    /// <summary>The session is over: nothing is left that could be presented under its id.</summary>
    public void Clear()
    {
        while (_writes.Count > 0) Drop();
    }

    /// <summary>In the order that they had.</summary>
    public IEnumerable<KeptWrite> Above(ulong sequence) => _writes.Where(write => write.Sequence > sequence);

    private void Drop()
    {
        var write = _writes.Dequeue();
        _bytes -= write.Record.CapacityBytes;
        budget.Give(write.Record.RoomBytes);
        write.Record.Release();
    }
}
