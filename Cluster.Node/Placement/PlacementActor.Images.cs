using Akka.Event;
using Akka.Persistence;
using Cluster.Messages.Events;

namespace Cluster.Node.Placement;

// The journal is bounded, and so is what placement may take of it: as VolumeActor.Images.cs, and in the same order.
public sealed partial class PlacementActor
{
    /// <summary>Events between two images. More than of a volume: an image has every volume, a few hundred bytes for each.</summary>
    public const int EventsPerImage = 512;

    /// <summary>Events before an image that are kept: who reads the stream on from some place need not begin anew at each image.</summary>
    public const int EventsKept = 128;

    private long _imagedAt;
    private bool _saidNearlyFull;

    private void CommandImages()
    {
        Recover<SnapshotOffer>(offer =>
        {
            _state = _state.Apply((PlacementEvent)offer.Snapshot);
            _imagedAt = offer.Metadata.SequenceNr;
        });
        Command<SaveSnapshotSuccess>(saved =>
        {
            if (saved.Metadata.SequenceNr > EventsKept) DeleteMessages(saved.Metadata.SequenceNr - EventsKept);
            DeleteSnapshots(new SnapshotSelectionCriteria(saved.Metadata.SequenceNr - 1));
        });
        Command<SaveSnapshotFailure>(failed => _log.Warning("placement: the catalogue can't be kept as a whole now, all its events stay: {0}", failed.Cause.Message));
        Command<DeleteMessagesSuccess>(_ => { });
        Command<DeleteMessagesFailure>(failed => _log.Warning("placement: events up to {0} can't be let go now: {1}", failed.ToSequenceNr, failed.Cause.Message));
        Command<DeleteSnapshotsSuccess>(_ => { });
        Command<DeleteSnapshotsFailure>(failed => _log.Warning("placement: older images can't be let go now: {0}", failed.Cause.Message));
    }

    /// <summary>Said once on the way up, and again after it was well below.</summary>
    private void TellOfRoom()
    {
        const long nearlyFull = PlacementState.VolumesBytesMax / 10 * 9, ample = PlacementState.VolumesBytesMax / 10 * 8;
        if (_state.VolumesBytes < ample) _saidNearlyFull = false;
        if (_saidNearlyFull || _state.VolumesBytes < nearlyFull) return;
        _saidNearlyFull = true;
        _log.Warning("placement: the catalogue is nearly full: {0} volumes take {1} of {2} B; at that bound new ones are refused", _state.Volumes.Count, _state.VolumesBytes, PlacementState.VolumesBytesMax);
    }

    /// <summary>After each event. What fails is tried again with the next image.</summary>
    private void KeepImage()
    {
        TellOfRoom();
        if (LastSequenceNr - _imagedAt < EventsPerImage) return;
        _imagedAt = LastSequenceNr;
        SaveSnapshot(_state.Image);
    }
}
