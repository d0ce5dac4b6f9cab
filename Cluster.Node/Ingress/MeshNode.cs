using System.Net;
using System.Net.Sockets;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Ingress;

/// <summary>
/// This node's end of the mesh: one connection per peer in the directory, kept up. The node with the lower id dials;
/// the other one, as long as there is no link, probes: it learns that way that a process is dead (its port refuses),
/// and makes the peer dial at once. Loop thread only where not said otherwise.
/// </summary>
public sealed partial class MeshNode
{
    private readonly ILogger _log;
    private readonly Dictionary<NodeId, MeshPeer> _peers = [];
    private readonly Dictionary<NodeId, long> _pongSentMs = [];
    private readonly HashSet<MeshConnection> _connections = [];
    private readonly long _startedMs;
    private ILoopListener? _listener;
    private ILoopTimer? _heartbeat;
    private int _handshakes;
    private int _refusalLines;
    private int _refusalsUnsaid;
    private long _refusalsSinceMs;
    private bool _stopped;

    public MeshNode(ILoop loop, MeshIdentity identity, IMeshEvents events, ILogger log)
    {
        (Loop, Identity, Events, _log) = (loop, identity, events, log);
        _startedMs = loop.FreshNowMs();
    }

    public MeshIdentity Identity { get; }

    internal ILoop Loop { get; }

    internal IMeshEvents Events { get; }

    /// <summary>Accepted connections that have not said who they are.</summary>
    internal int HandshakeCount => _handshakes;

    /// <summary>
    /// Binds at once, on any thread: a port in use throws <see cref="SocketException"/>. Answers the endpoint with the
    /// port chosen.
    /// </summary>
    public EndPoint Start(EndPoint listen)
    {
        Invariant.That(_listener is null, "a mesh node was started twice");
        _listener = Loop.Listen(listen, OnAccepted);
        OnLoop(() =>
        {
            NoteHeartbeat(Loop.FreshNowMs());
            _heartbeat = Loop.Schedule(Limits.HeartbeatMs, OnHeartbeat);
        });
        return _listener.EndPoint;
    }

    /// <summary>
    /// The directory as it is now. Links to nodes that left it are closed, new ones are made. Any thread.
    /// </summary>
    public void UpdatePeers(IEnumerable<MeshPeerInfo> peers)
    {
        var infos = peers.ToArray();
        OnLoop(() => ApplyDirectory(infos));
    }

    /// <summary>Something says that the peer is there (again): no pause before the next attempt. Any thread.</summary>
    public void RetryNow(NodeId node) => OnLoop(() =>
    {
        if (!_peers.TryGetValue(node, out var peer) || peer.Trying) return;
        peer.RetryMs = MeshLimits.RetryMsMin;
        Try(peer);
    });

    /// <summary>The link to that peer, if it is up.</summary>
    public MeshLink? LinkTo(NodeId node) => _peers.TryGetValue(node, out var peer) && peer.Link is { IsUp: true } link ? link : null;

    /// <summary>All links that are up.</summary>
    public IEnumerable<MeshLink> Links => _peers.Values.Select(peer => peer.Link).OfType<MeshLink>().Where(link => link.IsUp);

    /// <summary>
    /// On this node's CLOCK_BOOTTIME: up to when <paramref name="peer"/> may rely on a lease that this node granted it
    /// (R17). A node that has granted none since it started may have granted a full one just before.
    /// </summary>
    public long GrantedUntilMs(NodeId peer) => Lease.GrantedUntilMs(_pongSentMs.GetValueOrDefault(peer, _startedMs));

    /// <summary>Closes everything; the links' OnLinkDown follow. Any thread.</summary>
    public void Stop() => OnLoop(() =>
    {
        _stopped = true;
        _listener?.Dispose();
        _heartbeat?.Cancel();
        foreach (var peer in _peers.Values) peer.RetryTimer?.Cancel();
        foreach (var connection in _connections) connection.Close(CloseReason.Local, "the node stops");
    });

    internal MeshPeer? FindPeer(NodeId node) => _peers.GetValueOrDefault(node);

    /// <summary>What an acceptor makes of a Hello.</summary>
    internal (RefuseReason Reason, string Text, byte Version) Judge(in HelloBody hello)
    {
        var verdict = MeshHandshake.Check(Identity, in hello);
        if (verdict.Reason != RefuseReason.None) return verdict;
        if (!_peers.ContainsKey(hello.Sender))
            return MeshHandshake.Refuse(RefuseReason.UnknownNode, Identity, in hello, "wants in", "does not find it in the directory");
        if (hello.Probe)
        {
            RetryNow(hello.Sender);
            return MeshHandshake.Refuse(RefuseReason.Probe, Identity, in hello, "asks to be dialed", "will");
        }
        if (!Dials(hello.Sender)) return verdict;
        return MeshHandshake.Refuse(RefuseReason.WrongDialer, Identity, in hello, "dials", "has the lower id and dials");
    }

    internal void OnHandshakeDone(MeshConnection connection)
    {
        if (connection.Role == MeshRole.Accepted) _handshakes--;
        var (peer, link) = (connection.Peer!, connection.Link!);
        if (!ReferenceEquals(peer.Attempt, connection)) peer.Attempt?.Close(CloseReason.Local, "the peer's own connection came first");
        Invariant.That(peer.Link is null, "a peer got a second link");
        peer.RetryTimer?.Cancel();
        peer.Doubts.OnBack(peer.WasUp, Loop.FreshNowMs());
        (peer.Link, peer.WasUp, peer.LoggedReason) = (link, true, "");
        EndAttempt(peer);
        LogUp(_log, peer.Info.Name, link.Peer, connection.Remote, link.Generation);
        link.SendPing(Loop.FreshNowMs());
        Events.OnLinkUp(link);
    }

    internal void OnPing(MeshLink link, ulong argument)
    {
        // Noted before it is said: a lease that the peer may hold is one that this node knows of.
        _pongSentMs[link.Peer] = Loop.FreshNowMs();
        link.Send(FrameHeader.Of(FrameKind.Pong, default, argument: argument), []);
    }

    internal void OnConnectionClosed(MeshConnection connection, CloseReason reason, string detail)
    {
        _connections.Remove(connection);
        if (connection.Link is { } link)
        {
            if (connection.Peer!.Link == link) LinkLost(connection.Peer, link, reason, detail);
            return;
        }
        if (connection.Role == MeshRole.Accepted)
        {
            _handshakes--;
            if (reason is not (CloseReason.Local or CloseReason.EndOfStream))
                LogRefusal($"connection from {connection.Remote} closed: {detail}");
            return;
        }
        var peer = connection.Peer!;
        if (!ReferenceEquals(peer.Attempt, connection)) return;
        EndAttempt(peer);
        if (reason == CloseReason.Refused && peer is { WasUp: true, Link: null, Removed: false })
        {
            peer.WasUp = false;
            LogDead(_log, peer.Info.Name, peer.Info.Node, connection.Remote);
            Events.OnPeerRefused(peer.Info.Node);
        }
        if (reason != CloseReason.Local) LogOnce(peer, $"{reason}: {detail}");
        TryLater(peer);
    }

    /// <summary>The other side refused this one.</summary>
    internal void OnRefusedBy(MeshConnection connection, in RefuseBody refusal)
    {
        if (refusal.Reason != RefuseReason.Probe) LogOnce(connection.Peer!, $"refused by it: {refusal.Text}");
        connection.Close(CloseReason.Local, refusal.Text);
    }

    /// <summary>This side refused the other one.</summary>
    internal void OnRefused(MeshConnection connection, RefuseReason reason, string text)
    {
        if (reason == RefuseReason.Probe) return;
        if (connection.Peer is { } peer) LogOnce(peer, text);
        else LogRefusal($"connection from {connection.Remote} refused: {text}");
    }

    /// <summary>
    /// Tells that the link is down before its socket has ended, so that a next one can be told as up.
    /// </summary>
    internal void TakeDownLinkOf(MeshPeer peer, string detail)
    {
        if (peer.Link is not { } link) return;
        link.Close(detail);
        LinkDown(peer, link, CloseReason.Local, detail);
    }

    private bool Dials(NodeId peer) => Identity.Node.CompareTo(peer) < 0;

    private void OnLoop(Action work)
    {
        if (Loop.IsCurrent) work();
        else Loop.Post(work);
    }

    private void ApplyDirectory(MeshPeerInfo[] infos)
    {
        if (_stopped) return;
        // What a journal says is no reason to end: of two names of one node the first counts.
        var kept = infos.Where(info => info.Node != Identity.Node).DistinctBy(info => info.Node).ToDictionary(info => info.Node);
        foreach (var gone in _peers.Values.Where(peer => !kept.ContainsKey(peer.Info.Node)).ToArray()) Remove(gone);
        foreach (var info in kept.Values)
        {
            if (!_peers.TryGetValue(info.Node, out var peer)) _peers.Add(info.Node, peer = new MeshPeer(info));
            else if (peer.Info == info) continue;
            else peer.Attempt?.Close(CloseReason.Local, "the peer moved");
            peer.Info = info;
            RetryNow(info.Node);
        }
    }

    private void Remove(MeshPeer peer)
    {
        _peers.Remove(peer.Info.Node);
        peer.Removed = true;
        foreach (var other in _peers.Values) other.Unheard.Remove(peer.Info.Node);
        peer.RetryTimer?.Cancel();
        peer.Attempt?.Close(CloseReason.Local, "the peer left the directory");
        TakeDownLinkOf(peer, "the peer left the directory");
    }

    private void OnAccepted(Socket socket)
    {
        if (_stopped || _handshakes >= MeshLimits.HandshakesMax)
        {
            LogRefusal($"connection closed unread: {_handshakes} others have not said who they are");
            socket.Dispose();
            return;
        }
        _handshakes++;
        var connection = new MeshConnection(this, MeshRole.Accepted, null, RemoteOf(socket));
        _connections.Add(connection);
        connection.Start(Loop.Adopt(socket, connection));
    }

    private void Try(MeshPeer peer)
    {
        if (_stopped || peer.Removed || peer.Trying || peer.Link is not null) return;
        peer.RetryTimer?.Cancel();
        peer.Trying = true;
        if (IPAddress.TryParse(peer.Info.Host, out var address)) Dial(peer, address);
        else Resolve(peer);
    }

    /// <summary>One attempt at a time per peer; <see cref="MeshPeer.Attempt"/> says which one counts.</summary>
    private void Dial(MeshPeer peer, IPAddress address)
    {
        var remote = new IPEndPoint(address, peer.Info.Port);
        var connection = new MeshConnection(this, Dials(peer.Info.Node) ? MeshRole.Dialed : MeshRole.Probe, peer, remote);
        _connections.Add(connection);
        peer.Attempt = connection;
        connection.Start(Loop.Connect(remote, connection));
    }

    /// <summary>Off the loop: a resolver may block for seconds.</summary>
    private void Resolve(MeshPeer peer)
    {
        var host = peer.Info.Host;
        _ = Task.Run(async () =>
        {
            IPAddress[] addresses = [];
            var error = "it has no address";
            try
            {
                addresses = await Dns.GetHostAddressesAsync(host).ConfigureAwait(false);
            }
            catch (SocketException exception)
            {
                error = exception.Message;
            }
            Loop.Post(() => OnResolved(peer, host, addresses, error));
        });
    }

    private void OnResolved(MeshPeer peer, string host, IPAddress[] addresses, string error)
    {
        if (_stopped || peer.Removed || peer.Link is not null || peer.Attempt is not null) return;
        if (addresses.Length > 0)
        {
            Dial(peer, addresses[Random.Shared.Next(addresses.Length)]);
            return;
        }
        EndAttempt(peer);
        LogOnce(peer, $"the name {host} was not resolved: {error}");
        TryLater(peer);
    }

    private static void EndAttempt(MeshPeer peer) => (peer.Trying, peer.Attempt) = (false, null);

    private void TryLater(MeshPeer peer)
    {
        if (_stopped || peer.Removed || peer.Trying || peer.Link is not null) return;
        peer.RetryTimer?.Cancel();
        peer.RetryTimer = Loop.Schedule(peer.NextPauseMs(), () => Try(peer));
    }

    private void LinkDown(MeshPeer peer, MeshLink link, CloseReason reason, string detail)
    {
        peer.Link = null;
        link.MarkDown();
        LogDown(_log, peer.Info.Name, link.Peer, link.Generation, reason, detail);
        Events.OnLinkDown(link, reason, detail);
    }

    private void LinkLost(MeshPeer peer, MeshLink link, CloseReason reason, string detail)
    {
        // A link that did not last keeps its pause growing, so that two nodes that always fall out again do not spin.
        var lasted = Loop.NowMs - link.UpSinceMs > MeshLimits.RetryMsMax;
        if (lasted) peer.RetryMs = MeshLimits.RetryMsMin;
        LinkDown(peer, link, reason, detail);
        if (lasted) Try(peer);
        else TryLater(peer);
    }

    private void OnHeartbeat()
    {
        _heartbeat = Loop.Schedule(Limits.HeartbeatMs, OnHeartbeat);
        var nowMs = Loop.FreshNowMs();
        NoteHeartbeat(nowMs);
        foreach (var peer in _peers.Values)
        {
            if (peer.Link is not { IsUp: true } link) continue;
            if (!link.IsPaused && nowMs - link.ReceivedMs > Limits.MeshSilenceMs)
                link.Close(CloseReason.TimedOut, $"nothing was heard for {nowMs - link.ReceivedMs} ms");
            else link.SendPing(nowMs);
        }
    }

    /// <summary>Null when the peer is gone already.</summary>
    private static EndPoint? RemoteOf(Socket socket)
    {
        try
        {
            return socket.RemoteEndPoint;
        }
        catch (SocketException)
        {
            return null;
        }
    }
}
