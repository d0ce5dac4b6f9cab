using System.Net;
using Cluster.Messages.Wire;

namespace Cluster.Tests.Unit.Fakes;

/// <summary>The server's end of a connection whose other end is the test.</summary>
internal sealed class FakeSocket(FakeLoop loop, ISocketEvents events) : ILoopSocket
{
    private readonly MemoryStream _sent = new();
    private byte[] _incoming = [];
    private bool _paused;
    private int _read;

    public EndPoint? RemoteEndPoint => new IPEndPoint(IPAddress.Loopback, 4711);

    public bool IsOpen { get; private set; } = true;

    public string CloseDetail { get; private set; } = "";

    public CloseReason Reason { get; private set; }

    /// <summary>What the test says is still queued.</summary>
    public long QueuedBytes { get; set; }

    public bool IsPaused => _paused;

    public int Unread => _incoming.Length;

    /// <summary>The client sends; everything is offered to the server until it takes no more.</summary>
    public void Feed(params byte[] bytes)
    {
        _incoming = [.. _incoming, .. bytes];
        Offer();
    }

    /// <summary>The client ends the connection.</summary>
    public void Hangup()
    {
        CloseNow(CloseReason.EndOfStream, "the peer ended the connection");
        loop.Run();
    }

    public void Drain()
    {
        QueuedBytes = 0;
        events.OnDrained(this);
        Offer();
    }

    public void Offer()
    {
        loop.Run();
        while (IsOpen && !_paused && _incoming.Length > 0)
        {
            var before = _incoming.Length;
            events.OnReadable(this);
            loop.Run();
            Assert.True(_incoming.Length < before || _paused || !IsOpen, "the server was told of bytes and neither took one nor paused");
        }
    }

    public int Receive(Span<byte> to)
    {
        if (_incoming.Length == 0 || !IsOpen) return -1;
        var count = Math.Min(to.Length, _incoming.Length);
        _incoming.AsSpan(0, count).CopyTo(to);
        _incoming = _incoming[count..];
        return count;
    }

    public void Send(ReadOnlySpan<byte> bytes)
    {
        if (IsOpen) _sent.Write(bytes);
    }

    public void Send(IoBuffer buffer, int offset, int length) => Send(buffer.Whole.Slice(offset, length));

    public void PauseReading() => _paused = true;

    public void ResumeReading() => _paused = false;

    public void Close(CloseReason reason, string detail) => CloseNow(reason, detail);

    /// <summary>What the server sent since the last call.</summary>
    public byte[] Sent()
    {
        var bytes = _sent.ToArray()[_read..];
        _read += bytes.Length;
        return bytes;
    }

    private void CloseNow(CloseReason reason, string detail)
    {
        if (!IsOpen) return;
        (IsOpen, Reason, CloseDetail) = (false, reason, detail);
        loop.Post(() => events.OnClosed(this, reason, detail));
    }
}
