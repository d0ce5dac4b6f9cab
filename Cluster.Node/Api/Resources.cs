namespace Cluster.Node.Api;

/// <summary>A volume as REST and the CLI show it. Numbers stay below 2^53, so that every JSON reader keeps them exact.</summary>
public sealed record VolumeResource
{
    public required string Name { get; init; }

    public required string Namespace { get; init; }

    public required string Id { get; init; }

    public required ulong SizeBytes { get; init; }

    /// <summary>healthy, degraded (fewer copies in sync than asked for), held (I/O waits), starting or deleting.</summary>
    public required string State { get; init; }

    /// <summary>Why the state is not healthy, in one sentence; empty when it is.</summary>
    public string Reason { get; init; } = "";

    /// <summary>Name of the node that serves the volume now; null while none does.</summary>
    public string? Owner { get; init; }

    public ulong Epoch { get; init; }

    /// <summary>Copies that were asked for.</summary>
    public required int ReplicaCount { get; init; }

    /// <summary>Copies that must be in sync before a write is acknowledged.</summary>
    public required int InSyncMin { get; init; }

    /// <summary>True for a volume of one copy: the loss of its disk loses the data.</summary>
    public bool SingleCopy { get; init; }

    public IReadOnlyList<ReplicaResource> Replicas { get; init; } = [];

    public IReadOnlyDictionary<string, string> Labels { get; init; } = new Dictionary<string, string>();

    public required AttachmentResource Attachment { get; init; }

    /// <summary>Bytes of the blocks that were written and not trimmed since: what a file system would call used. Null while no owner tells.</summary>
    public ulong? UsedBytes { get; init; }

    /// <summary>Bytes that one copy takes for them, as encoded: what compression and zeroes leave.</summary>
    public ulong? StoredBytes { get; init; }

    /// <summary>Bytes that one copy takes for what only snapshots still have.</summary>
    public ulong? SnapshotBytes { get; init; }

    /// <summary>Bytes on one copy that a clone shares with the volume it came from: they are counted there, or kept for the clones alone. 0 for any other volume.</summary>
    public ulong? SharedBytes { get; init; }

    /// <summary>What the volume was cloned from; null: nothing.</summary>
    public VolumeSourceResource? Source { get; init; }

    /// <summary>Sequence of the newest write that the owner has ordered.</summary>
    public ulong Sequence { get; init; }

    /// <summary>How many snapshots it has; 0 while its owner does not answer.</summary>
    public int Snapshots { get; init; }

    /// <summary>From which nodes it is used, and why its owner is or is not there; empty: from none.</summary>
    public string Usage { get; init; } = "";

    /// <summary>What waited for its limits (labels iops-max and bandwidth-max); null: it has none, or no owner tells.</summary>
    public VolumeThrottlingResource? Throttling { get; init; }

    /// <summary>Changes with every change of size, labels, attachment or placement; the ETag is this in quotes, in the answer to a GET with a hash of all that is answered behind it.</summary>
    public required string Revision { get; init; }
}

/// <summary>Since its owner began to serve it.</summary>
public sealed record VolumeThrottlingResource
{
    /// <summary>Requests that waited.</summary>
    public required ulong Ios { get; init; }

    /// <summary>How long they did, all together.</summary>
    public required ulong WaitedMilliseconds { get; init; }

    /// <summary>Requests that wait now.</summary>
    public required int Waiting { get; init; }
}

/// <summary>What a volume was cloned from. It may be gone, or its name given to another one.</summary>
public sealed record VolumeSourceResource
{
    /// <summary>Its full name then.</summary>
    public required string Volume { get; init; }

    public required string Id { get; init; }

    /// <summary>Name of the snapshot; null: the volume as it was at that moment.</summary>
    public string? Snapshot { get; init; }

    /// <summary>The clone begins with all that the origin had written up to here.</summary>
    public required ulong Sequence { get; init; }
}

/// <summary>One copy of a volume.</summary>
public sealed record ReplicaResource
{
    public required string Node { get; init; }

    /// <summary>
    /// in-sync, unreachable (in sync when last heard of), catching-up, queued (it waits for other catch-ups to end), slow (out until it has answered well for a
    /// while), offline, lost, or placed (nothing was copied to it yet).
    /// </summary>
    public required string State { get; init; }

    public required string Replica { get; init; }

    public ulong AppendedSequence { get; init; }

    /// <summary>Bytes sent by the present or the last catch-up of this copy.</summary>
    public ulong CatchUpBytesSent { get; init; }

    /// <summary>Bytes that the present or the last catch-up of this copy has to send, as estimated.</summary>
    public ulong CatchUpBytesTotal { get; init; }

    /// <summary>How fast the present catch-up goes; 0 while none does.</summary>
    public ulong CatchUpBytesPerSecond { get; init; }

    /// <summary>When the present catch-up will have sent all, at that pace; null while that is not known.</summary>
    public long? CatchUpEtaSeconds { get; init; }
}

/// <summary>Who may use the volume.</summary>
public sealed record AttachmentResource
{
    /// <summary>shared (any node) or exclusive (one session on one node).</summary>
    public required string Mode { get; init; }

    public ulong Generation { get; init; }

    /// <summary>The node an exclusive attachment names; null otherwise.</summary>
    public string? Node { get; init; }
}

/// <summary>The scrub of a volume: all written blocks of all in-sync copies are read, compared and mended.</summary>
public sealed record ScrubResource
{
    /// <summary>idle, running, or waiting (for a copy that does not answer; see the reason).</summary>
    public required string State { get; init; }

    public string Reason { get; init; } = "";

    /// <summary>The scrub under way; null when idle.</summary>
    public ScrubCountsResource? Now { get; init; }

    /// <summary>The last scrub that ended; null when there was none.</summary>
    public ScrubCountsResource? Last { get; init; }

    public DateTimeOffset? LastEndedAt { get; init; }

    /// <summary>When the next one is due; null while one is under way, or when they start only when asked for.</summary>
    public DateTimeOffset? NextAt { get; init; }

    /// <summary>What there is to read on each copy, about: what a clone shares with its origin too, and not what is kept for clones of deleted snapshots.</summary>
    public ulong StoredBytes { get; init; }

    /// <summary>The most that the owner's node reads for scrubs.</summary>
    public ulong BytesPerSecond { get; init; }
}

/// <summary>What one scrub found. Blocks of 4 KiB count once per copy on which they were bad or differed.</summary>
public sealed record ScrubCountsResource
{
    public required DateTimeOffset StartedAt { get; init; }

    /// <summary>Bytes read on each copy.</summary>
    public ulong CheckedBytes { get; init; }

    /// <summary>Written anew from a good copy.</summary>
    public ulong MendedBlocks { get; init; }

    /// <summary>Another version than the one that the copies agree on; mended too.</summary>
    public ulong DifferingBlocks { get; init; }

    /// <summary>Good on no in-sync copy: reads of them fail until they are written anew.</summary>
    public ulong LostBlocks { get; init; }
}

/// <summary>A member of the cluster.</summary>
public sealed record NodeResource
{
    public required string Name { get; init; }

    public required string Id { get; init; }

    /// <summary>up, unreachable or down; unknown while the placement service does not answer.</summary>
    public required string State { get; init; }

    /// <summary>True: no new copies are placed here.</summary>
    public bool Cordoned { get; init; }

    /// <summary>True: it is cordoned until it has started anew, and takes itself back then.</summary>
    public bool CordonedForRestart { get; init; }

    public string? Zone { get; init; }

    /// <summary>Base address of the node's REST API.</summary>
    public string? Api { get; init; }

    /// <summary>Address of the node's NBD server; add "/NAME" for a volume.</summary>
    public string? Nbd { get; init; }

    public ulong CapacityBytes { get; init; }

    /// <summary>What new data finds room for there; of it, some is cleaned away first.</summary>
    public ulong FreeBytes { get; init; }

    /// <summary>What volumes and snapshots have there, as stored: what cleaning can't free.</summary>
    public ulong UsedBytes { get; init; }

    /// <summary>Sizes of the volumes with a copy there, or one on its way: what it has promised.</summary>
    public ulong ProvisionedBytes { get; init; }

    /// <summary>What it may promise, in percent of its capacity; null: there is no limit.</summary>
    public int? OverCommitPercent { get; init; }

    public string? Version { get; init; }

    /// <summary>Disks of the node's store, its own directory first; those that are missing too.</summary>
    public IReadOnlyList<DiskResource> Disks { get; init; } = [];

    /// <summary>Stored bytes of blocks that lie on a disk that is missing, and are not mended from other copies yet.</summary>
    public ulong MissingBytes { get; init; }
}

/// <summary>One disk of a node's store.</summary>
public sealed record DiskResource
{
    /// <summary>By its label; it stays the same wherever the disk is mounted.</summary>
    public required string Id { get; init; }

    /// <summary>Directory, on the node's host.</summary>
    public required string Path { get; init; }

    /// <summary>
    /// in-use, failing (a call failed: no new data goes there), missing (the store goes on without it), failed (it is left alone until it is forgotten), suspect (much slower than the others, or
    /// erring: no new data goes there, and what is there is moved away, unless it is the store's own directory), draining (an operator wants that) or drained (and nothing is left on it).
    /// </summary>
    public required string State { get; init; }

    /// <summary>One sentence: what is wrong, or how far a drain is; else empty.</summary>
    public string Problem { get; init; } = "";

    public ulong FreeBytes { get; init; }

    /// <summary>Segments of the store that lie there.</summary>
    public ulong UsedBytes { get; init; }

    /// <summary>Running mean of what a write, and an fdatasync, took there lately.</summary>
    public double WriteMs { get; init; }

    public double SyncMs { get; init; }

    /// <summary>Calls that failed, and blocks with bad bytes, since the node started.</summary>
    public long Errors { get; init; }
}

/// <summary>How far a node's drain is.</summary>
public sealed record DrainResource
{
    public required string Node { get; init; }

    /// <summary>drained (no volume is served there), or draining: ask again.</summary>
    public required string State { get; init; }

    /// <summary>Volumes that this request moved.</summary>
    public int Moved { get; init; }

    /// <summary>Volumes that are still served by the node.</summary>
    public int Left { get; init; }

    /// <summary>What it waits for, one sentence each; empty when it is done.</summary>
    public IReadOnlyList<string> Waits { get; init; } = [];

    /// <summary>Before a restart: volumes that no other node can serve, one sentence each. They stay, are not counted as left, and are away until the node is back.</summary>
    public IReadOnlyList<string> Stays { get; init; } = [];
}

/// <summary>The cluster at a glance, as the answering node sees it.</summary>
public sealed record StatusResource
{
    public required string ClusterId { get; init; }

    /// <summary>healthy, degraded or unavailable.</summary>
    public required string State { get; init; }

    /// <summary>One sentence per thing that is wrong; empty when nothing is.</summary>
    public IReadOnlyList<string> Reasons { get; init; } = [];

    /// <summary>One sentence per thing that will be wrong if nobody acts; they don't change the state.</summary>
    public IReadOnlyList<string> Warnings { get; init; } = [];

    public required string Version { get; init; }

    /// <summary>The node that answered.</summary>
    public required string AnsweredBy { get; init; }

    /// <summary>Name of the node that leads the journal; null while none is known.</summary>
    public string? JournalLeader { get; init; }

    /// <summary>The nodes that keep the journal, by name: a majority of them must run. Empty where the answering node does not know them yet.</summary>
    public IReadOnlyList<ControlNodeResource> ControlNodes { get; init; } = [];

    /// <summary>Name of the node that hosts the placement singleton; null while none is known.</summary>
    public string? PlacementHost { get; init; }

    public int NodesUp { get; init; }

    public int NodesTotal { get; init; }

    public int VolumesTotal { get; init; }

    /// <summary>Volumes by state.</summary>
    public IReadOnlyDictionary<string, int> Volumes { get; init; } = new Dictionary<string, int>();
}

/// <summary>A node that votes on what is in the journal.</summary>
/// <param name="Reachable">Whether the answering node hears from it.</param>
public sealed record ControlNodeResource(string Name, bool Reachable);

/// <summary>A volume that a front end of the answering node has open: an NBD client, or a device of its host; or that an operator or Docker has on that host.</summary>
/// <param name="Volume">Its full name.</param>
/// <param name="OutsideCsi">An operator (`volume attach`) or Docker has it on that host, whatever CSI has.</param>
/// <param name="Generation">Of the operator's attachment; null: Docker has it, or none of the two.</param>
/// <param name="Open">A front end has it open now.</param>
public sealed record OpenVolumeResource(string Volume, bool OutsideCsi = false, ulong? Generation = null, bool Open = true)
{
    /// <summary>Whether it is used there, of a volume whose attachment is of <paramref name="generation"/> now: an operator's older one has ended.</summary>
    /// <param name="outsideCsi">Only by an operator or Docker.</param>
    public bool IsUse(ulong generation, bool outsideCsi) => (OutsideCsi && !(Generation < generation)) || (Open && !outsideCsi);
}

/// <summary>One journaled event of a volume, newest last.</summary>
public sealed record VolumeEventResource(long Number, string Kind, string Text);
