using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Csi.Client;

/// <summary>
/// One <see cref="BlockRequest"/> on its way through the session: split into parts in order of offset, done when all of them are.
/// Pooled; loop thread only.
/// </summary>
internal sealed class SessionOperation
{
    public BlockRequest Request = null!;
    public long SubmittedMs;

    /// <summary>The first byte not yet split off.</summary>
    public ulong CursorBytes;
    public bool AllEmitted;
    public int PartsOpen;

    /// <summary>The first error of a part, else Ok.</summary>
    public IoStatus Status;

    /// <summary>Active operations in order of submission.</summary>
    public SessionOperation? Previous;
    public SessionOperation? Next;

    public ulong EndBytes => Request.OffsetBytes + Request.LengthBytes;

    public bool IsDone => PartsOpen == 0 && (AllEmitted || Status != IoStatus.Ok);

    public void Begin(BlockRequest request, long nowMs)
    {
        Request = request;
        SubmittedMs = nowMs;
        CursorBytes = request.OffsetBytes;
        AllEmitted = false;
        PartsOpen = 0;
        Status = IoStatus.Ok;
    }

    public void Fail(IoStatus status)
    {
        if (Status == IoStatus.Ok) Status = status;
    }
}

/// <summary>One frame with a request id, kept until it is answered. Pooled; loop thread only.</summary>
internal sealed class SessionRequest
{
    public ulong Id;
    public FrameKind Kind;
    public RecordKind RecordKind;
    public RecordFlags RecordFlags;
    public BlockRange Range;
    public ulong ExpectedSequence;

    /// <summary>The operation that this is a part of; null for the steps of a partial write.</summary>
    public SessionOperation? Operation;

    /// <summary>Set for the steps of a partial write.</summary>
    public BlockEdit? Edit;

    /// <summary>Reads: the bytes of the operation that this part answers, a sub-range of the blocks.</summary>
    public ulong FromBytes;
    public ulong ToBytes;

    /// <summary>Writes: the record as encoded; one reference is ours.</summary>
    public IoBuffer? Record;
    public uint DescriptorCount;
    public uint PayloadLength;

    /// <summary>Reads of volumes with the label cache: what is here of the blocks. Made once, and kept for later requests.</summary>
    public KnownBlocks? Known;

    /// <summary>What it counts against <see cref="Limits.SessionBytesMax"/>.</summary>
    public long OutstandingBytes;
    /// <summary>Times it was sent again after a lost owner.</summary>
    public int Attempts;

    /// <summary>Times that what was read failed its checksum.</summary>
    public int BadReads;

    /// <summary>When it was issued, if its time is sampled (<see cref="LoopStages.Sample"/>); 0 if not.</summary>
    public long SampledAt;

    /// <summary>It was handed to a link: it may have been applied.</summary>
    public bool Sent;

    /// <summary>It takes no room, and its answer has blocks.</summary>
    public bool IsRead => Kind is FrameKind.ClientRead or FrameKind.ClientReadCached;

    /// <summary>It is sent again as a read like any other.</summary>
    public void ForgetKnown()
    {
        if (Kind != FrameKind.ClientReadCached) return;
        Known!.Release();
        Kind = FrameKind.ClientRead;
    }

    public void Reset()
    {
        ForgetKnown();
        (Id, Kind, Range, ExpectedSequence) = (0, FrameKind.Invalid, default, 0);
        (RecordKind, RecordFlags) = (RecordKind.Invalid, RecordFlags.None);
        (Operation, Edit, FromBytes, ToBytes) = (null, null, 0, 0);
        (Record, DescriptorCount, PayloadLength, OutstandingBytes) = (null, 0, 0, 0);
        (Attempts, BadReads, Sent, SampledAt) = (0, 0, false, 0);
    }
}

/// <summary>A part of one block that an operation writes: bytes of its data, or zeroes.</summary>
internal struct EditPart
{
    /// <summary>Null once the operation was given up.</summary>
    public SessionOperation? Operation;
    public int OffsetInBlock;
    public int Length;
    public ulong FromBytes;
}

/// <summary>
/// All partial writes of one block, one after the other (R15): read the block with its sequence, merge what is waiting, write it on
/// condition that the
/// sequence is still the same. Parts that come while one write is under way wait for the next. Pooled; loop thread only.
/// </summary>
internal sealed class BlockEdit
{
    public ulong Block;

    /// <summary>In order of submission; the first <see cref="Merged"/> are in the conditional write under way.</summary>
    public readonly List<EditPart> Parts = [];
    public int Merged;

    /// <summary>Conflicts since the last success.</summary>
    public int Conflicts;

    /// <summary>Waits a moment after a conflict.</summary>
    public bool Paused;

    /// <summary>The block as it was at <see cref="Sequence"/>; valid if <see cref="Known"/>.</summary>
    public readonly byte[] Content = new byte[Limits.BlockBytes];
    public ulong Sequence;
    public bool Known;

    /// <summary>A step is outstanding or waits for a request id.</summary>
    public bool Busy;

    /// <summary>The session's clock when it was used last, for the cache of finished edits.</summary>
    public long UsedAt;

    public void Reset(ulong block)
    {
        (Block, Merged, Conflicts, Sequence, Known, Busy, Paused) = (block, 0, 0, 0, false, false, false);
        Parts.Clear();
    }
}
