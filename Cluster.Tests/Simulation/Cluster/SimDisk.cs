using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Tests.Simulation.Volumes;

internal enum SimOperationKind
{
    Unset = 0,
    Append,
    Resync,
    Snapshots,
    Windows,
    Header,
    Truncate,
    Position,
    Mend,
    Clone,
}

/// <summary>One entry of a simulated store's log.</summary>
internal sealed class SimOperation(SimOperationKind kind)
{
    public SimOperationKind Kind => kind;

    public byte[] Bytes { get; init; } = [];

    public ulong Sequence { get; init; }

    public ulong Epoch { get; init; }

    public bool Discard { get; init; }

    /// <summary>What a clone begins with.</summary>
    public IReadOnlyList<(ulong Block, ulong Sequence, BlockDescriptor Descriptor, byte[] Encoded)> Content { get; init; } = [];

    /// <summary>What was known to be committed when it was staged.</summary>
    public ulong Watermark { get; set; }
}

/// <summary>
/// What a node keeps when its process ends. Durable &lt;= Appended &lt;= Log.Count; what lies between them is staged, or written and
/// not on media.
/// </summary>
internal sealed class SimDisk(Guid storeId)
{
    public Guid StoreId => storeId;

    public StoreOpens Opens { get; private set; } = StoreOpens.None;

    public List<SimOperation> Log { get; } = [];

    /// <summary>Blocks whose bytes are not what was written, and the sequence that they are bad as of; a newer version lies elsewhere.</summary>
    public Dictionary<ulong, ulong> Rotten { get; } = [];

    public int Appended { get; set; }

    public int Durable { get; private set; }

    /// <summary>The newest open that followed a loss of power (R9).</summary>
    public ulong SuspectSince { get; private set; }

    /// <summary>A failed fdatasync left what was written before it off the media for good, whatever later ones say (R10).</summary>
    private int _lostFrom = int.MaxValue;
    private bool _isSuspect;

    /// <summary>Entries of the log that each open found.</summary>
    private readonly List<int> _found = [];

    /// <summary>The newest header on media.</summary>
    public byte[]? DurableHeader { get; private set; }

    /// <summary>Another disk, or a backup, was put in its place then; -1: never.</summary>
    public long ReplacedAtUs { get; init; } = -1;

    /// <summary>The last sequence of what is truly on media.</summary>
    public ulong MediaSequence => SequenceAt(MediaCount);

    public int MediaCount => Math.Min(Durable, _lostFrom);

    /// <summary>The last sequence of what outlives the process.</summary>
    public ulong AppendedSequence => SequenceAt(Appended);

    public void OnOpened(ulong mark)
    {
        // The open reads what is on media, not what the page cache believes to be there.
        Cut(Math.Min(Log.Count, _lostFrom));
        _lostFrom = int.MaxValue;
        _found.Add(Log.Count);
        Opens = Opens.Next(mark);
        if (_isSuspect) SuspectSince = Opens.Count;
        _isSuspect = false;
    }

    /// <summary>All up to there was synced.</summary>
    public void Sync(int count)
    {
        for (var index = Durable; index < Math.Min(count, _lostFrom); index++)
        {
            if (Log[index].Kind == SimOperationKind.Header) DurableHeader = Log[index].Bytes;
        }
        Durable = Math.Max(Durable, count);
    }

    /// <summary>The store notes that beside its log: the next open is suspect like one after a loss of power.</summary>
    public void FailSync() => (_lostFrom, _isSuspect) = (Math.Min(_lostFrom, Durable), true);

    /// <summary>kill -9: what was not handed to the system is gone.</summary>
    public void CutToAppended() => Cut(Appended);

    /// <summary>Power loss: of what was written and not synced, some prefix is left.</summary>
    public void CutToMedia(SimRandom random, bool keepsSome = true)
    {
        _isSuspect = true;
        Cut(Math.Min(keepsSome ? (int)random.Between(Durable, Appended) : Durable, _lostFrom));
        _lostFrom = int.MaxValue;
    }

    private ulong SequenceAt(int count)
    {
        for (var index = count - 1; index >= 0; index--)
        {
            var operation = Log[index];
            if (operation.Kind is SimOperationKind.Append or SimOperationKind.Truncate or SimOperationKind.Position) return operation.Sequence;
        }
        return 0;
    }

    /// <summary>What a replay of the first entries ends with.</summary>
    public SimLogEnd EndAt(int count)
    {
        byte[]? header = null;
        ulong? sequence = null;
        ulong? epoch = null;
        for (var index = count - 1; index >= 0 && (header is null || epoch is null); index--)
        {
            var operation = Log[index];
            if (operation.Kind == SimOperationKind.Header) header ??= operation.Bytes;
            else if (epoch is null && operation.Kind is SimOperationKind.Append or SimOperationKind.Truncate or SimOperationKind.Position)
            {
                sequence ??= operation.Sequence;
                // Behind a cut, what is left ends with the newest record of that number.
                if (operation.Kind != SimOperationKind.Truncate && operation.Sequence == sequence) epoch = EpochOf(operation);
            }
        }
        return new SimLogEnd(sequence ?? 0, epoch ?? 0, header);
    }

    private static ulong EpochOf(SimOperation operation)
    {
        if (operation.Kind == SimOperationKind.Position) return operation.Epoch;
        RecordHeader.TryDecode(operation.Bytes, out var record);
        return record.Epoch;
    }

    public SimDisk Copy(long atUs)
    {
        var copy = new SimDisk(storeId) { Opens = Opens, SuspectSince = SuspectSince, ReplacedAtUs = atUs };
        copy.Log.AddRange(Log);
        copy._found.AddRange(_found);
        copy.Appended = Appended;
        copy.Sync(Durable);
        return copy;
    }

    /// <summary>The same store without the replica.</summary>
    public SimDisk Emptied()
    {
        var emptied = new SimDisk(storeId) { Opens = Opens, SuspectSince = SuspectSince, ReplacedAtUs = ReplacedAtUs };
        emptied._found.AddRange(_found.Select(_ => 0));
        return emptied;
    }

    /// <summary>Becomes a backup from two opens ago: it has nothing of what came since, no header either.</summary>
    public void Age()
    {
        Cut(Math.Min(Log.Count, _found[^2]));
        _found.RemoveRange(_found.Count - 2, 2);
        (Appended, Durable) = (Log.Count, Math.Min(Durable, Log.Count));
        Sync(Log.Count);
        Opens = new StoreOpens(Opens.Count - 2, Opens.Marks[2..]);
    }

    private void Cut(int count)
    {
        Log.RemoveRange(count, Log.Count - count);
        (Appended, Durable) = (Math.Min(Appended, count), Math.Min(Durable, count));
    }
}
