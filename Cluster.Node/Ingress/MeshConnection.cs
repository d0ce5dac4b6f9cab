using System.Net;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Ingress;

internal enum MeshRole : byte
{
    /// <summary>The other side dialed.</summary>
    Accepted,
    /// <summary>This side dialed, to carry frames.</summary>
    Dialed,
    /// <summary>This side is not the one that dials; it looks whether the peer lives and asks it to dial.</summary>
    Probe,
}

/// <summary>One socket of the mesh, from its first byte to its end: handshake, then frames. Loop thread only.</summary>
internal sealed class MeshConnection : ISocketEvents, IFrameSink
{
    private readonly MeshNode _node;
    private readonly MeshRole _role;
    private readonly FrameReader _reader = new(BufferPool.Shared);
    private readonly ILoopTimer _deadline;
    private ILoopSocket? _socket;

    public MeshConnection(MeshNode node, MeshRole role, MeshPeer? peer, EndPoint? remote)
    {
        (_node, _role, Peer, Remote) = (node, role, peer, remote);
        _deadline = node.Loop.Schedule(MeshLimits.HandshakeMs,
            () => Close(CloseReason.TimedOut, $"no handshake within {MeshLimits.HandshakeMs} ms"));
    }

    /// <summary>Known from the start when this side dialed, else from Hello on.</summary>
    public MeshPeer? Peer { get; private set; }

    public EndPoint? Remote { get; }

    public MeshRole Role => _role;

    LoopStage ISocketEvents.Stage => LoopStage.Mesh;

    /// <summary>Set once the handshake is done.</summary>
    public MeshLink? Link { get; private set; }

    public void Start(ILoopSocket socket) => _socket = socket;

    public void Close(CloseReason reason, string detail) => _socket?.Close(reason, detail);

    public void OnConnected(ILoopSocket socket)
    {
        var hello = _node.Identity.Hello(Peer!.Info.Node, _role == MeshRole.Probe);
        SendHandshake(FrameKind.Hello, hello.Encode(stackalloc byte[HelloBody.EncodedBytesMax]));
    }

    public void OnReadable(ILoopSocket socket)
    {
        var space = _reader.Space;
        int count;
        while ((count = socket.Receive(space)) > 0)
        {
            if (Link is not null) Link.ReceivedMs = _node.Loop.NowMs;
            if (!_reader.Advance(count, this))
            {
                if (_reader.Error is { } error) socket.Close(CloseReason.Protocol, error);
                return;
            }
            if (count < space.Length || Link is { IsPaused: true }) return;
            space = _reader.Space;
        }
    }

    public void OnDrained(ILoopSocket socket)
    {
    }

    public void OnClosed(ILoopSocket socket, CloseReason reason, string detail)
    {
        _deadline.Cancel();
        _reader.Dispose();
        _node.OnConnectionClosed(this, reason, detail);
    }

    public bool OnFrame(in FrameHeader header, ReadOnlySpan<byte> body, IoBuffer? buffer)
    {
        if (Link is null) OnHandshakeFrame(in header, body);
        else if (header.Kind == FrameKind.Ping) _node.OnPing(Link, header.Argument);
        else if (header.Kind == FrameKind.Pong)
        {
            if (!Link.OnPong(header.Argument)) Close(CloseReason.Protocol, "a Pong answers a Ping that was not sent");
        }
        else if (FrameKinds.IsOfConnection(header.Kind)) Close(CloseReason.Protocol, $"{header.Kind} after the handshake");
        else
        {
            if (header.Kind == FrameKind.AppendAck) Link.OnAppendAck(header.Volume, body);
            _node.Events.OnFrame(Link, in header, body, buffer);
        }
        return _socket!.IsOpen;
    }

    private void OnHandshakeFrame(in FrameHeader header, ReadOnlySpan<byte> body)
    {
        var expected = _role == MeshRole.Accepted ? FrameKind.Hello : FrameKind.Welcome;
        if (header.Kind == FrameKind.Refuse && _role != MeshRole.Accepted && RefuseBody.TryDecode(body, out var refusal))
            _node.OnRefusedBy(this, refusal);
        else if (header.Kind != expected || !HelloBody.TryDecode(body, out var hello))
            Close(CloseReason.Protocol, $"a sound {expected} was expected, {header.Kind} came");
        else if (_role == MeshRole.Accepted) OnHello(in hello);
        else OnWelcome(in hello);
    }

    private void OnHello(in HelloBody hello)
    {
        var (reason, text, version) = _node.Judge(in hello);
        if (reason != RefuseReason.None)
        {
            Refuse(reason, text);
            return;
        }
        Peer = _node.FindPeer(hello.Sender);
        Invariant.That(Peer is not null, "a node was let in that the directory does not know");
        _node.TakeDownLinkOf(Peer, $"{Peer.Info.Name} made a new connection");
        var welcome = _node.Identity.Hello(hello.Sender, probe: false);
        SendHandshake(FrameKind.Welcome, welcome.Encode(stackalloc byte[HelloBody.EncodedBytesMax]));
        BecomeLink(in hello, version);
    }

    private void OnWelcome(in HelloBody welcome)
    {
        var (reason, text, version) = MeshHandshake.Check(_node.Identity, in welcome);
        if (reason == RefuseReason.None && welcome.Sender != Peer!.Info.Node)
            (reason, text, version) = MeshHandshake.Refuse(RefuseReason.WrongReceiver, _node.Identity, in welcome, "answers",
                $"looked for {Peer.Info.Name} ({Peer.Info.Node})");
        if (reason != RefuseReason.None) Refuse(reason, text);
        else BecomeLink(in welcome, version);
    }

    private void BecomeLink(in HelloBody other, byte version)
    {
        _deadline.Cancel();
        Link = new MeshLink(_socket!, Peer!.Info.Node, other.Name, version, _node.Loop.FreshNowMs(), _node.Loop.Stages,
            other.Features.Compat & _node.Identity.Features.Compat);
        _node.OnHandshakeDone(this);
    }

    private void Refuse(RefuseReason reason, string text)
    {
        SendHandshake(FrameKind.Refuse, new RefuseBody(reason, text).Encode(stackalloc byte[RefuseBody.EncodedBytesMax]));
        _node.OnRefused(this, reason, text);
        Close(CloseReason.Local, text);
    }

    private void SendHandshake(FrameKind kind, ReadOnlySpan<byte> body)
    {
        Span<byte> bytes = stackalloc byte[FrameHeader.SizeBytes];
        var header = FrameHeader.Of(kind, default);
        header.Seal(body);
        header.Encode(bytes);
        _socket!.Send(bytes);
        _socket.Send(body);
    }
}
