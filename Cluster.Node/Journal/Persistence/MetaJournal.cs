using System.Collections.Immutable;
using Akka.Actor;
using Akka.Configuration;
using Akka.Persistence;
using Akka.Persistence.Journal;

namespace Cluster.Node.Journal.Persistence;

/// <summary>
/// Akka.Persistence over <see cref="IMetaLog"/>. Every batch of one persistence id is one compare and set on (id, sequence
/// number): it is
/// stored whole or not at all. A lost one is thrown, never reported as a rejection: a rejection would let a deposed actor go on.
/// </summary>
public sealed class MetaJournal : AsyncWriteJournal
{
    /// <summary>A batch is cut here, between atomic writes, so that no command comes near its limit.</summary>
    private const int BatchBytesMax = JournalLimits.CommandBytesMax / 4;

    private readonly IMetaLog _log;
    private readonly PayloadSerialization _payloads;

    public MetaJournal(Config config)
    {
        _log = MetaLogSetup.Of(Context.System);
        _payloads = new PayloadSerialization((ExtendedActorSystem)Context.System, config);
    }

    public override async Task ReplayMessagesAsync(
        IActorContext context, string persistenceId, long fromSequenceNr, long toSequenceNr, long max,
        Action<IPersistentRepresentation> recoveryCallback)
    {
        var events = _log.ReadEventsAsync(persistenceId, fromSequenceNr, toSequenceNr, max, CancellationToken.None);
        await foreach (var e in events.ConfigureAwait(false))
        {
            var payload = _payloads.Read(e.Payload);
            recoveryCallback(new Persistent(
                payload, e.SequenceNr, persistenceId, e.Payload.Manifest, false, ActorRefs.NoSender, e.WriterGuid, e.TimestampTicks));
        }
    }

    public override Task<long> ReadHighestSequenceNrAsync(string persistenceId, long fromSequenceNr, CancellationToken cancellationToken) =>
        _log.HighestSequenceNrAsync(persistenceId, cancellationToken);

    protected override async Task<IImmutableList<Exception?>?> WriteMessagesAsync(
        IEnumerable<AtomicWrite> messages, CancellationToken cancellationToken)
    {
        var batch = new List<MetaNewEvent>();
        var (id, writer, before, bytes) = ("", "", 0L, 0);
        foreach (var write in messages)
        {
            var payloads = (IImmutableList<IPersistentRepresentation>)write.Payload;
            var events = payloads.Select(p => new MetaNewEvent(DateTime.UtcNow.Ticks, _payloads.Write(p.Payload))).ToArray();
            var size = events.Sum(e => e.Payload.Bytes.Length);
            var fits = id == write.PersistenceId && write.LowestSequenceNr == before + batch.Count + 1
                && bytes + size <= BatchBytesMax && batch.Count + events.Length <= JournalLimits.EventsPerAppendMax;
            if (batch.Count > 0 && !fits)
            {
                await AppendAsync(id, before, writer, batch, cancellationToken).ConfigureAwait(false);
                batch = [];
            }
            if (batch.Count == 0)
                (id, writer, before, bytes) = (write.PersistenceId, payloads[0].WriterGuid, write.LowestSequenceNr - 1, 0);
            batch.AddRange(events);
            bytes += size;
        }
        if (batch.Count > 0) await AppendAsync(id, before, writer, batch, cancellationToken).ConfigureAwait(false);
        return null;                                           // nothing is ever rejected
    }

    /// <summary>Where there is nothing to delete the log gets no entry: what is deleted already is asked for again at every start of an actor.</summary>
    protected override async Task DeleteMessagesToAsync(string persistenceId, long toSequenceNr, CancellationToken cancellationToken)
    {
        await foreach (var _ in _log.ReadEventsAsync(persistenceId, 1, toSequenceNr, 1, cancellationToken).ConfigureAwait(false))
            await _log.ProposeAsync(new MetaCommand.DeleteEvents(persistenceId, toSequenceNr), cancellationToken).ConfigureAwait(false);
    }

    private async Task AppendAsync(string id, long before, string writer, IReadOnlyList<MetaNewEvent> events, CancellationToken ct)
    {
        var answer = await _log.ProposeAsync(new MetaCommand.AppendEvents(id, before, writer ?? "", events), ct).ConfigureAwait(false);
        if (answer.Status == MetaAnswerStatus.Conflict)
            throw new JournalFencedException(
                $"{id}: this writer is at {before}, the journal at {answer.Current}: another writer has taken over");
        if (answer.Status != MetaAnswerStatus.Ok)
            throw new JournalRejectedException($"{id}: the metadata journal is full ({JournalLimits.StateBytesMax} bytes)");
    }
}
