namespace Cluster.Node.Api;

/// <summary>What a node has for a recovery of the journal: who it is to the journal, and its copies with their headers.</summary>
public sealed record RecoveryResource
{
    public required string Node { get; init; }

    public required Guid NodeId { get; init; }

    /// <summary>The cluster of its journal, else of its store's data; zeroes: none.</summary>
    public required Guid Cluster { get; init; }

    /// <summary>`waits`: it has no journal and waits for one; `member`: it has.</summary>
    public required string State { get; init; }

    public Guid? Era { get; init; }

    /// <summary>The journal's leader that it hears; empty: none.</summary>
    public required string Leader { get; init; }

    public required bool HasLog { get; init; }

    public required IReadOnlyList<string> ControlMembers { get; init; }

    public required string JournalHost { get; init; }

    public required int JournalPort { get; init; }

    public required Guid StoreId { get; init; }

    public required ulong StoreOpenCount { get; init; }

    /// <summary>Of the newest opens, newest first (docs/disk-format.md), in hexadecimal digits.</summary>
    public required IReadOnlyList<string> StoreOpenMarks { get; init; }

    public required IReadOnlyList<RecoveryCopyResource> Copies { get; init; }

    /// <summary>Volumes that its log of the journal knows, while it hears no leader: a hint, for they may have been deleted, or moved, since. Null: it has none, or it was not read.</summary>
    public IReadOnlyList<RecoveryVolumeResource>? Catalogue { get; init; }

    /// <summary>Why that was not read; begins in the middle of a sentence, and has no full stop. Null: it was, or there is none.</summary>
    public string? CatalogueFailure { get; init; }

    /// <summary>Of all of the copies: a plan rests on them as they were.</summary>
    public required string Fingerprint { get; init; }
}

/// <summary>One copy of a volume in a node's store.</summary>
public sealed record RecoveryCopyResource
{
    public required string Volume { get; init; }

    /// <summary>The replica's header as it lies in the store (docs/disk-format.md), base64.</summary>
    public required byte[] Header { get; init; }

    public required ulong LastRecordEpoch { get; init; }

    public required ulong LastSequence { get; init; }

    /// <summary>Why the copy can't say what it holds; null: it can.</summary>
    public string? Damage { get; init; }
}

/// <summary>A volume of a journal's catalogue.</summary>
/// <param name="Name">Its full name.</param>
/// <param name="Nodes">By name, those that had a copy, or were to get one.</param>
public sealed record RecoveryVolumeResource(string Volume, string Name, IReadOnlyList<string> Nodes);

/// <summary>The journal goes on in this era, with these control members and what the image holds.</summary>
public sealed record RecoverRequest
{
    /// <summary>Of the node's copies, as the plan rests on them.</summary>
    public required string Fingerprint { get; init; }

    public required Guid Cluster { get; init; }

    public required Guid Era { get; init; }

    public required IReadOnlyList<RecoveryMemberRequest> Members { get; init; }

    /// <summary>What the journal begins with (docs/journal-format.md), base64.</summary>
    public required byte[] Image { get; init; }
}

/// <summary>A control member of the new era.</summary>
public sealed record RecoveryMemberRequest
{
    public required string Name { get; init; }

    public required Guid NodeId { get; init; }

    public required string Host { get; init; }

    public required int Port { get; init; }
}
