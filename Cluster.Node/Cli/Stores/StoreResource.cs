using Cluster.Messages.Events;
using Cluster.Node.Hosting.Volumes;
using Cluster.Node.Replica;
using Cluster.Node.Store;

namespace Cluster.Node.Cli.Stores;

/// <summary>A store as `store show` prints it. Frozen: add, never rename.</summary>
internal sealed record StoreResource
{
    public required string Directory { get; init; }

    public required Guid StoreId { get; init; }

    public required Guid ClusterId { get; init; }

    /// <summary>Zero: not noted yet.</summary>
    public required Guid NodeId { get; init; }

    public required ulong OpenCount { get; init; }

    public required bool CleanStop { get; init; }

    public required bool SyncFailed { get; init; }

    /// <summary>The next open takes it that bytes may be gone (R9).</summary>
    public required bool Suspect { get; init; }

    public required uint SegmentBytes { get; init; }

    public required int Segments { get; init; }

    public required int FreeSegments { get; init; }

    public required long LiveBytes { get; init; }

    /// <summary>Of those, of volumes that are gone and whose clones still see them.</summary>
    public required long ClonesOnlyBytes { get; init; }

    /// <summary>The store's own directory first; those that are missing too.</summary>
    public required IReadOnlyList<StoreDiskResource> Disks { get; init; }

    /// <summary>Stored bytes of blocks that lie on disks that are missing.</summary>
    public required long MissingBytes { get; init; }

    /// <summary>Of 16 KiB: in a node's memory as far as map-cache goes, and else in its page file.</summary>
    public required long MapPages { get; init; }

    /// <summary>Of those, what only snapshots keep.</summary>
    public required long SnapshotPages { get; init; }

    public required ulong Checkpoint { get; init; }

    public required string LogEnd { get; init; }

    public required long ReplayBytes { get; init; }

    public required bool TornTail { get; init; }

    public required IReadOnlyList<StoreVolumeResource> Volumes { get; init; }

    public static StoreResource Of(StoreInspection store, string directory)
    {
        var segments = store.Segments;
        return new StoreResource
        {
            Directory = directory,
            StoreId = store.Superblock.StoreId,
            ClusterId = store.Superblock.ClusterId,
            NodeId = store.Superblock.NodeId,
            OpenCount = store.Superblock.Opens.Count,
            CleanStop = store.Superblock.CleanStop,
            SyncFailed = store.Superblock.SyncFailed,
            Suspect = store.IsSuspect,
            SegmentBytes = store.Superblock.SegmentBytes,
            Segments = segments.Count,
            FreeSegments = segments.Count(segment => segment.Number == 0),
            LiveBytes = segments.Sum(segment => segment.LiveBytes),
            ClonesOnlyBytes = store.ClonesOnlyBytes,
            Disks = [.. store.Disks.Select(disk => new StoreDiskResource(disk.Id.ToString("N"), disk.Path, StoreHealth.TextOf(disk.State), disk.Segments, disk.FreeBytes, disk.Problem))],
            MissingBytes = store.MissingBytes,
            MapPages = store.MapPages.Pages,
            SnapshotPages = store.MapPages.OfSnapshots,
            Checkpoint = store.Checkpoint,
            LogEnd = store.LogEnd.ToString(),
            ReplayBytes = store.ReplayedBytes,
            TornTail = store.WasCut,
            Volumes = [.. store.Volumes.Select(StoreVolumeResource.Of)],
        };
    }
}

/// <summary>One disk of a store. State: in-use, missing or failed; Problem: why, or "".</summary>
internal sealed record StoreDiskResource(string Id, string Path, string State, int Segments, long FreeBytes, string Problem);

/// <summary>One copy in a store. Damage: why it can't say what it holds, or "". Fields of a header that can't be read are at their defaults.</summary>
internal sealed record StoreVolumeResource
{
    public required string Id { get; init; }

    public string Name { get; init; } = "";

    public string Replica { get; init; } = "";

    public ulong SizeBytes { get; init; }

    public ulong PromisedEpoch { get; init; }

    public ulong InSyncEpoch { get; init; }

    public ulong InSyncVersion { get; init; }

    public IReadOnlyList<string> Members { get; init; } = [];

    public bool CatchingUp { get; init; }

    public required ulong LastSequence { get; init; }

    public required ulong CommittedSequence { get; init; }

    public required long Blocks { get; init; }

    public required long StoredBytes { get; init; }

    /// <summary>The volume whose blocks it shares here, and up to which sequence; null: none.</summary>
    public string? SharesWith { get; init; }

    public required string Damage { get; init; }

    public required bool HeaderIsGood { get; init; }

    public static StoreVolumeResource Of(IVolumeStore volume)
    {
        var header = ReplicaHeader.TryDecode(volume.Header.Span);
        var resource = new StoreVolumeResource
        {
            Id = volume.Volume.ToString(),
            LastSequence = volume.LastSequence,
            CommittedSequence = volume.CommitWatermark,
            Blocks = volume.Usage.MappedBlocks,
            StoredBytes = volume.Usage.StoredBytes,
            SharesWith = StoreInspection.BaseOf(volume),
            Damage = volume.Damage ?? "",
            HeaderIsGood = header is not null,
        };
        if (header is null) return resource;
        var isKnown = VolumeSpecCodec.TryDecode(header.Spec, out var spec);
        return resource with
        {
            Name = isKnown ? spec.FullName : "",
            SizeBytes = isKnown ? spec.SizeBytes : 0,
            Replica = header.Replica.ToString(),
            PromisedEpoch = header.PromisedEpoch,
            InSyncEpoch = header.InSyncEpoch,
            InSyncVersion = header.InSyncVersion,
            Members = [.. header.Members.Select(member => member.IsJoining ? $"{member.Copy.NodeName} (joining)" : member.Copy.NodeName)],
            CatchingUp = header.CatchingUp,
            HeaderIsGood = isKnown,
        };
    }
}
