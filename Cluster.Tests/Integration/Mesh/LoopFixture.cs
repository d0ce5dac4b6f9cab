using System.Net;
using System.Net.Sockets;
using Cluster.Messages.Wire;
using Cluster.Node.Ingress;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Integration.Mesh;

/// <summary>A running loop for one test; a fault of the loop fails the test at the end.</summary>
internal sealed class LoopFixture : IAsyncDisposable
{
    /// <summary>A bound on waiting, not an expectation: a test that meets it has hung.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private readonly TaskCompletionSource<Exception> _fault = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public LoopFixture()
    {
        Loop = new EpollLoop("test-loop", NullLogger.Instance, exception => _fault.TrySetResult(exception));
        Loop.Start();
    }

    public EpollLoop Loop { get; }

    public bool FaultExpected { get; set; }

    public Task<Exception> Fault => _fault.Task;

    /// <summary>Runs on the loop and answers what it gave.</summary>
    public Task<T> On<T>(Func<T> work)
    {
        var done = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        Loop.Post(() => done.SetResult(work()));
        return done.Task.WaitAsync(Patience);
    }

    public Task On(Action work) => On(() =>
    {
        work();
        return true;
    });

    public async ValueTask DisposeAsync()
    {
        await Loop.DisposeAsync();
        if (!FaultExpected && _fault.Task.IsCompleted) throw new InvalidOperationException("the loop failed", await _fault.Task);
    }
}

/// <summary>Records what a socket says; the tests wait for its tasks. Echo mode sends back what comes.</summary>
internal sealed class SocketProbe : ISocketEvents
{
    private readonly byte[] _buffer = new byte[32 * 1024];
    private readonly Lock _lock = new();
    private readonly List<(Func<SocketProbe, bool> Condition, TaskCompletionSource Done)> _waits = [];

    public MemoryStream Received { get; } = new();

    public bool Echo { get; init; }

    public bool Discard { get; init; }

    public long ReceivedBytes { get; private set; }

    public ILoopSocket? Socket { get; private set; }

    public (CloseReason Reason, string Detail)? Closed { get; private set; }

    public int Drained { get; private set; }

    public void OnConnected(ILoopSocket socket) => Change(() => Socket = socket);

    public void OnReadable(ILoopSocket socket)
    {
        int count;
        while ((count = socket.Receive(_buffer)) > 0)
        {
            if (Echo) socket.Send(_buffer.AsSpan(0, count));
            Change(() =>
            {
                ReceivedBytes += count;
                if (!Discard) Received.Write(_buffer, 0, count);
            });
        }
    }

    public void OnDrained(ILoopSocket socket) => Change(() => Drained++);

    public void OnClosed(ILoopSocket socket, CloseReason reason, string detail) => Change(() =>
    {
        Assert.Null(Closed);
        Closed = (reason, detail);
    });

    /// <summary>Until the condition holds; checked after each event, without polling.</summary>
    public Task Until(Func<SocketProbe, bool> condition)
    {
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_lock)
        {
            if (condition(this)) done.SetResult();
            else _waits.Add((condition, done));
        }
        return done.Task.WaitAsync(LoopFixture.Patience);
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

    public static IPEndPoint AnyPort => new(IPAddress.Loopback, 0);

    public static (Socket Left, Socket Right) ConnectedPair()
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(AnyPort);
        listener.Listen(1);
        var left = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        left.Connect(listener.LocalEndPoint!);
        return (left, listener.Accept());
    }
}
