using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;

namespace Cluster.Node.Owner;

/// <summary>A volume as its journal says it is: the fold of its events, the same at every reader. Immutable.</summary>
public sealed partial record VolumeState
{
    /// <summary>Opened epochs kept for finding forks; a replica older than all of them is copied in full.</summary>
    public const int OpenedKeptMax = 128;

    public static readonly VolumeState Empty = new();

    public VolumeSpec? Spec { get; init; }

    public ImmutableArray<ReplicaPlacement> Replicas { get; init; } = [];

    /// <summary>Of the newest change of the spec.</summary>
    public ulong SpecRevision { get; init; }

    /// <summary>The highest number that a copy had. One up to it that is not among <see cref="Replicas"/> is gone for ever.</summary>
    public ushort LastReplica { get; init; }

    /// <summary>
    /// The number of copies that the minimum is taken of. It follows the spec down at once, and up once so many are in sync that the new minimum
    /// holds nothing up: a volume that gets more copies serves while they are made, with no less than it had before.
    /// </summary>
    public int CopiesInForce { get; init; }

    /// <summary>Copies that must be in sync before a write is acknowledged (R7).</summary>
    public int InSyncMin => Spec?.InSyncMinOf(CopiesInForce) ?? 0;

    /// <summary>The newest epoch claimed; all below it are deposed.</summary>
    public Epoch Epoch { get; init; }

    public string EpochNodeName { get; init; } = "";

    public Epoch Opened { get; init; }

    public ulong Version { get; init; }

    public ImmutableArray<InSyncMember> InSync { get; init; } = [];

    /// <summary>Of the copies that there are those that have been in sync at any time, as they were last vouched for: without a header they are lost, never empty (R5).</summary>
    public ImmutableDictionary<ReplicaId, InSyncMember> EverInSync { get; init; } = ImmutableDictionary<ReplicaId, InSyncMember>.Empty;

    /// <summary>Ascending; the newest <see cref="OpenedKeptMax"/>.</summary>
    public ImmutableArray<OpenedEpoch> History { get; init; } = [];

    public bool HistoryCut { get; init; }

    /// <summary>Of the epochs between these two nothing is known: the volume was recovered from copies that end with a record of the first one.</summary>
    public ulong ForgottenAfter { get; init; }

    public ulong ForgottenBefore { get; init; }

    public Attachment Attachment { get; init; } = Attachment.Default;

    /// <summary>Ascending by sequence.</summary>
    public ImmutableArray<VolumeSnapshot> Snapshots { get; init; } = [];

    /// <summary>Their snapshots may not be deleted. At most <see cref="ClonesMax"/>.</summary>
    public ImmutableArray<StartedClone> Clones { get; init; } = [];

    /// <summary>The sequence of the snapshot to which the volume is being put back; 0: none. Until that has ended it is neither what it was nor what it will be.</summary>
    public ulong RestoringTo { get; init; }

    /// <summary>Clones that may be made of a volume at one time.</summary>
    public const int ClonesMax = 256;

    /// <summary>A snapshot up to here that the volume's copies have was there before its journal was lost (P7); 0: that never was.</summary>
    public ulong RecoveredUpTo { get; init; }

    /// <summary>Of those, the ones that were adopted and deleted since: never again. At most <see cref="Limits.SnapshotsMax"/>.</summary>
    public ImmutableHashSet<ulong> RecoveredAndDeleted { get; init; } = [];

    public bool Deleted { get; init; }

    public ReplicaPlacement? Placement(ReplicaId id)
    {
        foreach (var replica in Replicas)
        {
            if (replica.Id == id) return replica;
        }
        return null;
    }

    public InSyncMember? Member(ReplicaId id)
    {
        foreach (var member in InSync)
        {
            if (member.Id == id) return member;
        }
        return null;
    }

    /// <summary>
    /// Where a log that ends at <paramref name="last"/>, with a record of epoch <paramref name="epoch"/>, leaves the order of the newest opened epoch:
    /// what an epoch's owner sequenced holds up to the lowest start of those opened after it. That need not be the next one's: what it took over may have been lost later, with the
    /// power of every copy. Null when the epoch is older than the history kept, or forgotten.
    /// </summary>
    public ulong? Fork(ulong epoch, ulong last)
    {
        if (last == 0) return 0;
        if (HistoryCut && History.Length > 0 && epoch < History[0].Epoch) return null;
        if (epoch > ForgottenAfter && epoch < ForgottenBefore) return null;
        var fork = last;
        foreach (var opened in History)
        {
            if (opened.Epoch > epoch) fork = Math.Min(fork, opened.StartSequence);
        }
        return fork;
    }

    /// <summary>Whether the order of the epoch that was opened before the newest one had the record of that epoch and sequence (R13).</summary>
    public bool WasInOrder(ulong epoch, ulong sequence) =>
        History.Length > 0 && (this with { History = History.RemoveAt(History.Length - 1) }).Fork(epoch, sequence) == sequence;

    /// <summary>
    /// Whether a node that has lost sight of the owner of that epoch may still take the volume over by itself: nobody has claimed it since, and the owner
    /// has not taken the node's copy out of the set meanwhile.
    /// </summary>
    public bool MayClaimEarly(NodeId node, ulong epoch)
    {
        if (Spec is null || Deleted || Epoch.Value != epoch) return false;
        foreach (var replica in Replicas)
        {
            if (replica.Node == node) return Member(replica.Id) is not null;
        }
        return false;
    }

    /// <summary>Whether a snapshot that the copies have and the journal has not is one that was lost with the journal (P7).</summary>
    public bool MayAdopt(ulong snapshot) =>
        snapshot <= RecoveredUpTo && !RecoveredAndDeleted.Contains(snapshot) && !Snapshots.Any(known => known.Sequence == snapshot);

    public VolumeState Apply(VolumeEvent e) => e switch
    {
        VolumeCreated created => this with
        {
            Spec = created.Spec,
            Replicas = created.Replicas,
            CopiesInForce = created.Spec.Replicas,
            LastReplica = created.Replicas.Select(replica => replica.Id.Number).DefaultIfEmpty().Max(),
        },
        EpochStarted started => this with { Epoch = started.Epoch, EpochNodeName = started.NodeName },
        EpochOpened opened => ApplyOpened(opened),
        InSyncChanged changed => (this with
        {
            Version = changed.Version,
            InSync = changed.Members,
            EverInSync = EverInSync.SetItems(ById(changed.Members)),
        }).RaiseMinimum(),
        ReplicaAdded added => this with
        {
            Replicas = Replicas.Add(added.Replica),
            LastReplica = Math.Max(LastReplica, added.Replica.Id.Number),
        },
        ReplicaRemoved removed => this with { Replicas = Replicas.RemoveAll(replica => replica.Id == removed.Replica), EverInSync = EverInSync.Remove(removed.Replica) },
        AttachmentChanged attached => this with { Attachment = attached.Attachment },
        SpecChanged changed => (this with
        {
            Spec = changed.Spec,
            SpecRevision = Math.Max(SpecRevision, changed.Revision),
            CopiesInForce = Math.Min(CopiesInForce, changed.Spec.Replicas),
        }).RaiseMinimum(),
        SnapshotCreated created => this with { Snapshots = WithSnapshot(new VolumeSnapshot(created.Sequence, created.Name, created.UnixMs)) },
        SnapshotDeleted deleted => this with
        {
            Snapshots = Snapshots.RemoveAll(snapshot => snapshot.Sequence == deleted.Sequence),
            RecoveredAndDeleted = deleted.Sequence <= RecoveredUpTo ? RecoveredAndDeleted.Add(deleted.Sequence) : RecoveredAndDeleted,
        },
        CloneStarted started => this with { Clones = Clones.RemoveAll(clone => clone.Name == started.CloneName).Add(new StartedClone(started.Sequence, started.CloneName, started.UnixMs)) },
        CloneEnded ended => this with { Clones = Clones.RemoveAll(clone => clone.Name == ended.CloneName) },
        RestoreStarted started => this with { RestoringTo = started.Sequence },
        RestoreEnded => this with { RestoringTo = 0 },
        VolumeRecovered recovered => ApplyRecovered(recovered),
        VolumeImage image => Of(image),
        VolumeDeleted => this with { Deleted = true },
        _ => throw new InvariantException($"volume {e.Volume}: the journal holds an event of the unknown type {e.GetType().Name}"),
    };

    /// <summary>Snapshots that are adopted are older than those that were made since.</summary>
    private ImmutableArray<VolumeSnapshot> WithSnapshot(VolumeSnapshot made)
    {
        var place = 0;
        while (place < Snapshots.Length && Snapshots[place].Sequence < made.Sequence) place++;
        return Snapshots.Insert(place, made);
    }

    /// <summary>The epochs before the last record's are unknown, as if they had been cut from the history.</summary>
    private static VolumeState ApplyRecovered(VolumeRecovered recovered) => Empty with
    {
        Spec = recovered.Spec,
        Replicas = recovered.Replicas,
        CopiesInForce = recovered.Spec.Replicas,
        LastReplica = recovered.Replicas.Max(replica => replica.Id.Number),
        Epoch = recovered.Epoch,
        Opened = recovered.Epoch,
        Version = recovered.Version,
        InSync = recovered.Members,
        EverInSync = Empty.EverInSync.SetItems(ById(recovered.Members)),
        History = [new OpenedEpoch(recovered.RecordEpoch, 0), new OpenedEpoch(recovered.Epoch.Value, recovered.StartSequence)],
        HistoryCut = true,
        RecoveredUpTo = recovered.StartSequence,
        ForgottenAfter = recovered.RecordEpoch,
        ForgottenBefore = recovered.Epoch.Value,
    };

    private VolumeState ApplyOpened(EpochOpened opened)
    {
        var history = History.Add(new OpenedEpoch(opened.Epoch.Value, opened.StartSequence));
        var cut = history.Length > OpenedKeptMax;
        return (this with
        {
            Opened = opened.Epoch,
            Version = opened.Version,
            InSync = opened.Members,
            EverInSync = EverInSync.SetItems(ById(opened.Members)),
            History = cut ? history.RemoveAt(0) : history,
            HistoryCut = HistoryCut || cut,
        }).RaiseMinimum();
    }

    private static IEnumerable<KeyValuePair<ReplicaId, InSyncMember>> ById(ImmutableArray<InSyncMember> members) =>
        members.Select(member => KeyValuePair.Create(member.Id, member));

    private VolumeState RaiseMinimum() =>
        Spec is { } spec && CopiesInForce < spec.Replicas && InSync.Length >= spec.InSyncMin ? this with { CopiesInForce = spec.Replicas } : this;
}
