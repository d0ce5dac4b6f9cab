using Cluster.Messages.Model;

namespace Cluster.Node.Journal.State;

/// <summary>
/// The replicated state machine: event streams, snapshots and keys, all changed by compare and set. Applying is deterministic: no
/// clock, no random, nothing of this node. One thread applies; any thread reads (a lock, held shortly).
/// </summary>
public sealed partial class MetaState
{
    /// <summary>What a stream or key is counted as beside its bytes, towards <see cref="JournalLimits.StateBytesMax"/>.</summary>
    private const int OverheadBytes = 64;

    private readonly Lock _gate = new();
    private readonly long _bytesMax;
    private readonly SortedDictionary<string, EventStream> _streams = new(StringComparer.Ordinal);
    private readonly SortedDictionary<string, MetaKeyValue> _keys = new(StringComparer.Ordinal);
    private readonly Dictionary<Guid, MetaAnswer> _answers = [];
    private readonly Queue<Guid> _answerOrder = [];
    private long _revision;
    private long _bytes;

    public MetaState(long bytesMax = JournalLimits.StateBytesMax)
    {
        _bytesMax = bytesMax;
    }

    /// <summary>Commands applied so far; the version that the next change of a key gets is one more.</summary>
    public long Revision
    {
        get { lock (_gate) return _revision; }
    }

    public long SizeBytes
    {
        get { lock (_gate) return _bytes; }
    }

    /// <summary>Applies one committed command, or gives the answer it had when its proposal id was applied before.</summary>
    public MetaAnswer Apply(MetaCommand command)
    {
        lock (_gate)
        {
            if (_answers.TryGetValue(command.ProposalId, out var known)) return known;
            _revision++;
            var answer = command switch
            {
                MetaCommand.AppendEvents c => Append(c),
                MetaCommand.DeleteEvents c => DeleteEvents(c),
                MetaCommand.SaveSnapshot c => SaveSnapshot(c),
                MetaCommand.DeleteSnapshots c => DeleteSnapshots(c),
                MetaCommand.SetKey c => SetKey(c),
                _ => throw new InvariantException($"{command.GetType().Name} reached the state machine unknown"),
            };
            Remember(command.ProposalId, answer);
            return answer;
        }
    }

    private MetaAnswer Append(MetaCommand.AppendEvents c)
    {
        _streams.TryGetValue(c.PersistenceId, out var stream);
        var highest = stream?.HighestSequenceNr ?? 0;
        if (highest != c.ExpectedSequenceNr) return MetaAnswer.Conflict(highest);
        if (c.Events.Count == 0) return MetaAnswer.Ok(highest);
        var added = c.Events.Sum(e => SizeOf(e.Payload));
        if (_bytes + added > _bytesMax) return MetaAnswer.Full(highest);
        stream ??= AddStream(c.PersistenceId);
        foreach (var e in c.Events)
            stream.Events.Add(new MetaEvent(++stream.HighestSequenceNr, c.WriterGuid, e.TimestampTicks, e.Payload));
        _bytes += added;
        return MetaAnswer.Ok(stream.HighestSequenceNr);
    }

    private MetaAnswer DeleteEvents(MetaCommand.DeleteEvents c)
    {
        if (!_streams.TryGetValue(c.PersistenceId, out var stream)) return MetaAnswer.Ok(0);
        var count = stream.CountUpTo(c.ToSequenceNr);
        for (var i = 0; i < count; i++) _bytes -= SizeOf(stream.Events[i].Payload);
        stream.Events.RemoveRange(0, count);
        return MetaAnswer.Ok(stream.HighestSequenceNr);
    }

    private MetaAnswer SaveSnapshot(MetaCommand.SaveSnapshot c)
    {
        _streams.TryGetValue(c.PersistenceId, out var stream);
        var highest = stream?.HighestSequenceNr ?? 0;
        if (c.Snapshot.SequenceNr > highest) return MetaAnswer.Conflict(highest);
        var added = SizeOf(c.Snapshot.Payload);
        if (_bytes + added > _bytesMax) return MetaAnswer.Full(highest);
        stream ??= AddStream(c.PersistenceId);
        RemoveSnapshots(stream, s => s.SequenceNr == c.Snapshot.SequenceNr);
        if (stream.Snapshots.Count == JournalLimits.SnapshotsPerIdMax)
        {
            var oldest = stream.Snapshots[0].SequenceNr;
            RemoveSnapshots(stream, s => s.SequenceNr == oldest);
        }
        var at = stream.Snapshots.FindIndex(s => s.SequenceNr > c.Snapshot.SequenceNr);
        stream.Snapshots.Insert(at < 0 ? stream.Snapshots.Count : at, c.Snapshot);
        _bytes += added;
        return MetaAnswer.Ok(highest);
    }

    private MetaAnswer DeleteSnapshots(MetaCommand.DeleteSnapshots c)
    {
        if (!_streams.TryGetValue(c.PersistenceId, out var stream)) return MetaAnswer.Ok(0);
        RemoveSnapshots(stream, c.Range.Covers);
        return MetaAnswer.Ok(stream.HighestSequenceNr);
    }

    private MetaAnswer SetKey(MetaCommand.SetKey c)
    {
        _keys.TryGetValue(c.Key, out var old);
        var version = old?.Version ?? 0;
        if (version != c.ExpectedVersion) return MetaAnswer.Conflict(version);
        var oldBytes = old is null ? 0 : old.Value.Length + OverheadBytes;
        if (c.Value is null)
        {
            _keys.Remove(c.Key);
            _bytes -= oldBytes;
            return MetaAnswer.Ok(0);
        }
        var newBytes = c.Value.Length + OverheadBytes;
        if (_bytes + newBytes - oldBytes > _bytesMax) return MetaAnswer.Full(version);
        _keys[c.Key] = new MetaKeyValue(c.Key, _revision, c.Value);
        _bytes += newBytes - oldBytes;
        return MetaAnswer.Ok(_revision);
    }

    private EventStream AddStream(string persistenceId)
    {
        var stream = new EventStream();
        _streams.Add(persistenceId, stream);
        _bytes += OverheadBytes;
        return stream;
    }

    private void RemoveSnapshots(EventStream stream, Func<MetaSnapshot, bool> which)
    {
        for (var i = stream.Snapshots.Count - 1; i >= 0; i--)
        {
            if (!which(stream.Snapshots[i])) continue;
            _bytes -= SizeOf(stream.Snapshots[i].Payload);
            stream.Snapshots.RemoveAt(i);
        }
    }

    private void Remember(Guid proposalId, MetaAnswer answer)
    {
        if (_answerOrder.Count == JournalLimits.ProposalWindowMax) _answers.Remove(_answerOrder.Dequeue());
        _answers.Add(proposalId, answer);
        _answerOrder.Enqueue(proposalId);
    }

    private static long SizeOf(MetaPayload payload) => payload.Bytes.Length + payload.Manifest.Length + OverheadBytes;

    private sealed class EventStream
    {
        public long HighestSequenceNr;
        public readonly List<MetaEvent> Events = [];       // dense: the last one has HighestSequenceNr
        public readonly List<MetaSnapshot> Snapshots = []; // by sequence number

        public int CountUpTo(long sequenceNr)
        {
            if (Events.Count == 0 || sequenceNr < Events[0].SequenceNr) return 0;
            return (int)Math.Min(sequenceNr - Events[0].SequenceNr + 1, Events.Count);
        }
    }
}
