using Cluster.Node.Journal.Format;

namespace Cluster.Node.Journal.State;

/// <summary>
/// Bytes of a command: version u8 | type u8 | proposal id 16 | fields (docs/journal-format.md). The same bytes travel to the leader
/// and lie in the log. A type or version that is not known here throws: a node that can't follow must halt, never skip.
/// </summary>
public static class MetaCommandCodec
{
    private const byte Version = 1;
    private const byte AppendEvents = 1, DeleteEvents = 2, SaveSnapshot = 3, DeleteSnapshots = 4, SetKey = 5;

    public static byte[] Encode(MetaCommand command)
    {
        var writer = new JournalWriter();
        writer.U8(Version).U8(TypeOf(command)).Id(command.ProposalId);
        switch (command)
        {
            case MetaCommand.AppendEvents c:
                writer.Text(c.PersistenceId).I64(c.ExpectedSequenceNr).Text(c.WriterGuid).I32(c.Events.Count);
                foreach (var e in c.Events) WritePayload(writer.I64(e.TimestampTicks), e.Payload);
                break;
            case MetaCommand.DeleteEvents c:
                writer.Text(c.PersistenceId).I64(c.ToSequenceNr);
                break;
            case MetaCommand.SaveSnapshot c:
                WriteSnapshot(writer.Text(c.PersistenceId), c.Snapshot);
                break;
            case MetaCommand.DeleteSnapshots c:
                WriteRange(writer.Text(c.PersistenceId), c.Range);
                break;
            case MetaCommand.SetKey c:
                writer.Text(c.Key).I64(c.ExpectedVersion).Flag(c.Value is not null);
                if (c.Value is not null) writer.Bytes(c.Value);
                break;
        }
        if (writer.Length > JournalLimits.CommandBytesMax)
            throw new ArgumentException(
                $"a command of {writer.Length} bytes is over the journal's limit of {JournalLimits.CommandBytesMax}", nameof(command));
        return writer.ToArray();
    }

    public static MetaCommand Decode(ReadOnlySpan<byte> from)
    {
        var reader = new JournalReader(from);
        var version = reader.U8();
        if (version != Version) throw new JournalFormatException($"command version {version} is not known to this program");
        var type = reader.U8();
        var proposalId = reader.Id();
        MetaCommand command = type switch
        {
            AppendEvents => ReadAppend(ref reader),
            DeleteEvents => new MetaCommand.DeleteEvents(reader.Text(), reader.I64()),
            SaveSnapshot => new MetaCommand.SaveSnapshot(reader.Text(), ReadSnapshot(ref reader)),
            DeleteSnapshots => new MetaCommand.DeleteSnapshots(reader.Text(), ReadRange(ref reader)),
            SetKey => new MetaCommand.SetKey(reader.Text(), reader.I64(), reader.Flag() ? reader.Bytes() : null),
            _ => throw new JournalFormatException($"command type {type} is not known to this program"),
        };
        reader.End();
        return command with { ProposalId = proposalId };
    }

    internal static void WritePayload(JournalWriter writer, MetaPayload payload) =>
        writer.I32(payload.SerializerId).Text(payload.Manifest).Bytes(payload.Bytes);

    internal static MetaPayload ReadPayload(ref JournalReader reader) => new(reader.I32(), reader.Text(), reader.Bytes());

    internal static void WriteSnapshot(JournalWriter writer, MetaSnapshot snapshot) =>
        WritePayload(writer.I64(snapshot.SequenceNr).I64(snapshot.TimestampTicks), snapshot.Payload);

    internal static MetaSnapshot ReadSnapshot(ref JournalReader reader) => new(reader.I64(), reader.I64(), ReadPayload(ref reader));

    internal static void WriteRange(JournalWriter writer, MetaSnapshotRange range) =>
        writer.I64(range.SequenceNrMin).I64(range.SequenceNrMax).I64(range.TicksMin).I64(range.TicksMax);

    internal static MetaSnapshotRange ReadRange(ref JournalReader reader) => new(reader.I64(), reader.I64(), reader.I64(), reader.I64());

    private static MetaCommand.AppendEvents ReadAppend(ref JournalReader reader)
    {
        var persistenceId = reader.Text();
        var expected = reader.I64();
        var writerGuid = reader.Text();
        var events = new MetaNewEvent[reader.Count(20, JournalLimits.EventsPerAppendMax)];
        for (var i = 0; i < events.Length; i++) events[i] = new MetaNewEvent(reader.I64(), ReadPayload(ref reader));
        return new MetaCommand.AppendEvents(persistenceId, expected, writerGuid, events);
    }

    private static byte TypeOf(MetaCommand command) => command switch
    {
        MetaCommand.AppendEvents => AppendEvents,
        MetaCommand.DeleteEvents => DeleteEvents,
        MetaCommand.SaveSnapshot => SaveSnapshot,
        MetaCommand.DeleteSnapshots => DeleteSnapshots,
        MetaCommand.SetKey => SetKey,
        _ => throw new ArgumentException($"{command.GetType().Name} is no command of this format", nameof(command)),
    };
}
