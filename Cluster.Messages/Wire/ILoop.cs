using System.Net;
using System.Net.Sockets;

namespace Cluster.Messages.Wire;

/// <summary>
/// One I/O thread: sockets, timers and the machines of the volumes pinned to it. Everything not marked otherwise is called on that thread only.
/// A turn: (1) socket and timer events and posted work; (2) the phases in rising order, again from the first as long as one did
/// something; (3) one send per socket that has bytes queued. Handlers never block.
/// </summary>
public interface ILoop
{
    /// <summary>Milliseconds of CLOCK_BOOTTIME (counts suspend), as of the start of this turn's events. Any thread.</summary>
    long NowMs { get; }

    /// <summary>The same, read anew.</summary>
    long FreshNowMs();

    /// <summary>Whether the caller is on this loop's thread. Any thread.</summary>
    bool IsCurrent { get; }

    /// <summary>Where its time goes. Loops that are not measured have <see cref="LoopStages.Off"/>.</summary>
    LoopStages Stages => LoopStages.Off;

    /// <summary>Runs <paramref name="work"/> in an early turn. Any thread. For control; data stays on its loop.</summary>
    void Post(Action work);

    /// <summary>Calls <paramref name="work"/> once after <paramref name="delayMs"/>, unless it is cancelled first.</summary>
    ILoopTimer Schedule(int delayMs, Action work);

    /// <summary>Adds a phase of the turn. <see cref="ITurnPhase.Run"/> answers whether it did something.</summary>
    void AddPhase(int order, ITurnPhase phase);

    /// <summary>Takes over a connected socket (made non-blocking, NoDelay for TCP).</summary>
    ILoopSocket Adopt(Socket socket, ISocketEvents events);

    /// <summary>Starts to connect; the answer is <see cref="ISocketEvents.OnConnected"/> or <see cref="ISocketEvents.OnClosed"/>.</summary>
    ILoopSocket Connect(EndPoint endPoint, ISocketEvents events);

    /// <summary>Listens on a TCP or Unix endpoint; <paramref name="accept"/> is called on the loop with each accepted, not yet adopted socket. Any thread.</summary>
    ILoopListener Listen(EndPoint endPoint, Action<Socket> accept);
}

public interface ILoopTimer
{
    void Cancel();
}

public interface ILoopListener : IDisposable
{
    /// <summary>The endpoint bound, with the port that the system chose if 0 was asked for.</summary>
    EndPoint EndPoint { get; }
}

/// <summary>Order of the phases of a turn.</summary>
public static class TurnPhase
{
    /// <summary>Frames between parts of the same process.</summary>
    public const int Deliver = 10;

    /// <summary>The store writes what was staged in this turn (one pwritev) and tells its replicas.</summary>
    public const int Store = 20;

    /// <summary>Acks are sent, one per volume and peer.</summary>
    public const int Acknowledge = 30;
}

public interface ITurnPhase
{
    bool Run();
}

public enum CloseReason : byte
{
    Unset = 0,
    /// <summary>By our own call.</summary>
    Local = 1,
    /// <summary>The peer ended it in order.</summary>
    EndOfStream = 2,
    Reset = 3,
    /// <summary>Connect: nobody listens there; the process is dead (its host is alive).</summary>
    Refused = 4,
    Unreachable = 5,
    TimedOut = 6,
    /// <summary>The peer broke the protocol.</summary>
    Protocol = 7,
}

public interface ISocketEvents
{
    /// <summary>Whose time the socket's work is.</summary>
    LoopStage Stage => LoopStage.Other;

    void OnConnected(ILoopSocket socket);

    /// <summary>Bytes may be read with <see cref="ILoopSocket.Receive"/>; called again in the next turn as long as some are left.</summary>
    void OnReadable(ILoopSocket socket);

    /// <summary>The out queue fell below half of its bound after it was above it.</summary>
    void OnDrained(ILoopSocket socket);

    /// <summary>Once, last. Buffers that were queued have been released.</summary>
    void OnClosed(ILoopSocket socket, CloseReason reason, string detail);
}

public interface ILoopSocket
{
    EndPoint? RemoteEndPoint { get; }

    bool IsOpen { get; }

    /// <summary>Bytes queued and not yet taken by the kernel.</summary>
    long QueuedBytes { get; }

    /// <summary>Whose socket it is, for a loop that shares its turns among several; null: nobody's, and read as ever.</summary>
    LoopFlow? Flow
    {
        get => null;
        set { }
    }

    /// <summary>Reads what is there: the count, 0 at the end of the stream (the socket then closes by itself), -1 when nothing is there now.</summary>
    int Receive(Span<byte> to);

    /// <summary>Queues a copy of the bytes; they go out with this turn's one send.</summary>
    void Send(ReadOnlySpan<byte> bytes);

    /// <summary>Queues part of a buffer by reference; the socket holds a reference until the bytes are with the kernel.</summary>
    void Send(IoBuffer buffer, int offset, int length);

    /// <summary>Back-pressure: no OnReadable until it is resumed.</summary>
    void PauseReading();

    void ResumeReading();

    /// <summary>Sends what is queued if the kernel takes it at once, then closes.</summary>
    void Close(CloseReason reason, string detail);
}
