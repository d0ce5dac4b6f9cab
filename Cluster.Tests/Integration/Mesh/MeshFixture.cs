using System.Net;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Ingress;
using Microsoft.Extensions.Logging;

namespace Cluster.Tests.Integration.Mesh;

/// <summary>
/// One mesh node on a loop of its own, and all that it said. Echo mode sends back each frame of kind ClientRead as
/// ClientReadReply.
/// </summary>
internal sealed class MeshFixture : IAsyncDisposable, IMeshEvents, ILogger
{
    public static readonly Guid Cluster = new("11111111-2222-3333-4444-555555555555");
    public static readonly Guid Era = new("66666666-7777-8888-9999-aaaaaaaaaaaa");

    private readonly LoopFixture _loop = new();
    private readonly Lock _lock = new();
    private readonly List<(Func<MeshFixture, bool> Condition, TaskCompletionSource Done)> _waits = [];

    /// <summary>Nodes are ordered by <paramref name="rank"/>: the lower one dials.</summary>
    public MeshFixture(byte rank, IPEndPoint? listen = null, Func<MeshIdentity, MeshIdentity>? change = null, NodeId? id = null)
    {
        var node = id ?? new NodeId(new Guid([0, 0, 0, rank, .. Guid.NewGuid().ToByteArray().AsSpan(4)]));
        var identity = new MeshIdentity(Cluster, Era, node, $"node-{rank}");
        Mesh = new MeshNode(_loop.Loop, change?.Invoke(identity) ?? identity, this, this);
        EndPoint = (IPEndPoint)Mesh.Start(listen ?? SocketProbe.AnyPort);
    }

    public MeshNode Mesh { get; }

    public EpollLoop Loop => _loop.Loop;

    public NodeId Id => Mesh.Identity.Node;

    public IPEndPoint EndPoint { get; }

    public MeshPeerInfo Info => new(Id, Mesh.Identity.Name, EndPoint.Address.ToString(), EndPoint.Port);

    public bool Echo { get; set; }

    public Action<MeshLink>? LinkUp { get; set; }

    public List<MeshLink> Ups { get; } = [];

    public List<(MeshLink Link, CloseReason Reason, string Detail)> Downs { get; } = [];

    public List<NodeId> Refused { get; } = [];

    public List<string> Lines { get; } = [];

    public List<(FrameHeader Header, byte[] Body)> Frames { get; } = [];

    public Task<T> On<T>(Func<T> work) => _loop.On(work);

    public Task On(Action work) => _loop.On(work);

    public void Know(params MeshFixture[] others) => Mesh.UpdatePeers(others.Select(other => other.Info));

    /// <summary>Until the condition holds; checked after each event, without polling.</summary>
    public Task Until(Func<MeshFixture, bool> condition)
    {
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_lock)
        {
            if (condition(this)) done.SetResult();
            else _waits.Add((condition, done));
        }
        return done.Task.WaitAsync(LoopFixture.Patience);
    }

    public Task UntilUp(int count = 1) => Until(node => node.Ups.Count >= count);

    public void OnLinkUp(MeshLink link)
    {
        Change(() => Ups.Add(link));
        LinkUp?.Invoke(link);
    }

    public void OnLinkDown(MeshLink link, CloseReason reason, string detail)
    {
        Assert.False(link.IsUp);
        Change(() => Downs.Add((link, reason, detail)));
    }

    public void OnPeerRefused(NodeId peer) => Change(() => Refused.Add(peer));

    public void OnFrame(IFrameLink from, in FrameHeader header, ReadOnlySpan<byte> body, IoBuffer? buffer)
    {
        if (Echo && header.Kind == FrameKind.ClientRead) SendBack(from, header, body, buffer);
        else
        {
            var (copy, bytes) = (header, body.ToArray());
            Change(() => Frames.Add((copy, bytes)));
        }
    }

    public async ValueTask DisposeAsync()
    {
        Mesh.Stop();
        await _loop.DisposeAsync();
    }

    IDisposable? ILogger.BeginScope<TState>(TState state) => null;

    bool ILogger.IsEnabled(LogLevel logLevel) => true;

    void ILogger.Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception,
        Func<TState, Exception?, string> formatter) =>
        Change(() => Lines.Add(formatter(state, exception)));

    private static void SendBack(IFrameLink from, FrameHeader header, ReadOnlySpan<byte> body, IoBuffer? buffer)
    {
        header.Kind = FrameKind.ClientReadReply;
        if (buffer is null) from.Send(header, body);
        else from.Send(header, buffer);
    }

    private void Change(Action change)
    {
        lock (_lock)
        {
            change();
            for (var index = _waits.Count - 1; index >= 0; index--)
            {
                if (!_waits[index].Condition(this)) continue;
                _waits[index].Done.SetResult();
                _waits.RemoveAt(index);
            }
        }
    }
}
