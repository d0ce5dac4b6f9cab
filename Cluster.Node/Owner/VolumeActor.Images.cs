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

    /// <summary>
    /// Of a deleted volume nothing is kept but that it was: an image of about a hundred bytes, and its last event, the deletion. Who reads on from an older place finds by that event that others are gone,
    /// and turns to the image. And whoever had loaded an older image, or none, before this one was there, and replays what is left then, finds it deleted too (R22): with no event left, a
    /// Create that was delayed would pass its compare and set.
    /// </summary>
    private const long EventsKeptOfDeleted = 1;

    private long EventsKeptNow => _state.Deleted ? EventsKeptOfDeleted : EventsKept;

    private long _imagedAt;

    /// <summary>The image that was there is the last one: that of a deleted volume.</summary>
    private bool _isTombstoneThere;

    private void RecoverImages() => Recover<SnapshotOffer>(offer =>
    {
        _state = _state.Apply((VolumeEvent)offer.Snapshot);
        _imagedAt = offer.Metadata.SequenceNr;
        _isTombstoneThere = _state.Deleted;
    });

    private void CommandImages()
    {
        Command<SaveSnapshotSuccess>(saved =>
        {
            LetGo(saved.Metadata.SequenceNr);
            LeaveIfDeleted();
        });
        Command<SaveSnapshotFailure>(failed =>
        {
            _log.Warning("volume {0}: its state can't be kept as a whole now, all its events stay: {1}", _volume, failed.Cause.Message);
            LeaveIfDeleted();
        });
        Command<DeleteMessagesSuccess>(_ => { });
        Command<DeleteMessagesFailure>(failed => _log.Warning("volume {0}: events up to {1} can't be let go now: {2}", _volume, failed.ToSequenceNr, failed.Cause.Message));
        Command<DeleteSnapshotsSuccess>(_ => { });
        Command<DeleteSnapshotsFailure>(failed => _log.Warning("volume {0}: older images can't be let go now: {1}", _volume, failed.Cause.Message));
    }

    /// <summary>What the image of this place makes needless. Where nothing is left of it that costs a read of the journal each, and no write (the plug-ins look first).</summary>
    private void LetGo(long imaged)
    {
        if (imaged > EventsKeptNow) DeleteMessages(imaged - EventsKeptNow);
        // To Akka 0 is no bound at all.
        if (imaged > 1) DeleteSnapshots(new SnapshotSelectionCriteria(imaged - 1));
    }

    /// <summary>One that was deleted is looked at again: whoever deleted it may have died before its image was there, or before its events were gone.</summary>
    private void KeepImageOfDeleted()
    {
        if (!_isTombstoneThere || _imagedAt != LastSequenceNr)
        {
            KeepImage();
            return;
        }
        LetGo(_imagedAt);
        LeaveIfDeleted();
    }

    /// <summary>Nothing is left to do here: else each volume that there ever was would keep an actor and a machine on a node until that ends. Whoever asks again starts it anew.</summary>
    private void LeaveIfDeleted()
    {
        if (_state.Deleted) Timers.StartSingleTimer("leave", Leave.Instance, EndedPause);
    }

    /// <summary>After each event. What fails is tried again with the next image.</summary>
    private void KeepImage()
    {
        if (!_state.Deleted && LastSequenceNr - _imagedAt < EventsPerImage) return;
        _imagedAt = LastSequenceNr;
        SaveSnapshot((_state.Deleted ? _state.Tombstone : _state).ImageOf(_volume));
    }
}
