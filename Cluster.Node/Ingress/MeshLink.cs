using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Ingress;

/// <summary>
/// One mesh connection that finished its handshake: frames to and from one peer, and the lease that its heartbeats
/// renew. Loop thread only.
/// </summary>
public sealed class MeshLink : IFrameLink
{
    private readonly ILoopSocket _socket;
    private readonly CopyTimer _copies;
    private long _pingSentMs;
    private bool _down;

    internal MeshLink(ILoopSocket socket, NodeId peer, string peerName, byte version, long nowMs, LoopStages stages, ulong compatFeatures = 0)
    {
        CompatFeatures = compatFeatures;
        _copies = new CopyTimer(stages);
        (_socket, Peer, PeerName, Version, Generation, UpSinceMs) = (socket, peer, peerName, version, LinkGeneration.Next(), nowMs);
        ReceivedMs = nowMs;
    }

    public NodeId Peer { get; }

    public string PeerName { get; }

    /// <summary>Mesh version in use: the highest that both sides speak.</summary>
    public byte Version { get; }

    public ulong CompatFeatures { get; }

    public ulong Generation { get; }

    public bool IsUp => !_down && _socket.IsOpen;

    public long QueuedBytes => _socket.QueuedBytes;

    /// <summary>
    /// On this node's CLOCK_BOOTTIME: up to when the peer's promise holds that it lets nobody depose whoever it serves
    /// on this link (R17). 0 before the first Pong. Checked after the data was read (R16), and only with this link's
    /// <see cref="Generation"/>.
    /// </summary>
    public long LeaseUntilMs { get; private set; }

    /// <summary>When bytes came last.</summary>
    public long HeardMs => ReceivedMs;

    internal long ReceivedMs { get; set; }

    internal long UpSinceMs { get; }

    internal bool IsPaused { get; private set; }

    [SkipLocalsInit]
    public void Send(FrameHeader header, ReadOnlySpan<byte> body)
    {
        Invariant.That(body.Length <= Limits.SmallBodyBytesMax, "a body of this size must be sent as a buffer");
        if (!IsUp) return;
        Span<byte> bytes = stackalloc byte[FrameHeader.SizeBytes + Limits.SmallBodyBytesMax];
        header.Seal(body);
        header.Encode(bytes);
        body.CopyTo(bytes[FrameHeader.SizeBytes..]);
        _socket.Send(bytes[..(FrameHeader.SizeBytes + body.Length)]);
        CloseIfStuck();
    }

    [SkipLocalsInit]
    public void Send(FrameHeader header, IoBuffer body)
    {
        if (!IsUp) return;
        Invariant.That(body.Length <= FrameKinds.BodyBytesMax(header.Kind), "a frame's body is longer than its kind allows");
        if (FrameKinds.CarriesRecord(header.Kind)) header.Flags |= FrameFlags.SelfChecked;
        if (header.Kind == FrameKind.Append) _copies.OnSent(header.Volume, SequenceOf(body.Span));
        header.Seal(body.Span);
        Span<byte> bytes = stackalloc byte[FrameHeader.SizeBytes];
        header.Encode(bytes);
        _socket.Send(bytes);
        if (body.Length <= Limits.SmallBodyBytesMax) _socket.Send(body.Span);
        else _socket.Send(body, 0, body.Length);
        CloseIfStuck();
    }

    /// <summary>
    /// Back-pressure: nothing is read from the peer until it is resumed. Meanwhile its silence is not held against it,
    /// and the lease runs out.
    /// </summary>
    public void PauseReading()
    {
        IsPaused = true;
        _socket.PauseReading();
    }

    public void ResumeReading(long nowMs)
    {
        IsPaused = false;
        ReceivedMs = nowMs;
        _socket.ResumeReading();
    }

    /// <summary>Ends the connection; a new one follows, with a new generation.</summary>
    public void Close(string detail) => _socket.Close(CloseReason.Local, detail);

    internal void Close(CloseReason reason, string detail) => _socket.Close(reason, detail);

    internal void MarkDown() => _down = true;

    internal void OnAppendAck(VolumeId volume, ReadOnlySpan<byte> body)
    {
        if (AppendAckBody.TryDecode(body, out var ack)) _copies.OnAnswer(volume, ack.AppendedSequence);
    }

    private static ulong SequenceOf(ReadOnlySpan<byte> record) => BinaryPrimitives.ReadUInt64LittleEndian(record[RecordHeader.SequenceOffset..]);

    internal void SendPing(long nowMs)
    {
        _pingSentMs = nowMs;
        Send(FrameHeader.Of(FrameKind.Ping, default, argument: (ulong)nowMs), []);
    }

    /// <summary>False for the echo of a Ping that this side never sent.</summary>
    internal bool OnPong(ulong argument)
    {
        if (argument > (ulong)_pingSentMs || argument < (ulong)UpSinceMs) return false;
        LeaseUntilMs = Math.Max(LeaseUntilMs, Lease.HeldUntilMs((long)argument));
        return true;
    }

    private void CloseIfStuck()
    {
        if (_socket.QueuedBytes <= MeshLimits.QueuedBytesMax) return;
        _socket.Close(CloseReason.TimedOut, $"the peer does not read: {_socket.QueuedBytes} B wait for it");
    }
}
