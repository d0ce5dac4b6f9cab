using Akka.Event;
using Akka.Persistence;
using Cluster.Messages.Events;

namespace Cluster.Node.Owner;

// The journal is bounded, and so is what a volume may take of it: now and then the state is kept as a whole, and what led to it is let go. In this order: the image is in the
// journal before the deletion is proposed. Whoever does it was never told anything wrong: also of an owner that was deposed meanwhile the image is what the events up to its place make.
public sealed partial class VolumeActor
{
    /// <summary>Events between two images.</summary>
    public const int EventsPerImage = 128;

    /// <summary>Events before an image that are kept, for `volume explain`.</summary>
    public const int EventsKept = 128;

    /// <summary>Of a deleted volume nothing is kept but that it was: none of its events, and an image of about a hundred bytes.</summary>
    private long EventsKeptNow => _state.Deleted ? 0 : EventsKept;

    private long _imagedAt;

    private void RecoverImages() => Recover<SnapshotOffer>(offer =>
    {
        _state = _state.Apply((VolumeEvent)offer.Snapshot);
        _imagedAt = offer.Metadata.SequenceNr;
    });

    private void CommandImages()
    {
        Command<SaveSnapshotSuccess>(saved =>
        {
            if (saved.Metadata.SequenceNr > EventsKeptNow) DeleteMessages(saved.Metadata.SequenceNr - EventsKeptNow);
            // To Akka 0 is no bound at all.
            if (saved.Metadata.SequenceNr > 1) DeleteSnapshots(new SnapshotSelectionCriteria(saved.Metadata.SequenceNr - 1));
        });
        Command<SaveSnapshotFailure>(failed => _log.Warning("volume {0}: its state can't be kept as a whole now, all its events stay: {1}", _volume, failed.Cause.Message));
        Command<DeleteMessagesSuccess>(_ => { });
        Command<DeleteMessagesFailure>(failed => _log.Warning("volume {0}: events up to {1} can't be let go now: {2}", _volume, failed.ToSequenceNr, failed.Cause.Message));
        Command<DeleteSnapshotsSuccess>(_ => { });
        Command<DeleteSnapshotsFailure>(failed => _log.Warning("volume {0}: older images can't be let go now: {1}", _volume, failed.Cause.Message));
    }

    /// <summary>After each event, and when one that was deleted is looked at again: whoever deleted it may have died before its events were gone. What fails is tried again with the next image.</summary>
    private void KeepImage()
    {
        if (!_state.Deleted && LastSequenceNr - _imagedAt < EventsPerImage) return;
        _imagedAt = LastSequenceNr;
        SaveSnapshot((_state.Deleted ? _state.Tombstone : _state).ImageOf(_volume));
    }
}
