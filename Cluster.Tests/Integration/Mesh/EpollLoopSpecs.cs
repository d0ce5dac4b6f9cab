using System.Net;
using System.Net.Sockets;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Ingress;

namespace Cluster.Tests.Integration.Mesh;

public class EpollLoopSpecs
{
    [Fact(DisplayName = "Posted work runs on the loop's thread, in order")]
    public async Task Posted_work_runs_in_order()
    {
        await using var fixture = new LoopFixture();
        var seen = new List<int>();
        for (var number = 0; number < 1000; number++)
        {
            var mine = number;
            fixture.Loop.Post(() =>
            {
                Assert.True(fixture.Loop.IsCurrent);
                seen.Add(mine);
            });
        }
        Assert.Equal(Enumerable.Range(0, 1000), await fixture.On(() => seen.ToArray()));
        Assert.False(fixture.Loop.IsCurrent);
    }

    [Fact(DisplayName = "Timers run in the order of their due times, cancelled ones never, also when most are cancelled")]
    public async Task Timers_run_in_order()
    {
        await using var fixture = new LoopFixture();
        var seen = new List<int>();
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await fixture.On(() =>
        {
            foreach (var delayMs in new[] { 400, 50, 200 }) fixture.Loop.Schedule(delayMs, () => seen.Add(delayMs));
            var cancelled = Enumerable.Range(0, 3000).Select(n => fixture.Loop.Schedule(n % 25, () => seen.Add(-1))).ToArray();
            foreach (var timer in cancelled) timer.Cancel();
            cancelled[0].Cancel();
            fixture.Loop.Schedule(500, done.SetResult);
        });
        await done.Task.WaitAsync(LoopFixture.Patience);
        Assert.Equal([50, 200, 400], seen);
    }

    [Fact(DisplayName = "A timer made by a timer waits for the next turn, so that a zero delay can't hold the loop")]
    public async Task Zero_delay_does_not_starve()
    {
        await using var fixture = new LoopFixture();
        var turns = new HashSet<ulong>();
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        void Again()
        {
            turns.Add(fixture.Loop.Turn);
            if (turns.Count < 5) fixture.Loop.Schedule(0, Again);
            else done.SetResult();
        }
        await fixture.On(Again);
        await done.Task.WaitAsync(LoopFixture.Patience);
        Assert.Equal(5, turns.Count);
    }

    [Fact(DisplayName = "A connection echoes what it gets, in order, whatever the sizes")]
    public async Task Echo_of_random_sizes()
    {
        await using var fixture = new LoopFixture();
        var server = new SocketProbe { Echo = true };
        var listener = fixture.Loop.Listen(SocketProbe.AnyPort, socket => fixture.Loop.Adopt(socket, server));
        var client = new SocketProbe();
        await fixture.On(() => fixture.Loop.Connect(listener.EndPoint, client));
        await client.Until(probe => probe.Socket is not null);
        var random = new Random(7);
        var sent = new MemoryStream();
        for (var number = 0; number < 200; number++)
        {
            var bytes = new byte[random.Next(1, 20_000)];
            random.NextBytes(bytes);
            sent.Write(bytes);
            await fixture.On(() =>
            {
                if (bytes.Length % 2 == 0) client.Socket!.Send(bytes);
                else SendByReference(client.Socket!, bytes);
            });
        }
        await client.Until(probe => probe.ReceivedBytes >= sent.Length);
        Assert.Equal(sent.ToArray(), client.Received.ToArray());
        Assert.Equal(0, await fixture.On(() => client.Socket!.QueuedBytes));
    }

    [Fact(DisplayName = "What a peer does not read queues up; when it reads, all arrives in order and OnDrained is told")]
    public async Task Partial_writes_and_drain()
    {
        await using var fixture = new LoopFixture();
        var (left, right) = SocketProbe.ConnectedPair();
        using var peer = right;
        var probe = new SocketProbe();
        var socket = await fixture.On(() => fixture.Loop.Adopt(left, probe));
        var chunk = new byte[100_000];
        const int Count = 300;
        await fixture.On(() =>
        {
            for (var number = 0; number < Count; number++)
            {
                Array.Fill(chunk, (byte)number);
                SendByReference(socket, chunk);
            }
        });
        Assert.True(await fixture.On(() => socket.QueuedBytes) > LoopLimits.OutQueueBytesHigh);
        Assert.Equal(0, probe.Drained);
        var got = new byte[chunk.Length];
        for (var number = 0; number < Count; number++)
        {
            ReadExactly(peer, got);
            Assert.False(got.AsSpan().ContainsAnyExcept((byte)number), $"chunk {number}");
        }
        await probe.Until(p => p.Drained == 1);
        Assert.Equal(0, await fixture.On(() => socket.QueuedBytes));
    }

    [Fact(DisplayName = "A paused socket reads nothing and does not spin; resumed, it gets everything, then the end")]
    public async Task Pause_and_resume()
    {
        await using var fixture = new LoopFixture();
        var (left, right) = SocketProbe.ConnectedPair();
        var probe = new SocketProbe();
        var socket = await fixture.On(() => fixture.Loop.Adopt(left, probe));
        await fixture.On(socket.PauseReading);
        right.Send(new byte[5000]);
        right.Dispose();
        await fixture.On(() => true);
        var turnBefore = await fixture.On(() => fixture.Loop.Turn);
        var turnAfter = await fixture.On(() => fixture.Loop.Turn);
        Assert.InRange(turnAfter - turnBefore, 0UL, 4UL);
        Assert.Equal(0, probe.ReceivedBytes);
        await fixture.On(socket.ResumeReading);
        await probe.Until(p => p.Closed is not null);
        Assert.Equal(5000, probe.ReceivedBytes);
        Assert.Equal(CloseReason.EndOfStream, probe.Closed!.Value.Reason);
    }

    [Fact(DisplayName = "Nobody listens: Refused, for TCP and for a Unix path that does not exist")]
    public async Task Connection_refused()
    {
        await using var fixture = new LoopFixture();
        using (var free = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp))
        {
            free.Bind(SocketProbe.AnyPort);
            await Refused(fixture, free.LocalEndPoint!);
        }
        await Refused(fixture, new UnixDomainSocketEndPoint(Path.Combine(Path.GetTempPath(), $"none-{Guid.NewGuid():N}")));
        Assert.Equal(0, await fixture.On(() => fixture.Loop.EntryCount));
    }

    [Fact(DisplayName = "A Unix listener accepts, takes over the path of a dead process and removes it at the end")]
    public async Task Unix_sockets()
    {
        await using var fixture = new LoopFixture();
        var path = Path.Combine(Path.GetTempPath(), $"mesh-{Guid.NewGuid():N}.sock");
        using (var dead = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            dead.Bind(new UnixDomainSocketEndPoint(path));
            File.Move(path, path + ".kept");
        }
        File.Move(path + ".kept", path);
        var listener = fixture.Loop.Listen(new UnixDomainSocketEndPoint(path),
            socket => fixture.Loop.Adopt(socket, new SocketProbe { Echo = true }));
        Assert.Throws<SocketException>(() => fixture.Loop.Listen(new UnixDomainSocketEndPoint(path), _ => { }));
        var client = new SocketProbe();
        var socket = await fixture.On(() => fixture.Loop.Connect(new UnixDomainSocketEndPoint(path), client));
        await fixture.On(() => socket.Send("hello"u8));
        await client.Until(probe => probe.ReceivedBytes == 5);
        await fixture.On(listener.Dispose);
        await fixture.On(() => true);
        Assert.False(File.Exists(path));
    }

    [Fact(DisplayName = "Close sends what the kernel takes first; the peer reads it and then the end")]
    public async Task Close_sends_first()
    {
        await using var fixture = new LoopFixture();
        var (left, right) = SocketProbe.ConnectedPair();
        using var peer = right;
        var probe = new SocketProbe();
        await fixture.On(() =>
        {
            var socket = fixture.Loop.Adopt(left, probe);
            socket.Send("bye"u8);
            socket.Close(CloseReason.Local, "done");
            Assert.False(socket.IsOpen);
            Assert.Null(probe.Closed);
            socket.Send("lost"u8);
        });
        var got = new byte[3];
        ReadExactly(peer, got);
        Assert.Equal("bye"u8.ToArray(), got);
        Assert.Equal(0, peer.Receive(got));
        await probe.Until(p => p.Closed == (CloseReason.Local, "done"));
    }

    [Fact(DisplayName = "Buffers that were queued on a socket that closes go back to the pool")]
    public async Task Close_releases_buffers()
    {
        await using var fixture = new LoopFixture();
        var (left, right) = SocketProbe.ConnectedPair();
        using var peer = right;
        var probe = new SocketProbe();
        var pool = new BufferPool();
        await fixture.On(() =>
        {
            var socket = fixture.Loop.Adopt(left, probe);
            for (var number = 0; number < 100; number++)
            {
                var buffer = pool.Rent(200_000);
                socket.Send(buffer, 0, buffer.Length);
                buffer.Release();
            }
        });
        Assert.True(pool.RentedBytes > 0);
        peer.LingerState = new LingerOption(true, 0);
        peer.Dispose();
        await probe.Until(p => p.Closed is not null);
        Assert.Equal(CloseReason.Reset, probe.Closed!.Value.Reason);
        Assert.Equal(0, pool.RentedBytes);
    }

    [Fact(DisplayName = "Phases run in order, again until none did anything, and their sends leave in the same turn")]
    public async Task Phases_run_until_quiet()
    {
        await using var fixture = new LoopFixture();
        var trace = new List<string>();
        var left = new Counter("deliver", trace) { Left = 2 };
        var right = new Counter("store", trace) { Left = 1 };
        await fixture.On(() =>
        {
            fixture.Loop.AddPhase(TurnPhase.Store, right);
            fixture.Loop.AddPhase(TurnPhase.Deliver, left);
        });
        await fixture.On(() => true);
        Assert.Equal(["deliver", "store", "deliver"], await fixture.On(() => trace.ToArray()));
    }

    [Fact(DisplayName = "A phase that never ends does not keep sockets and timers from their turns")]
    public async Task Endless_phase_is_bounded()
    {
        await using var fixture = new LoopFixture();
        await fixture.On(() => fixture.Loop.AddPhase(TurnPhase.Deliver, new Counter("endless", []) { Left = int.MaxValue }));
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await fixture.On(() => fixture.Loop.Schedule(1, done.SetResult));
        await done.Task.WaitAsync(LoopFixture.Patience);
    }

    [Fact(DisplayName = "An exception of a handler ends the loop and is told to the host; it is never swallowed")]
    public async Task Handler_exception_is_fatal()
    {
        await using var fixture = new LoopFixture { FaultExpected = true };
        var (left, right) = SocketProbe.ConnectedPair();
        using var peer = right;
        await fixture.On(() => fixture.Loop.Adopt(left, new SocketProbe()));
        fixture.Loop.Post(() => Invariant.That(false, "two and two are five"));
        var fault = await fixture.Fault.WaitAsync(LoopFixture.Patience);
        Assert.IsType<InvariantException>(fault);
    }

    [Fact(DisplayName = "A socket that floods the loop leaves the others their turns")]
    public async Task Read_budget()
    {
        await using var fixture = new LoopFixture();
        var (left, right) = SocketProbe.ConnectedPair();
        var stop = false;
        var flood = Task.Run(() =>
        {
            var bytes = new byte[1 << 20];
            while (!Volatile.Read(ref stop)) right.Send(bytes);
            right.Dispose();
        });
        var flooded = new SocketProbe { Discard = true };
        await fixture.On(() => fixture.Loop.Adopt(left, flooded));
        await flooded.Until(probe => probe.ReceivedBytes > 8 << 20);
        for (var number = 0; number < 100; number++) await fixture.On(() => true);
        Volatile.Write(ref stop, true);
        await flood;
        await flooded.Until(probe => probe.Closed is not null);
    }

    [Fact(DisplayName = "The loop's end closes what is open")]
    public async Task Stop_closes_sockets()
    {
        var fixture = new LoopFixture();
        var (left, right) = SocketProbe.ConnectedPair();
        using var peer = right;
        var probe = new SocketProbe();
        await fixture.On(() => fixture.Loop.Adopt(left, probe));
        await fixture.DisposeAsync();
        Assert.Equal(CloseReason.Local, probe.Closed!.Value.Reason);
        Assert.Equal(0, peer.Receive(new byte[1]));
    }

    private static async Task Refused(LoopFixture fixture, EndPoint endPoint)
    {
        var probe = new SocketProbe();
        await fixture.On(() => fixture.Loop.Connect(endPoint, probe));
        await probe.Until(p => p.Closed is not null);
        Assert.Equal(CloseReason.Refused, probe.Closed!.Value.Reason);
        Assert.Null(probe.Socket);
    }

    private static void SendByReference(ILoopSocket socket, ReadOnlySpan<byte> bytes)
    {
        var buffer = BufferPool.Shared.Rent(bytes.Length + 3);
        bytes.CopyTo(buffer.Whole[3..]);
        socket.Send(buffer, 3, bytes.Length);
        buffer.Release();
    }

    private static void ReadExactly(Socket socket, byte[] to)
    {
        for (var at = 0; at < to.Length;)
        {
            var count = socket.Receive(to.AsSpan(at));
            Assert.True(count > 0, "the stream ended early");
            at += count;
        }
    }

    private sealed class Counter(string name, List<string> trace) : ITurnPhase
    {
        public int Left;

        public bool Run()
        {
            if (Left == 0) return false;
            if (Left != int.MaxValue) Left--;
            trace.Add(name);
            if (trace.Count > 1000) trace.Clear();
            return true;
        }
    }
}
