using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Ingress;

/// <summary>
/// Frames between two parts of one process: a pair of links on one loop. What is sent on one is delivered to the
/// other's handler in the Deliver phase, in order, never within the call of Send. Buffers go by reference; small bodies
/// are copied into a pooled buffer. Nothing is checked: it never left the process. Loop thread only.
/// </summary>
public sealed class LocalLink : IFrameLink
{
    private readonly LocalDelivery _delivery;
    private readonly IFrameHandler _receiver;
    private LocalLink? _other;

    private LocalLink(LocalDelivery delivery, NodeId peer, ulong generation, IFrameHandler receiver) =>
        (_delivery, Peer, Generation, _receiver) = (delivery, peer, generation, receiver);

    public NodeId Peer { get; }

    public ulong Generation { get; }

    public bool IsUp { get; private set; } = true;

    public long QueuedBytes { get; private set; }

    /// <summary>
    /// The end that <paramref name="left"/> sends on, and the one that <paramref name="right"/> sends on. Both are of
    /// node <paramref name="node"/>.
    /// </summary>
    public static (LocalLink Left, LocalLink Right) Pair(LocalDelivery delivery, NodeId node, IFrameHandler left, IFrameHandler right)
    {
        var generation = LinkGeneration.Next();
        var toRight = new LocalLink(delivery, node, generation, right);
        var toLeft = new LocalLink(delivery, node, generation, left);
        (toRight._other, toLeft._other) = (toLeft, toRight);
        return (toRight, toLeft);
    }

    public void Send(FrameHeader header, ReadOnlySpan<byte> body)
    {
        Invariant.That(body.Length <= Limits.SmallBodyBytesMax, "a body of this size must be sent as a buffer");
        if (!IsUp) return;
        header.BodyLength = (uint)body.Length;
        IoBuffer? copy = null;
        if (!body.IsEmpty)
        {
            copy = BufferPool.Shared.Rent(body.Length);
            body.CopyTo(copy.Span);
        }
        Queue(in header, copy, small: true);
    }

    public void Send(FrameHeader header, IoBuffer body)
    {
        if (!IsUp) return;
        body.AddReference();
        header.Flags |= FrameKinds.CarriesRecord(header.Kind) ? FrameFlags.SelfChecked : FrameFlags.None;
        header.BodyLength = (uint)body.Length;
        Queue(in header, body, small: false);
    }

    /// <summary>Both ends go down; what was not delivered is dropped, as when a connection is lost.</summary>
    public void Close()
    {
        IsUp = false;
        if (_other is { } other) other.IsUp = false;
    }

    internal void Deliver(in FrameHeader header, IoBuffer? body, bool small)
    {
        QueuedBytes -= FrameHeader.SizeBytes + (body?.Length ?? 0);
        if (!IsUp) return;
        _receiver.OnFrame(_other!, in header, body is null ? default : body.Span, small ? null : body);
    }

    private void Queue(in FrameHeader header, IoBuffer? body, bool small)
    {
        QueuedBytes += FrameHeader.SizeBytes + (body?.Length ?? 0);
        _delivery.Add(this, in header, body, small);
    }
}

/// <summary>
/// The phase that delivers the frames of all <see cref="LocalLink"/>s of a loop. Add it to the loop at
/// <see cref="TurnPhase.Deliver"/>.
/// </summary>
public sealed class LocalDelivery : ITurnPhase
{
    /// <summary>Frames delivered in one run; the rest goes in the next pass, after the other phases.</summary>
    public const int FramesPerRunMax = 4096;

    private readonly Queue<Frame> _frames = new();

    private readonly record struct Frame(LocalLink Link, FrameHeader Header, IoBuffer? Body, bool Small);

    public bool Run()
    {
        var delivered = 0;
        for (; delivered < FramesPerRunMax && _frames.TryDequeue(out var frame); delivered++)
        {
            frame.Link.Deliver(frame.Header, frame.Body, frame.Small);
            frame.Body?.Release();
        }
        return delivered > 0;
    }

    internal void Add(LocalLink link, in FrameHeader header, IoBuffer? body, bool small) =>
        _frames.Enqueue(new Frame(link, header, body, small));
}

/// <summary>Numbers of links, rising within the process, so that a link is never taken for one before it.</summary>
internal static class LinkGeneration
{
    private static long _last;

    public static ulong Next() => (ulong)Interlocked.Increment(ref _last);
}
