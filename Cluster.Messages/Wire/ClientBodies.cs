using Cluster.Messages.Model;

namespace Cluster.Messages.Wire;

/// <summary>Front end to owner: opens or resumes the session (R11, R12, R13). 40 bytes.</summary>
/// <param name="Session">Generation of the attachment and incarnation of the front end.</param>
/// <param name="AnsweredBelow">Every request below this id has been answered; the owner may forget them.</param>
/// <param name="SeenEpoch">Epoch of the newest answer to a write that was not known to be on media; 0 with none.</param>
/// <param name="SeenSequence">The sequence that was committed as of that answer: an owner that has less must not go on with this session.</param>
public readonly record struct SessionOpenBody(SessionId Session, ulong AnsweredBelow, ulong SeenEpoch = 0, ulong SeenSequence = 0)
{
    public const int SizeBytes = 40;

    public ReadOnlySpan<byte> Encode(Span<byte> to)
    {
        var writer = new BodyWriter(to);
        writer.Session(Session);
        writer.U64(AnsweredBelow);
        writer.U64(SeenEpoch);
        writer.U64(SeenSequence);
        return to[..writer.Length];
    }

    public static bool TryDecode(ReadOnlySpan<byte> from, out SessionOpenBody body)
    {
        var reader = new BodyReader(from);
        body = new SessionOpenBody(reader.Session(), reader.U64(), reader.U64(), reader.U64());
        return reader.AtEnd;
    }
}

/// <summary>
/// Owner to front end: the session may send I/O. 24 bytes: size u64 | epoch u64 | hold ms u32 | compression u8 | read only u8 | flags u16: 1 = Caches. Versions before this one take nothing but 0
/// for the flags, and are sent nothing else.
/// </summary>
/// <param name="Caches">The front end may keep what it reads, and say so when it reads again (ClientReadCached). Only over links of <see cref="MeshFeatures.CachedReads"/>.</param>
public readonly record struct SessionOpenedBody(ulong SizeBytes, ulong Epoch, uint HoldMs, bool Compression, bool ReadOnly, bool Caches = false)
{
    public const int EncodedBytes = 24;

    private const ushort CachesFlag = 1;

    public ReadOnlySpan<byte> Encode(Span<byte> to)
    {
        var writer = new BodyWriter(to);
        writer.U64(SizeBytes);
        writer.U64(Epoch);
        writer.U32(HoldMs);
        writer.Bool(Compression);
        writer.Bool(ReadOnly);
        writer.U16(Caches ? CachesFlag : (ushort)0);
        return to[..writer.Length];
    }

    public static bool TryDecode(ReadOnlySpan<byte> from, out SessionOpenedBody body)
    {
        var reader = new BodyReader(from);
        body = new SessionOpenedBody(reader.U64(), reader.U64(), reader.U32(), reader.Bool(), reader.Bool());
        var flags = reader.U16();
        body = body with { Caches = flags == CachesFlag };
        return flags <= CachesFlag && reader.AtEnd;
    }
}

/// <summary>Read or allocation query of a range of blocks. 32 bytes: session | first block u64 | count u32 | zero u32. Reads: at most RecordBlocksMax.</summary>
public readonly record struct ClientReadBody(SessionId Session, BlockRange Range)
{
    public ReadOnlySpan<byte> Encode(Span<byte> to)
    {
        var writer = new BodyWriter(to);
        writer.Session(Session);
        writer.U64(Range.First);
        writer.U32(Range.Count);
        writer.U32(0);
        return to[..writer.Length];
    }

    public static bool TryDecode(ReadOnlySpan<byte> from, out ClientReadBody body)
    {
        var reader = new BodyReader(from);
        body = new ClientReadBody(reader.Session(), new BlockRange(reader.U64(), reader.U32()));
        return reader.U32() == 0 && reader.AtEnd && body.Range.First <= Limits.BlockIndexMax;
    }
}

/// <summary>
/// Read by a front end that has some of the blocks: ClientReadBody, then per block the sequence u64 of what it has, 0 = nothing. At most RecordBlocksMax blocks: 544 bytes. The sequences are those of the
/// frame's epoch: in any other they say nothing.
/// </summary>
public readonly record struct CachedReadBody(ClientReadBody Read)
{
    private const int SequenceBytes = sizeof(ulong);

    private const int FixedBytes = 32;

    public static int EncodedBytes(uint blocks) => FixedBytes + ((int)blocks * SequenceBytes);

    /// <param name="sequences">One per block.</param>
    public ReadOnlySpan<byte> Encode(Span<byte> to, ReadOnlySpan<ulong> sequences)
    {
        Read.Encode(to);
        var writer = new BodyWriter(to[FixedBytes..]);
        foreach (var sequence in sequences) writer.U64(sequence);
        return to[..(FixedBytes + writer.Length)];
    }

    /// <param name="sequences">Room for RecordBlocksMax; the first, as many as there are blocks, are set.</param>
    public static bool TryDecode(ReadOnlySpan<byte> from, Span<ulong> sequences, out CachedReadBody body)
    {
        body = default;
        if (from.Length < FixedBytes || !ClientReadBody.TryDecode(from[..FixedBytes], out var read)) return false;
        body = new CachedReadBody(read);
        if (read.Range.Count is 0 or > Limits.RecordBlocksMax) return false;
        var reader = new BodyReader(from[FixedBytes..]);
        for (var index = 0; index < (int)read.Range.Count; index++) sequences[index] = reader.U64();
        return reader.AtEnd;
    }
}

/// <summary>Flush of all that the session saw acknowledged. 24 bytes: session | answered below u64.</summary>
public readonly record struct ClientFlushBody(SessionId Session, ulong AnsweredBelow)
{
    public ReadOnlySpan<byte> Encode(Span<byte> to)
    {
        var writer = new BodyWriter(to);
        writer.Session(Session);
        writer.U64(AnsweredBelow);
        return to[..writer.Length];
    }

    public static bool TryDecode(ReadOnlySpan<byte> from, out ClientFlushBody body)
    {
        var reader = new BodyReader(from);
        body = new ClientFlushBody(reader.Session(), reader.U64());
        return reader.AtEnd;
    }
}

/// <summary>
/// Answer to a write or flush (R13): the record's sequence (flush: the highest covered; 0: a replay that had been applied before), how far the volume is on media,
/// and how far it is committed. 24 bytes.
/// </summary>
public readonly record struct ClientAckBody(ulong Sequence, ulong DurableSequence, ulong CommittedSequence)
{
    public ReadOnlySpan<byte> Encode(Span<byte> to)
    {
        var writer = new BodyWriter(to);
        writer.U64(Sequence);
        writer.U64(DurableSequence);
        writer.U64(CommittedSequence);
        return to[..writer.Length];
    }

    public static bool TryDecode(ReadOnlySpan<byte> from, out ClientAckBody body)
    {
        var reader = new BodyReader(from);
        body = new ClientAckBody(reader.U64(), reader.U64(), reader.U64());
        return reader.AtEnd;
    }
}

/// <summary>ClientCommitted: what a write with FUA was committed as. Present: what the session claims above it is to be presented (R13). 8 bytes.</summary>
public readonly record struct SequenceBody(ulong Sequence)
{
    public const int SizeBytes = 8;

    public ReadOnlySpan<byte> Encode(Span<byte> to)
    {
        var writer = new BodyWriter(to);
        writer.U64(Sequence);
        return to[..writer.Length];
    }

    public static bool TryDecode(ReadOnlySpan<byte> from, out SequenceBody body)
    {
        var reader = new BodyReader(from);
        body = new SequenceBody(reader.U64());
        return reader.AtEnd;
    }
}
