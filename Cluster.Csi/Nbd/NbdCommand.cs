using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Csi.Nbd;

/// <summary>One command of a client until its last reply. Pooled; loop thread only.</summary>
internal sealed class NbdCommand
{
    public ulong Cookie;
    public NbdCommandType Type;
    public NbdCommandFlags Flags;
    public ulong OffsetBytes;
    public uint LengthBytes;

    /// <summary>Where the next chunk begins.</summary>
    public ulong CursorBytes;
    public int ChunksOpen;
    public IoStatus Status;

    /// <summary>When it was parsed, if its time is sampled (<see cref="LoopStages.Sample"/>); 0 if not.</summary>
    public long SampledAt;

    /// <summary>The flag DONE went out with the last data.</summary>
    public bool DoneSent;

    /// <summary>Reads whose reply can't be sent in pieces: the chunks in order of offset, until all are there.</summary>
    public readonly List<NbdChunk> Gathered = [];

    public ulong EndBytes => OffsetBytes + LengthBytes;

    public bool AllSubmitted => CursorBytes == EndBytes;

    public void Begin(ulong cookie, NbdCommandType type, NbdCommandFlags flags, ulong offsetBytes, uint lengthBytes)
    {
        (Cookie, Type, Flags, OffsetBytes, LengthBytes) = (cookie, type, flags, offsetBytes, lengthBytes);
        (CursorBytes, ChunksOpen, Status, DoneSent) = (offsetBytes, 0, IoStatus.Ok, false);
        Gathered.Clear();
    }
}

/// <summary>The part of a command that goes to the device as one request. Pooled; loop thread only.</summary>
internal sealed class NbdChunk : BlockRequest
{
    public NbdConnection Connection = null!;
    public NbdCommand Command = null!;

    /// <summary>Payload of a write or read; one reference is ours.</summary>
    public IoBuffer? Buffer;
    public int FilledBytes;

    /// <summary>Payload bytes counted against the connection's and the server's bounds.</summary>
    public long CountedBytes;

    /// <summary>In the connection's set of chunks at the device.</summary>
    public int Index;

    public override void Complete(IoStatus status) => Connection.OnChunkCompleted(this, status);
}
