using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Owner;

/// <summary>A record that has its sequence and is not committed. The buffer holds one reference until then.</summary>
internal struct PendingRecord
{
    public IoBuffer? Buffer;
    public RecordHeader Header;
    /// <summary>Where the answer goes; no link when nobody waits (a tail taken over, or a client whose link is gone).</summary>
    public ClientRoute ReplyTo;
    /// <summary>Credit that all records up to this one took, since the machine began (R21).</summary>
    public long CreditEnd;
}

/// <summary>The un-committed records of a volume, by sequence: dense, bounded by <see cref="Limits.PendingRecordsMax"/> and <see cref="Limits.PendingBytesMax"/>.</summary>
internal sealed class PendingRing
{
    /// <summary>Places of a volume that does little; the ring grows to <see cref="Limits.PendingRecordsMax"/> with what is pending at one time.</summary>
    private const int PlacesMin = 16;

    private PendingRecord[] _records = new PendingRecord[PlacesMin];

    /// <summary>Everything up to here is committed.</summary>
    public ulong Base { get; private set; }

    /// <summary>The last sequence given out.</summary>
    public ulong Last { get; private set; }

    public long Bytes { get; private set; }

    /// <summary>Credit that all records so far took (R21).</summary>
    public long CreditTaken { get; private set; }

    private long _creditOfBase;

    /// <summary>Most records at one time since the last <see cref="Trim"/>.</summary>
    private int _most;

    public int Count => (int)(Last - Base);

    public bool IsFull => Count >= Limits.PendingRecordsMax || Bytes >= Limits.PendingBytesMax;

    public ref PendingRecord this[ulong sequence]
    {
        get
        {
            Invariant.That(sequence > Base && sequence <= Last, "a pending record was asked for that is not pending");
            return ref _records[sequence % (uint)_records.Length];
        }
    }

    /// <summary>Starts anew after <paramref name="committed"/>; what was pending is released.</summary>
    public void Restart(ulong committed)
    {
        while (Base < Last) Remove();
        (Base, Last, Bytes) = (committed, committed, 0);
        if (_records.Length > PlacesMin) _records = new PendingRecord[PlacesMin];
        _creditOfBase = CreditTaken;
    }

    /// <summary>Credit that the records up to this one took, which is one of the pending ones, or <see cref="Base"/>.</summary>
    public long CreditUpTo(ulong sequence) => sequence == Base ? _creditOfBase : this[sequence].CreditEnd;

    /// <summary>Credit that a record takes: data only, trims and zeroes free space (R21).</summary>
    public static long CostOf(in RecordHeader header) => header.Kind == RecordKind.Write ? Limits.CreditOf(header.TotalBytes) : 0;

    /// <summary>Adds the next record; takes over the caller's reference.</summary>
    public void Add(IoBuffer buffer, in RecordHeader header, ClientRoute replyTo)
    {
        Invariant.That(Count < Limits.PendingRecordsMax, "the pending ring ran over");
        if (Count == _records.Length) Resize(_records.Length * 2);
        Last++;
        Invariant.That(header.Sequence == Last, "a record was given a sequence that is not the next one");
        CreditTaken += CostOf(in header);
        _records[Last % (uint)_records.Length] = new PendingRecord { Buffer = buffer, Header = header, ReplyTo = replyTo, CreditEnd = CreditTaken };
        Bytes += buffer.Length;
        _most = Math.Max(_most, Count);
    }

    /// <summary>Called now and then: a ring of which little was used lately gets smaller.</summary>
    public void Trim()
    {
        if (_most < _records.Length / 4 && Count <= _records.Length / 2 && _records.Length > PlacesMin) Resize(_records.Length / 2);
        _most = Count;
    }

    private void Resize(int places)
    {
        var resized = new PendingRecord[places];
        for (var sequence = Base + 1; sequence <= Last; sequence++) resized[sequence % (uint)places] = this[sequence];
        _records = resized;
    }

    /// <summary>The oldest is committed: its buffer is released.</summary>
    public void Remove()
    {
        Base++;
        ref var record = ref _records[Base % (uint)_records.Length];
        Bytes -= record.Buffer!.Length;
        _creditOfBase = record.CreditEnd;
        record.Buffer.Release();
        record = default;
    }

    public void ForgetLink(IFrameLink link)
    {
        for (var sequence = Base + 1; sequence <= Last; sequence++)
        {
            ref var record = ref _records[sequence % (uint)_records.Length];
            if (record.ReplyTo.Link == link) record.ReplyTo = default;
        }
    }

    /// <summary>The newest pending sequence that touches the block, 0 with none.</summary>
    public ulong NewestOver(ulong block)
    {
        for (var sequence = Last; sequence > Base; sequence--)
        {
            if (_records[sequence % (uint)_records.Length].Header.Range.Contains(block)) return sequence;
        }
        return 0;
    }

    /// <summary>The highest request id of the session among the pending records, 0 with none.</summary>
    public ulong HighestRequestOf(SessionId session)
    {
        ulong highest = 0;
        for (var sequence = Base + 1; sequence <= Last; sequence++)
        {
            ref var header = ref _records[sequence % (uint)_records.Length].Header;
            if (header.Session == session) highest = Math.Max(highest, header.RequestId);
        }
        return highest;
    }

    public ulong Find(SessionId session, ulong requestId)
    {
        for (var sequence = Last; sequence > Base; sequence--)
        {
            ref var header = ref _records[sequence % (uint)_records.Length].Header;
            if (header.RequestId == requestId && header.Session == session) return sequence;
        }
        return 0;
    }
}
