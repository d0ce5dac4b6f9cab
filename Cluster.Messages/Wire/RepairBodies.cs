namespace Cluster.Messages.Wire;

/// <summary>
/// What one copy says of a range, as of the commit watermark that the question carried: digest u64 | next data u64 | bytes read u64 | next snapshot u64.
/// 32 bytes. Which of at most 64 blocks are bad stands in the frame's argument.
/// </summary>
/// <param name="Digest">Over block, sequence and checksum of each block that holds bytes; equal copies have equal ones. 0 for a range of more than 64 blocks.</param>
/// <param name="NextData">No block from the range's first one up to this one holds bytes, for the volume or a snapshot. At most the range's end.</param>
/// <param name="BytesRead">Bytes that were read and compared with their checksums.</param>
/// <param name="NextSnapshot">The newest snapshot that keeps bytes of the range, of those older than the one asked for; of all, if the volume was. 0: none.</param>
public readonly record struct ScrubReportBody(ulong Digest, ulong NextData, ulong BytesRead, ulong NextSnapshot = 0)
{
    public const int SizeBytes = 32;

    public ReadOnlySpan<byte> Encode(Span<byte> to)
    {
        var writer = new BodyWriter(to);
        writer.U64(Digest);
        writer.U64(NextData);
        writer.U64(BytesRead);
        writer.U64(NextSnapshot);
        return to[..writer.Length];
    }

    public static bool TryDecode(ReadOnlySpan<byte> from, out ScrubReportBody body)
    {
        var reader = new BodyReader(from);
        body = new ScrubReportBody(reader.U64(), reader.U64(), reader.U64(), reader.U64());
        return reader.AtEnd;
    }
}

/// <summary>What one scrub found. Blocks count once per copy on which they were bad or differed; lost ones are good on no copy.</summary>
/// <param name="StartedUnixMs">0: there was none.</param>
/// <param name="CheckedBytes">Bytes of the volume that were read, on each copy.</param>
public readonly record struct ScrubTally(ulong StartedUnixMs, ulong CheckedBytes, ulong MendedBlocks, ulong DifferingBlocks, ulong LostBlocks);

/// <summary>
/// How far the scrub of a volume is, kept by every copy so that the next owner goes on from there. 96 bytes: of the scrub under way started u64, checked bytes u64,
/// mended, differing, lost u64 and cursor u64; then the same five of the last one that ended, and when u64.
/// </summary>
/// <param name="Cursor">Blocks below it are done.</param>
public readonly record struct ScrubMark(ScrubTally Now, ulong Cursor, ScrubTally Last, ulong LastEndedUnixMs)
{
    public const int SizeBytes = 96;

    public bool IsUnderWay => Now.StartedUnixMs != 0;

    public ReadOnlySpan<byte> Encode(Span<byte> to)
    {
        var writer = new BodyWriter(to);
        Write(ref writer, Now);
        writer.U64(Cursor);
        Write(ref writer, Last);
        writer.U64(LastEndedUnixMs);
        return to[..writer.Length];
    }

    public static bool TryDecode(ReadOnlySpan<byte> from, out ScrubMark mark)
    {
        var reader = new BodyReader(from);
        mark = new ScrubMark(Read(ref reader), reader.U64(), Read(ref reader), reader.U64());
        return reader.AtEnd;
    }

    private static void Write(ref BodyWriter writer, ScrubTally tally)
    {
        writer.U64(tally.StartedUnixMs);
        writer.U64(tally.CheckedBytes);
        writer.U64(tally.MendedBlocks);
        writer.U64(tally.DifferingBlocks);
        writer.U64(tally.LostBlocks);
    }

    private static ScrubTally Read(ref BodyReader reader) => new(reader.U64(), reader.U64(), reader.U64(), reader.U64(), reader.U64());
}
