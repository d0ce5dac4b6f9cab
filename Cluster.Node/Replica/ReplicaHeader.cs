using System.Collections.Immutable;
using System.IO.Hashing;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Replica;

/// <summary>
/// What a replica must never forget, kept in the store's log and replaced as a whole. On media before anything that relies on it is said (R2, P7).
/// <code>
/// version u8 | cluster id 16 B | era 16 B | volume u64 | replica u32 | identity 16 B
/// | promised epoch u64 | promised to (node) 16 B | in-sync epoch u64 | in-sync version u64 | start sequence u64
/// | catching up u8 | catch-up from u64 | catch-up join u64 | spec: u32 length, bytes
/// | from version 2 on: catch-up cursor u64, scrub mark 96 B
/// | from version 3 on: the members of that in-sync version (see StampedMembers; marks of their opens from version 4 on) | hash u64 (XxHash3-64 of all before it)
/// </code>
/// </summary>
/// <param name="Identity">Chosen by placement for this copy (R5).</param>
/// <param name="InSyncEpoch">The last epoch in which this replica was stamped as a member of the in-sync set (R3).</param>
/// <param name="CatchUpFrom">While catching up: the end of the prefix that was certain when it began (R8).</param>
/// <param name="CatchUpJoin">While catching up, with a cursor: the blocks below it hold all up to this sequence. Without one it says nothing.</param>
/// <param name="CatchUpCursor">While catching up: the block to go on from; 0: from the start.</param>
public sealed record ReplicaHeader(
    Guid ClusterId, Guid Era, VolumeId Volume, ReplicaId Replica, Guid Identity,
    ulong PromisedEpoch, NodeId PromisedTo, ulong InSyncEpoch, ulong InSyncVersion, ulong StartSequence,
    bool CatchingUp, ulong CatchUpFrom, ulong CatchUpJoin, byte[] Spec, ulong CatchUpCursor = 0, ScrubMark Scrub = default)
{
    private const byte Version = 4;
    private const byte VersionOldest = 1;
    private const int FixedBytes = 1 + 16 + 16 + 8 + 4 + 16 + 8 + 16 + 8 + 8 + 8 + 1 + 8 + 8 + 4 + 8;
    private const int AddedBytes = 8 + ScrubMark.SizeBytes;

    /// <summary>Who is in that in-sync version, as stamped with it (P7). Empty: never stamped, or by a version that did not name them.</summary>
    public ImmutableArray<StampedMember> Members { get; init; } = [];

    /// <summary>The open at which this very copy was confirmed on the store that holds this header (R5).</summary>
    public StoreOpenStamp StampedOpen(Guid storeId)
    {
        foreach (var member in Members)
        {
            if (member.Id == Replica && member.StoreId == storeId) return new StoreOpenStamp(member.StoreOpenCount, member.StoreOpenMark);
        }
        return default;
    }

    public byte[] Encode()
    {
        var bytes = new byte[FixedBytes + AddedBytes + Spec.Length + StampedMembers.Measure(Members)];
        var writer = new BodyWriter(bytes);
        writer.U8(Version);
        writer.Guid(ClusterId);
        writer.Guid(Era);
        writer.U64(Volume.Value);
        writer.Replica(Replica);
        writer.Guid(Identity);
        writer.U64(PromisedEpoch);
        writer.Guid(PromisedTo.Value);
        writer.U64(InSyncEpoch);
        writer.U64(InSyncVersion);
        writer.U64(StartSequence);
        writer.Bool(CatchingUp);
        writer.U64(CatchUpFrom);
        writer.U64(CatchUpJoin);
        writer.Bytes(Spec);
        writer.U64(CatchUpCursor);
        writer.Raw(Scrub.Encode(stackalloc byte[ScrubMark.SizeBytes]));
        StampedMembers.Write(ref writer, Members);
        writer.U64(XxHash3.HashToUInt64(writer.Written));
        return bytes;
    }

    /// <summary>Null for anything that <see cref="Encode"/> of this or an older version did not write; the replica then counts as lost, never as empty (R5).</summary>
    public static ReplicaHeader? TryDecode(ReadOnlySpan<byte> from)
    {
        if (from.Length < FixedBytes || from[0] is < VersionOldest or > Version) return null;
        var reader = new BodyReader(from);
        reader.U8();
        var header = new ReplicaHeader(reader.Guid(), reader.Guid(), new VolumeId(reader.U64()), reader.Replica(), reader.Guid(),
            reader.U64(), new NodeId(reader.Guid()), reader.U64(), reader.U64(), reader.U64(),
            reader.Bool(), reader.U64(), reader.U64(), reader.Bytes(from.Length).ToArray());
        if (from[0] >= 2)
        {
            var cursor = reader.U64();
            if (!ScrubMark.TryDecode(reader.Raw(ScrubMark.SizeBytes), out var scrub)) return null;
            header = header with { CatchUpCursor = cursor, Scrub = scrub };
        }
        if (from[0] >= 3)
        {
            if (!StampedMembers.TryRead(ref reader, out var members, hasMarks: from[0] >= 4)) return null;
            header = header with { Members = members };
        }
        var hash = XxHash3.HashToUInt64(from[..^8]);
        return reader.U64() == hash && reader.AtEnd ? header : null;
    }
}
