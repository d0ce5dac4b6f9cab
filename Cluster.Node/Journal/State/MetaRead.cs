using Cluster.Node.Journal.Format;

namespace Cluster.Node.Journal.State;

/// <summary>What may be read of the state, by the same code at the leader and for a node that asks from elsewhere.</summary>
internal abstract record MetaRead
{
    public sealed record Barrier : MetaRead;

    public sealed record Events(string PersistenceId, long From, long To, long Max) : MetaRead;

    public sealed record Highest(string PersistenceId) : MetaRead;

    public sealed record Snapshot(string PersistenceId, MetaSnapshotRange Range) : MetaRead;

    public sealed record Key(string Name) : MetaRead;

    public sealed record Keys(string Prefix) : MetaRead;

    /// <summary>The members of the Raft group: answered by the leader from what it knows, not from the state.</summary>
    public sealed record Members : MetaRead;

    public byte[] Encode()
    {
        var writer = new JournalWriter();
        switch (this)
        {
            case Barrier: writer.U8(1); break;
            case Events r: writer.U8(2).Text(r.PersistenceId).I64(r.From).I64(r.To).I64(r.Max); break;
            case Highest r: writer.U8(3).Text(r.PersistenceId); break;
            case Snapshot r: MetaCommandCodec.WriteRange(writer.U8(4).Text(r.PersistenceId), r.Range); break;
            case Key r: writer.U8(5).Text(r.Name); break;
            case Keys r: writer.U8(6).Text(r.Prefix); break;
            case Members: writer.U8(7); break;
        }
        return writer.ToArray();
    }

    public static MetaRead Decode(ReadOnlySpan<byte> from)
    {
        var reader = new JournalReader(from);
        MetaRead read = reader.U8() switch
        {
            1 => new Barrier(),
            2 => new Events(reader.Text(), reader.I64(), reader.I64(), reader.I64()),
            3 => new Highest(reader.Text()),
            4 => new Snapshot(reader.Text(), MetaCommandCodec.ReadRange(ref reader)),
            5 => new Key(reader.Text()),
            6 => new Keys(reader.Text()),
            7 => new Members(),
            var other => throw new JournalFormatException($"read {other} is not known"),
        };
        reader.End();
        return read;
    }

    /// <summary>The answer as bytes, from a state that a barrier has just brought up to date.</summary>
    public void Answer(MetaState state, JournalWriter writer)
    {
        switch (this)
        {
            case Events r:
                var events = state.Events(r.PersistenceId, r.From, r.To, r.Max, JournalLimits.ReadPageBytesMax);
                writer.I32(events.Count);
                foreach (var e in events)
                    MetaCommandCodec.WritePayload(writer.I64(e.SequenceNr).Text(e.WriterGuid).I64(e.TimestampTicks), e.Payload);
                break;
            case Highest r:
                writer.I64(state.HighestSequenceNr(r.PersistenceId));
                break;
            case Snapshot r:
                var snapshot = state.Snapshot(r.PersistenceId, r.Range);
                writer.Flag(snapshot is not null);
                if (snapshot is not null) MetaCommandCodec.WriteSnapshot(writer, snapshot);
                break;
            case Key r:
                WriteKeys(writer, state.Key(r.Name) is { } key ? [key] : []);
                break;
            case Keys r:
                WriteKeys(writer, state.Keys(r.Prefix));
                break;
        }
    }

    public static IReadOnlyList<MetaEvent> ReadEvents(ref JournalReader reader)
    {
        var events = new MetaEvent[reader.Count(32, int.MaxValue)];
        for (var i = 0; i < events.Length; i++)
            events[i] = new MetaEvent(reader.I64(), reader.Text(), reader.I64(), MetaCommandCodec.ReadPayload(ref reader));
        return events;
    }

    public static IReadOnlyList<MetaKeyValue> ReadKeys(ref JournalReader reader)
    {
        var keys = new MetaKeyValue[reader.Count(16, JournalLimits.KeysPerReadMax)];
        for (var i = 0; i < keys.Length; i++) keys[i] = new MetaKeyValue(reader.Text(), reader.I64(), reader.Bytes());
        return keys;
    }

    private static void WriteKeys(JournalWriter writer, IReadOnlyList<MetaKeyValue> keys)
    {
        writer.I32(keys.Count);
        foreach (var key in keys) writer.Text(key.Key).I64(key.Version).Bytes(key.Value);
    }
}
