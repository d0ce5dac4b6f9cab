namespace Cluster.Node.Journal;

/// <summary>Opaque bytes with what is needed to read them again: Akka's serializer id and that serializer's manifest.</summary>
public sealed record MetaPayload(int SerializerId, string Manifest, byte[] Bytes);

/// <summary>One event as it is given to the journal. The time is UTC ticks at the writer, for people only.</summary>
public sealed record MetaNewEvent(long TimestampTicks, MetaPayload Payload);

/// <summary>One event as it is stored.</summary>
public sealed record MetaEvent(long SequenceNr, string WriterGuid, long TimestampTicks, MetaPayload Payload);

/// <summary>One stored snapshot.</summary>
public sealed record MetaSnapshot(long SequenceNr, long TimestampTicks, MetaPayload Payload);

/// <summary>A key's value and its version. A version is never used twice, not even after the key was deleted.</summary>
public sealed record MetaKeyValue(string Key, long Version, byte[] Value);

/// <summary>Which snapshots are meant; all bounds inclusive, times in UTC ticks.</summary>
public sealed record MetaSnapshotRange(long SequenceNrMin, long SequenceNrMax, long TicksMin, long TicksMax)
{
    public static readonly MetaSnapshotRange All = new(0, long.MaxValue, 0, long.MaxValue);

    internal bool Covers(MetaSnapshot s) =>
        s.SequenceNr >= SequenceNrMin && s.SequenceNr <= SequenceNrMax && s.TimestampTicks >= TicksMin && s.TimestampTicks <= TicksMax;
}

/// <summary>
/// What may be replicated. Each proposal has an id of its own: the same id proposed twice (an answer was lost with its leader) is
/// applied once and answered twice alike.
/// </summary>
public abstract record MetaCommand
{
    public Guid ProposalId { get; init; } = Guid.NewGuid();

    /// <summary>
    /// Compare and set: appends after <paramref name="ExpectedSequenceNr"/> only if that is the id's highest sequence number.
    /// </summary>
    public sealed record AppendEvents(
        string PersistenceId, long ExpectedSequenceNr, string WriterGuid, IReadOnlyList<MetaNewEvent> Events) : MetaCommand;

    /// <summary>Forgets events up to and with <paramref name="ToSequenceNr"/>; the highest sequence number stays.</summary>
    public sealed record DeleteEvents(string PersistenceId, long ToSequenceNr) : MetaCommand;

    /// <summary>Keeps a snapshot; a conflict if it claims events that were never stored.</summary>
    public sealed record SaveSnapshot(string PersistenceId, MetaSnapshot Snapshot) : MetaCommand;

    public sealed record DeleteSnapshots(string PersistenceId, MetaSnapshotRange Range) : MetaCommand;

    /// <summary>Compare and set of a key: <paramref name="ExpectedVersion"/> 0 means absent; a null value deletes.</summary>
    public sealed record SetKey(string Key, long ExpectedVersion, byte[]? Value) : MetaCommand;
}
