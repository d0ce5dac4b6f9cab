namespace Cluster.Tests.Simulation.Volumes;

internal enum SimOperationKind
{
    Unset = 0,
    Append,
    Resync,
    Windows,
    Header,
    Truncate,
    Position,
    Mend,
}

/// <summary>One entry of a simulated store's log.</summary>
internal sealed class SimOperation(SimOperationKind kind)
{
    public SimOperationKind Kind => kind;

    public byte[] Bytes { get; init; } = [];

    public ulong Sequence { get; init; }

    public ulong Epoch { get; init; }

    public bool Discard { get; init; }

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

    public ulong OpenCount { get; set; }

    public List<SimOperation> Log { get; } = [];

    /// <summary>Blocks whose bytes are not what was written, and the sequence that they are bad as of; a newer version lies elsewhere.</summary>
    public Dictionary<ulong, ulong> Rotten { get; } = [];

    public int Appended { get; set; }

    public int Durable { get; set; }

    /// <summary>kill -9: what was not handed to the system is gone.</summary>
    public void CutToAppended() => Cut(Appended);

    /// <summary>Power loss: of what was written and not synced, some prefix is left.</summary>
    public void CutToMedia(SimRandom random) => Cut((int)random.Between(Durable, Appended));

    public SimDisk Copy()
    {
        var copy = new SimDisk(storeId) { OpenCount = OpenCount };
        copy.Log.AddRange(Log);
        (copy.Appended, copy.Durable) = (Appended, Durable);
        return copy;
    }

    /// <summary>Becomes a backup from two opens ago: the end of the log is not there yet.</summary>
    public void Age()
    {
        Cut(Log.Count - (Log.Count / 3));
        (Appended, Durable) = (Log.Count, Log.Count);
        OpenCount -= 2;
    }

    private void Cut(int count) => Log.RemoveRange(count, Log.Count - count);
}
