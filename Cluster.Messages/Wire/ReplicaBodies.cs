using System.Collections.Immutable;
using Cluster.Messages.Model;

namespace Cluster.Messages.Wire;

/// <summary>
/// Asks a replica for its promise to refuse all below the frame's epoch (R2). Layout: owner's node | replica | identity | create u8 | spec bytes.
/// With <see cref="Create"/> a replica that has no header makes one: the journal says that this replica has never been in sync.
/// </summary>
public readonly record struct PromiseBody(NodeId Owner, ReplicaId Replica, Guid Identity, bool Create, byte[] Spec)
{
    public ReadOnlySpan<byte> Encode(Span<byte> to)
    {
        var writer = new BodyWriter(to);
        writer.Guid(Owner.Value);
        writer.Replica(Replica);
        writer.Guid(Identity);
        writer.Bool(Create);
        writer.Bytes(Spec);
        return to[..writer.Length];
    }

    public static bool TryDecode(ReadOnlySpan<byte> from, out PromiseBody body)
    {
        var reader = new BodyReader(from);
        body = new PromiseBody(new NodeId(reader.Guid()), reader.Replica(), reader.Guid(), reader.Bool(), reader.Bytes(from.Length).ToArray());
        return reader.AtEnd;
    }
}

/// <summary>
/// What a replica has, said after its promise is on media. Status Ok (promised), StaleEpoch (PromisedEpoch is higher) or Missing (no header).
/// </summary>
/// <param name="InSyncEpoch">The last epoch in which the replica was stamped as in sync (R3).</param>
/// <param name="LastRecordEpoch">Epoch of the record at <paramref name="LastSequence"/>; 0 with none.</param>
/// <param name="LastSequence">End of the replica's prefix; while catching up, where the catch-up began (R8).</param>
/// <param name="TailFrom">Every record above this sequence, up to the last, can be fetched as it was written.</param>
/// <param name="Opens">Of the store (R5).</param>
/// <param name="StampedOpen">The open of its own store that the replica's header names, if it names one: the header proves that the store comes from there.</param>
/// <param name="SuspectSince">The newest open of the store (as counted by <paramref name="Opens"/>) that followed a loss of power or a crash of the
/// host: bytes not flushed before it may be gone (R9). 0: none.</param>
/// <param name="CatchUpTo">While catching up, with a cursor: the blocks below it are complete up to this sequence, all others up to <paramref name="LastSequence"/>.</param>
/// <param name="CatchUpCursor">Block up to which an interrupted catch-up had come; 0: none.</param>
/// <param name="LeaseLeftMs">How long reads of the deposed owner may still be covered by a lease that this replica's node granted (R17).</param>
public readonly record struct PromisedBody(Guid Identity, Guid StoreId, StoreOpens Opens, ulong PromisedEpoch, ulong InSyncEpoch,
    ulong LastRecordEpoch, ulong LastSequence, ulong DurableSequence, ulong CommitWatermark, ulong TailFrom, bool CatchingUp, uint LeaseLeftMs,
    ulong SuspectSince, ulong CatchUpTo, ulong CatchUpCursor, StoreOpenStamp StampedOpen = default)
{
    public const int SizeBytesMax = 134 + 16 + 1 + (8 * StoreOpens.MarksMax);

    /// <summary>The store that answered, seen from the one that the journal vouched for.</summary>
    public StoreDescent DescentFrom(InSyncMember known) =>
        known.StoreId == StoreId ? Opens.DescentFrom(known.StoreOpenCount, known.StoreOpenMark, StampedOpen) : StoreDescent.Foreign;

    public ReadOnlySpan<byte> Encode(Span<byte> to)
    {
        var writer = new BodyWriter(to);
        writer.Guid(Identity);
        writer.Guid(StoreId);
        writer.U64(Opens.Count);
        writer.U64(PromisedEpoch);
        writer.U64(InSyncEpoch);
        writer.U64(LastRecordEpoch);
        writer.U64(LastSequence);
        writer.U64(DurableSequence);
        writer.U64(CommitWatermark);
        writer.U64(TailFrom);
        writer.Bool(CatchingUp);
        writer.U32(LeaseLeftMs);
        writer.U64(SuspectSince);
        writer.U64(CatchUpTo);
        writer.U64(CatchUpCursor);
        writer.U64(StampedOpen.Count);
        writer.U64(StampedOpen.Mark);
        writer.U8((byte)Opens.Marks.Length);
        foreach (var mark in Opens.Marks) writer.U64(mark);
        return to[..writer.Length];
    }

    public static bool TryDecode(ReadOnlySpan<byte> from, out PromisedBody body)
    {
        var reader = new BodyReader(from);
        var (identity, store, opens) = (reader.Guid(), reader.Guid(), reader.U64());
        body = new PromisedBody(identity, store, StoreOpens.None, reader.U64(), reader.U64(), reader.U64(), reader.U64(),
            reader.U64(), reader.U64(), reader.U64(), reader.Bool(), reader.U32(), reader.U64(), reader.U64(), reader.U64(), new StoreOpenStamp(reader.U64(), reader.U64()));
        var count = reader.U8();
        if (count > StoreOpens.MarksMax) return false;
        var marks = ImmutableArray.CreateBuilder<ulong>(count);
        for (var index = 0; index < count; index++) marks.Add(reader.U64());
        body = body with { Opens = new StoreOpens(opens, marks.MoveToImmutable()) };
        return reader.AtEnd;
    }
}

/// <summary>
/// Cumulative: all up to Appended survives kill -9, all up to Durable is on media (as far as this replica knows). With status Gap, Expected is the
/// sequence that it waits for. 32 bytes.
/// </summary>
/// <param name="CreditBytes">Beyond Appended, data records of so many bytes are sure to find room, each counted by <see cref="Limits.CreditOf"/> (R21). It
/// holds until the copy's process ends or it is caught up anew.</param>
public readonly record struct AppendAckBody(ulong AppendedSequence, ulong DurableSequence, ulong ExpectedSequence, ulong CreditBytes)
{
    public ReadOnlySpan<byte> Encode(Span<byte> to)
    {
        var writer = new BodyWriter(to);
        writer.U64(AppendedSequence);
        writer.U64(DurableSequence);
        writer.U64(ExpectedSequence);
        writer.U64(CreditBytes);
        return to[..writer.Length];
    }

    public static bool TryDecode(ReadOnlySpan<byte> from, out AppendAckBody body)
    {
        var reader = new BodyReader(from);
        body = new AppendAckBody(reader.U64(), reader.U64(), reader.U64(), reader.U64());
        return reader.AtEnd;
    }
}

/// <summary>Records with From &lt; sequence &lt;= To. 16 bytes.</summary>
public readonly record struct FetchTailBody(ulong From, ulong To)
{
    public ReadOnlySpan<byte> Encode(Span<byte> to)
    {
        var writer = new BodyWriter(to);
        writer.U64(From);
        writer.U64(To);
        return to[..writer.Length];
    }

    public static bool TryDecode(ReadOnlySpan<byte> from, out FetchTailBody body)
    {
        var reader = new BodyReader(from);
        body = new FetchTailBody(reader.U64(), reader.U64());
        return reader.AtEnd;
    }
}

/// <summary>
/// What the journal now says, for the replica's header (P7, R3): era | in-sync version u64 | number u64 | start sequence u64 | member u8 | spec bytes | members.
/// <see cref="Member"/>: the receiver is in the in-sync set. Acks count for a smaller set only after all of it has answered Stamped.
/// </summary>
/// <param name="Number">Counts what this owner has stamped: the answer names what is on media.</param>
public readonly record struct StampBody(
    Guid Era, ulong Version, ulong Number, ulong StartSequence, bool Member, byte[] Spec, ImmutableArray<StampedMember> Members)
{
    /// <summary>Bytes beside those of spec and members.</summary>
    public const int FixedBytes = 16 + 8 + 8 + 8 + 1 + 4;

    public int EncodedBytes => FixedBytes + Spec.Length + StampedMembers.Measure(Members);

    public ReadOnlySpan<byte> Encode(Span<byte> to)
    {
        var writer = new BodyWriter(to);
        writer.Guid(Era);
        writer.U64(Version);
        writer.U64(Number);
        writer.U64(StartSequence);
        writer.Bool(Member);
        writer.Bytes(Spec);
        StampedMembers.Write(ref writer, Members);
        return to[..writer.Length];
    }

    public static bool TryDecode(ReadOnlySpan<byte> from, out StampBody body)
    {
        var reader = new BodyReader(from);
        body = new StampBody(reader.Guid(), reader.U64(), reader.U64(), reader.U64(), reader.Bool(), reader.Bytes(from.Length).ToArray(), []);
        if (!StampedMembers.TryRead(ref reader, out var members)) return false;
        body = body with { Members = members };
        return reader.AtEnd;
    }
}

/// <summary>
/// A returning replica: drop all above From (or, with Reset, everything: the store was foreign or empty), take live records from Join + 1 on, and the
/// map's changes in (From, Join] as CatchUpRecord. JoinEpoch is the epoch of the record at Join. With a Cursor it goes on with one that was
/// interrupted: blocks below Cursor are there up to CursorTo, and only what came later is sent of them. Bytes: how many there are to send, about.
/// 56 bytes: from u64 | join u64 | join epoch u64 | reset u8 | zero x 7 | cursor u64 | cursor to u64 | bytes u64.
/// </summary>
public readonly record struct CatchUpBody(ulong From, ulong Join, ulong JoinEpoch, bool Reset, ulong Cursor, ulong CursorTo, ulong Bytes)
{
    public const int SizeBytes = 56;

    public ReadOnlySpan<byte> Encode(Span<byte> to)
    {
        var writer = new BodyWriter(to);
        writer.U64(From);
        writer.U64(Join);
        writer.U64(JoinEpoch);
        writer.U64(Reset ? 1UL : 0);
        writer.U64(Cursor);
        writer.U64(CursorTo);
        writer.U64(Bytes);
        return to[..writer.Length];
    }

    public static bool TryDecode(ReadOnlySpan<byte> from, out CatchUpBody body)
    {
        var reader = new BodyReader(from);
        var (after, join, joinEpoch, reset) = (reader.U64(), reader.U64(), reader.U64(), reader.U64());
        body = new CatchUpBody(after, join, joinEpoch, reset == 1, reader.U64(), reader.U64(), reader.U64());
        return reset <= 1 && (body.Cursor == 0 || reset == 0) && reader.AtEnd;
    }
}

/// <summary>
/// A range of blocks of one copy: first block u64 | count u32 | of a snapshot u32: 0, or 1 and snapshot u64 follows. 16 or 24 bytes.
/// </summary>
/// <param name="Snapshot">0: the volume's own blocks. Else the versions that this snapshot is the newest one to see, and the volume does not.</param>
public readonly record struct BlockRangeBody(BlockRange Range, ulong Snapshot = 0)
{
    public const int SizeBytes = 24;

    public ReadOnlySpan<byte> Encode(Span<byte> to)
    {
        var writer = new BodyWriter(to);
        writer.U64(Range.First);
        writer.U32(Range.Count);
        writer.U32(Snapshot == 0 ? 0u : 1);
        if (Snapshot != 0) writer.U64(Snapshot);
        return to[..writer.Length];
    }

    /// <summary>False also for an empty range and for one beyond the last block index.</summary>
    public static bool TryDecode(ReadOnlySpan<byte> from, out BlockRangeBody body)
    {
        var reader = new BodyReader(from);
        var (range, ofSnapshot) = (new BlockRange(reader.U64(), reader.U32()), reader.U32());
        body = new BlockRangeBody(range, ofSnapshot == 0 ? 0 : reader.U64());
        return ofSnapshot <= 1 && ofSnapshot == 1 == (body.Snapshot != 0) && reader.AtEnd && body.Range.Count > 0 && body.Range.First <= Limits.BlockIndexMax
            && body.Range.End <= Limits.BlockIndexMax;
    }
}
