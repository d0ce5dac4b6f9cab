using System.Net.Sockets;
using Cluster.Messages.Wire;
using Cluster.Node.Ingress;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Integration.Mesh;

/// <summary>The turns of a loop are shared by volumes, however many connections each has.</summary>
public sealed class LoopFlowSpecs
{
    private const int Connections = 8;
    private const int SentBytes = 2 * 1024 * 1024;
    private const int VictimReads = 64;
    private const int VictimBytes = 4096;

    [Fact(DisplayName = "A flood through many connections leaves another volume its part of every turn: together they read what one may, and all of them go on")]
    public async Task Flood()
    {
        await using var loop = new EpollLoop("test-loop", NullLogger.Instance, _ => { });
        var (flood, victim) = (new LoopFlow(), new LoopFlow());
        using var pairs = new Pairs();
        var senders = new List<Task>();
        var readers = new List<Reader>();
        // The victim is the first that the loop reads.
        var (nearVictim, farVictim) = pairs.Make();
        readers.Add(new Reader(loop, victim, farVictim, VictimReads * VictimBytes, VictimBytes));
        senders.Add(nearVictim.SendAsync(new byte[VictimReads * VictimBytes]));
        for (var index = 0; index < Connections; index++)
        {
            var (near, far) = pairs.Make();
            readers.Add(new Reader(loop, flood, far, SentBytes, int.MaxValue));
            senders.Add(SendAllAsync(near));
        }
        // As much as the kernel takes waits before the first turn; the rest follows as it is read.
        loop.Post(() => readers.ForEach(reader => reader.Begin()));
        loop.Start();
        await Task.WhenAll(readers.Select(reader => reader.Ended));
        await Task.WhenAll(senders);

        var victims = readers[0].Reads;
        Assert.Equal(VictimReads, victims.Select(read => read.Turn).Distinct().Count());
        var (from, until) = (victims[0].Turn, victims[^1].Turn);
        var flooded = readers[1..].SelectMany(reader => reader.Reads).Where(read => read.Turn >= from && read.Turn <= until).GroupBy(read => read.Turn);
        Assert.All(flooded, turn => Assert.True(turn.Sum(read => read.Bytes) <= LoopFlow.TurnBytesMax, $"{turn.Sum(read => read.Bytes)} bytes in one turn"));
        Assert.All(readers[1..], reader => Assert.Contains(reader.Reads, read => read.Turn >= from && read.Turn <= until));
    }

    private static async Task SendAllAsync(Socket socket)
    {
        var data = new byte[SentBytes];
        for (var sent = 0; sent < data.Length;) sent += await socket.SendAsync(data.AsMemory(sent));
    }

    [Fact(DisplayName = "What a flow takes beyond its turn counts against the next ones, and not for ever")]
    public void Debt()
    {
        var flow = new LoopFlow();
        Assert.True(flow.Begin(5));
        Assert.False(flow.Begin(5));
        Assert.Equal(LoopFlow.TurnBytesMax, flow.Room);
        flow.Charge(1000);
        Assert.Equal(LoopFlow.TurnBytesMax - 1000, flow.Room);
        flow.Charge(2 * LoopFlow.TurnBytesMax);
        Assert.Equal(0, flow.Room);
        flow.Begin(6);
        Assert.Equal(0, flow.Room);
        flow.Begin(7);
        Assert.Equal(LoopFlow.TurnBytesMax - 1000, flow.Room);
        flow.Charge(1L << 40);
        flow.Begin(7 + LoopFlow.TurnsAheadMax - 1);
        Assert.Equal(0, flow.Room);
        flow.Begin(7 + LoopFlow.TurnsAheadMax);
        Assert.Equal(LoopFlow.TurnBytesMax, flow.Room);
        flow.Begin(ulong.MaxValue);
        Assert.Equal(LoopFlow.TurnBytesMax, flow.Room);
    }

    /// <summary>Reads all there is, or so much a turn, and notes in which turn.</summary>
    private sealed class Reader(EpollLoop loop, LoopFlow flow, Socket socket, int bytes, int turnBytes) : ISocketEvents
    {
        private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly byte[] _buffer = new byte[64 * 1024];
        private int _left = bytes;

        public Task Ended => _ended.Task;

        public List<(ulong Turn, int Bytes)> Reads { get; } = [];

        public void Begin() => loop.Adopt(socket, this).Flow = flow;

        public void OnReadable(ILoopSocket readable)
        {
            for (var room = Math.Min(turnBytes, _left); room > 0;)
            {
                var count = readable.Receive(_buffer.AsSpan(0, Math.Min(room, _buffer.Length)));
                if (count <= 0) break;
                Reads.Add((loop.Turn, count));
                (room, _left) = (Math.Min(room, turnBytes) - count, _left - count);
                if (turnBytes == int.MaxValue) room = _left;
            }
            if (_left == 0) _ended.TrySetResult();
        }

        public void OnConnected(ILoopSocket connected)
        {
        }

        public void OnDrained(ILoopSocket drained)
        {
        }

        public void OnClosed(ILoopSocket closed, CloseReason reason, string detail) => _ended.TrySetResult();
    }

    private sealed class Pairs : IDisposable
    {
        private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-flow-").FullName;
        private readonly List<Socket> _sockets = [];

        public (Socket Near, Socket Far) Make()
        {
            var path = new UnixDomainSocketEndPoint(Path.Combine(_directory, $"{_sockets.Count}"));
            using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            listener.Bind(path);
            listener.Listen(1);
            var near = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { SendBufferSize = 4 * SentBytes };
            near.Connect(path);
            var far = listener.Accept();
            _sockets.AddRange([near, far]);
            return (near, far);
        }

        public void Dispose()
        {
            foreach (var socket in _sockets) socket.Dispose();
            Directory.Delete(_directory, recursive: true);
        }
    }
}
