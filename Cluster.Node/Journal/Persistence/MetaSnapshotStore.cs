using Akka.Actor;
using Akka.Configuration;
using Akka.Persistence;
using Akka.Persistence.Snapshot;

namespace Cluster.Node.Journal.Persistence;

/// <summary>Akka.Persistence snapshots over <see cref="IMetaLog"/>; the newest few of each persistence id are kept.</summary>
public sealed class MetaSnapshotStore : SnapshotStore
{
    private readonly IMetaLog _log;
    private readonly PayloadSerialization _payloads;

    public MetaSnapshotStore(Config config)
    {
        _log = MetaLogSetup.Of(Context.System);
        _payloads = new PayloadSerialization((ExtendedActorSystem)Context.System, config);
    }

    protected override async Task<SelectedSnapshot?> LoadAsync(
        string persistenceId, SnapshotSelectionCriteria criteria, CancellationToken cancellationToken)
    {
        var found = await _log.LoadSnapshotAsync(persistenceId, RangeOf(criteria), cancellationToken).ConfigureAwait(false);
        if (found is null) return null;
        var metadata = new SnapshotMetadata(persistenceId, found.SequenceNr, new DateTime(found.TimestampTicks, DateTimeKind.Utc));
        return new SelectedSnapshot(metadata, _payloads.Read(found.Payload));
    }

    protected override async Task SaveAsync(SnapshotMetadata metadata, object snapshot, CancellationToken cancellationToken)
    {
        var stored = new MetaSnapshot(metadata.SequenceNr, metadata.Timestamp.Ticks, _payloads.Write(snapshot));
        var answer =
            await _log.ProposeAsync(new MetaCommand.SaveSnapshot(metadata.PersistenceId, stored), cancellationToken).ConfigureAwait(false);
        if (answer.Status == MetaAnswerStatus.Conflict)
            throw new JournalFencedException(
                $"{metadata.PersistenceId}: a snapshot at {metadata.SequenceNr}, but the journal is at {answer.Current}");
        if (answer.Status != MetaAnswerStatus.Ok)
            throw new JournalRejectedException(
                $"{metadata.PersistenceId}: the metadata journal is full ({JournalLimits.StateBytesMax} bytes)");
    }

    protected override Task DeleteAsync(SnapshotMetadata metadata, CancellationToken cancellationToken)
    {
        var range = MetaSnapshotRange.All with { SequenceNrMin = metadata.SequenceNr, SequenceNrMax = metadata.SequenceNr };
        return _log.ProposeAsync(new MetaCommand.DeleteSnapshots(metadata.PersistenceId, range), cancellationToken);
    }

    /// <summary>Where there is nothing to delete the log gets no entry, as with events.</summary>
    protected override async Task DeleteAsync(string persistenceId, SnapshotSelectionCriteria criteria, CancellationToken cancellationToken)
    {
        if (await _log.LoadSnapshotAsync(persistenceId, RangeOf(criteria), cancellationToken).ConfigureAwait(false) is null) return;
        await _log.ProposeAsync(new MetaCommand.DeleteSnapshots(persistenceId, RangeOf(criteria)), cancellationToken).ConfigureAwait(false);
    }

    private static MetaSnapshotRange RangeOf(SnapshotSelectionCriteria criteria) =>
        new(criteria.MinSequenceNr, criteria.MaxSequenceNr, criteria.MinTimestamp?.Ticks ?? 0, criteria.MaxTimeStamp.Ticks);
}
