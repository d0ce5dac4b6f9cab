using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;

namespace Cluster.Node.Owner;

// The state as a whole: kept now and then, so that the events before need not be (VolumeActor.Images.cs).
public sealed partial record VolumeState
{
    public VolumeImage ImageOf(VolumeId volume) => new(volume, Spec, Replicas, SpecRevision, LastReplica, CopiesInForce, Epoch, EpochNodeName, Opened, Version, InSync,
        [.. EverInSync.Values.OrderBy(member => member.Id.Number)], History, HistoryCut, ForgottenAfter, ForgottenBefore, Attachment, Snapshots, Clones, RecoveredUpTo,
        [.. RecoveredAndDeleted.Order()], Deleted, RestoringTo);

    /// <summary>Of a deleted volume: that it was, and what no stale epoch may be above.</summary>
    public VolumeState Tombstone => new() { Deleted = Deleted, LastReplica = LastReplica, Epoch = Epoch, Opened = Opened, Version = Version, SpecRevision = SpecRevision };

    private static VolumeState Of(VolumeImage image) => new()
    {
        Spec = image.Spec,
        Replicas = image.Replicas,
        SpecRevision = image.SpecRevision,
        LastReplica = image.LastReplica,
        CopiesInForce = image.CopiesInForce,
        Epoch = image.Epoch,
        EpochNodeName = image.EpochNodeName,
        Opened = image.Opened,
        Version = image.Version,
        InSync = image.InSync,
        EverInSync = ImmutableDictionary.CreateRange(ById(image.EverInSync)),
        History = image.History,
        HistoryCut = image.HistoryCut,
        ForgottenAfter = image.ForgottenAfter,
        ForgottenBefore = image.ForgottenBefore,
        Attachment = image.Attachment,
        Snapshots = image.Snapshots,
        Clones = image.Clones,
        RecoveredUpTo = image.RecoveredUpTo,
        RecoveredAndDeleted = [.. image.RecoveredAndDeleted],
        Deleted = image.Deleted,
        RestoringTo = image.RestoringTo,
    };
}
