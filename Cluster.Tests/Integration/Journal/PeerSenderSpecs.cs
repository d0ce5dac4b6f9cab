using System.Net;
using System.Net.Sockets;
using Cluster.Node.Journal;
using Cluster.Node.Journal.Formation;
using Cluster.Node.Journal.Net;
using Cluster.Node.Journal.Raft;
using Cluster.Tests.Unit.Journal;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Integration.Journal;

/// <summary>The connection that carries one member's Raft messages to another, which is played by hand.</summary>
public sealed class PeerSenderSpecs
{
    private const int Deaths = 40;
    private const int Burst = 2000;
    private static readonly RaftMessage Beat = new RaftMessage.AppendReply(0, 1, 1, true, 0, 0, 0);

    [Fact(DisplayName = "A member that dies while it is being written to is connected to again, every time: a write that fails is no reason to send it nothing for ever")]
    public async Task Comes_back()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var (self, peer) = (TestMembers.Node(0), TestMembers.Node(1));
        var dialer = new JournalDialer(purpose => new Hello(purpose, self, Guid.Empty, Guid.Empty), timeoutMs: 30_000);
        var address = new JournalAddress("127.0.0.1", ((IPEndPoint)listener.LocalEndpoint).Port);
        var sender = new PeerSender(new PeerTarget(peer.Name, peer.NodeId, () => address), dialer, () => TestMembers.Voters(2), new PeerEvents(() => { }, () => { }), NullLogger.Instance);
        await using (sender)
        {
            for (var death = 0; death < Deaths; death++)
            {
                using var socket = await AcceptAsync(listener);
                var arrived = WelcomeAsync(socket, peer);
                // What was sent before the connection was there is dropped.
                while (!arrived.IsCompleted)
                {
                    sender.Send(Beat);
                    await Task.Delay(1);
                }
                await arrived;
                var burst = Task.Run(() =>
                {
                    for (var message = 0; message < Burst; message++) sender.Send(Beat);
                });
                // As the kernel does for a process that was killed with bytes that it had not read.
                socket.LingerState = new LingerOption(true, 0);
                socket.Dispose();
                await burst;
            }
            using var again = await AcceptAsync(listener);
        }
    }

    [Fact(DisplayName = "What fails in a way that nobody expects is no reason to send a member nothing for ever, either: it is told as lost, logged once, and connected to again")]
    public async Task Goes_on()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var (self, peer) = (TestMembers.Node(0), TestMembers.Node(1));
        var dialer = new JournalDialer(purpose => new Hello(purpose, self, Guid.Empty, Guid.Empty), timeoutMs: 30_000);
        var address = new JournalAddress("127.0.0.1", ((IPEndPoint)listener.LocalEndpoint).Port);
        var (asked, lost, log) = (0, 0, new ErrorCount());
        var target = new PeerTarget(peer.Name, peer.NodeId, () => Interlocked.Increment(ref asked) <= 3 ? throw new InvalidOperationException("a mistake") : address);
        await using var sender = new PeerSender(target, dialer, () => TestMembers.Voters(2), new PeerEvents(() => Interlocked.Increment(ref lost), () => { }), log);
        using var socket = await AcceptAsync(listener);
        Assert.Equal((4, 3, 1), (asked, lost, log.Errors));
    }

    private sealed class ErrorCount : ILogger
    {
        private int _errors;

        public int Errors => Volatile.Read(ref _errors);

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (logLevel == LogLevel.Error && exception is InvalidOperationException) Interlocked.Increment(ref _errors);
        }
    }

    private static Task<Socket> AcceptAsync(TcpListener listener) => listener.AcceptSocketAsync().WaitAsync(TimeSpan.FromSeconds(30));

    private static async Task WelcomeAsync(Socket socket, FormationMember self)
    {
        var header = new byte[JournalFrameHeader.Bytes];
        await using var stream = new NetworkStream(socket);
        await stream.ReadExactlyAsync(header);
        await stream.ReadExactlyAsync(new byte[JournalFrameHeader.Decode(header, JournalLimits.HandshakeBytesMax).Length]);
        var answer = new HelloAnswer("", self, FormationState.None, 2);
        await stream.WriteAsync(JournalFrameHeader.Encode(JournalFrameKind.HelloAnswer, 0, answer.Encode()));
        // Messages come from here on.
        await stream.ReadExactlyAsync(header);
    }
}
