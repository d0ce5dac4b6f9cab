using Cluster.Messages.Model;

namespace Cluster.Messages.Wire;

/// <summary>
/// A way to send frames to one other party: over a mesh connection, or within the process, in which case frames are delivered in a later phase of
/// the same turn, by reference and unchecked. Loop thread only. Frames on one link arrive in order or not at all: when a frame is lost the link
/// is down and a new one has another <see cref="Generation"/>.
/// </summary>
public interface IFrameLink
{
    NodeId Peer { get; }

    /// <summary>Rises with each new connection to that peer. Leases and confirmations count only within one generation.</summary>
    ulong Generation { get; }

    bool IsUp { get; }

    /// <summary>Bits of <see cref="MeshFeatures.Compat"/> that both ends have. None within a process, where all of them concern what is sent between nodes.</summary>
    ulong CompatFeatures => 0;

    /// <summary>Bytes queued towards the peer; senders of bulk stop above their own bound.</summary>
    long QueuedBytes { get; }

    /// <summary>Sends a small body (at most <see cref="Limits.SmallBodyBytesMax"/>), which is copied. Seals the header.</summary>
    void Send(FrameHeader header, ReadOnlySpan<byte> body);

    /// <summary>
    /// Sends the buffer's bytes [0, Length) as the body, by reference (the link takes its own). Seals the header: a record is marked SelfChecked.
    /// </summary>
    void Send(FrameHeader header, IoBuffer body);
}

/// <summary>
/// Where frames arrive. The body is valid during the call only; the buffer is set when the body lies in a buffer of its own
/// (from its start), and who keeps it takes a reference. Record bodies have had header and descriptors checked by the link; block checksums
/// are checked where the record is appended or decoded.
/// </summary>
public interface IFrameHandler
{
    void OnFrame(IFrameLink from, in FrameHeader header, ReadOnlySpan<byte> body, IoBuffer? buffer);
}
