using System.Buffers;
using System.Buffers.Binary;
using System.Net.Sockets;
using Cluster.Csi.Nbd;

namespace Cluster.Csi.Fuse;

/// <summary>The connection to the node: kept, lost, had again.</summary>
public sealed partial class DeviceServer
{
    private void RunLink(NbdLink first)
    {
        try
        {
            for (var link = first; link is not null; link = Reconnect())
            {
                Grow(link.SizeBytes);
                if (!ReferenceEquals(link, first)) StartReplay(link);
                var reason = ReceiveUntilLost(link);
                lock (_sending) _link = null;
                link.Dispose();
                int waiting;
                lock (_table) waiting = _pending.Count;
                Log($"lost the node ({reason}), {waiting} requests wait");
            }
        }
        catch (Exception failure)
        {
            // Whatever it is, nothing would answer the kernel any more: the process must not stay.
            Log($"ends: {failure}");
            Environment.Exit(1);
        }
    }

    /// <summary>The next connection; null when this is to end. I/O fails when the hold time is over, until there is one.</summary>
    private NbdLink? Reconnect()
    {
        var lostAtMs = Environment.TickCount64;
        while (!_ended.Wait(ReconnectMs))
        {
            try
            {
                var link = NbdLink.Connect(_options.Server, _options.Export);
                Log($"has the node again after {Environment.TickCount64 - lostAtMs} ms");
                return link;
            }
            catch (NbdRefusedException refused) when (refused.IsFinal)
            {
                Log($"ends: {refused.Message}");
                FailAll();
                // The kernel cuts the file off; who holds it open gets errors from now on, which is what being fenced means.
                Environment.Exit(1);
            }
            catch (Exception failure) when (failure is SocketException or IOException)
            {
                if (Environment.TickCount64 - lostAtMs < _options.HoldMs || _failing) continue;
                Log($"no node for {_options.HoldMs} ms ({failure.Message}): I/O fails");
                FailAll();
            }
        }
        return null;
    }

    private void FailAll()
    {
        lock (_sending)
        {
            _failing = true;
            lock (_table)
            {
                foreach (var request in _pending.Values)
                {
                    Answer(request.Unique, Errno.InputOutput);
                    request.Free();
                }
                _pending.Clear();
            }
        }
    }

    private void Grow(ulong sizeBytes)
    {
        lock (_table)
        {
            if (sizeBytes <= _sizeBytes) return;
            Volatile.Write(ref _sizeBytes, sizeBytes);
        }
        Log($"has {sizeBytes} B now");
    }

    /// <summary>Apart from the receiver: the node answers while it is sent to, and stops reading when its answers are not read.</summary>
    private void StartReplay(NbdLink link)
    {
        // Taken here, so that nothing new overtakes what waits.
        var began = new ManualResetEventSlim();
        new Thread(() =>
        {
            lock (_sending)
            {
                began.Set();
                (_link, _failing) = (link, false);
                KeyValuePair<ulong, DeviceRequest>[] waiting;
                lock (_table) waiting = [.. _pending];
                // One that was answered meanwhile was sent before it in this loop: what is still to be sent is untouched.
                foreach (var (cookie, request) in waiting)
                {
                    if (!TrySend(link, cookie, request)) return;
                }
            }
        })
        { Name = "replay", IsBackground = true }.Start();
        began.Wait();
        began.Dispose();
    }

    private string ReceiveUntilLost(NbdLink link)
    {
        Span<byte> header = stackalloc byte[NbdLink.ReplyBytes];
        try
        {
            while (true)
            {
                link.Receive(header);
                if (BinaryPrimitives.ReadUInt32BigEndian(header) != NbdProtocol.SimpleReplyMagic) return "its reply is malformed";
                var (error, cookie) = (BinaryPrimitives.ReadUInt32BigEndian(header[4..]), BinaryPrimitives.ReadUInt64BigEndian(header[8..]));
                DeviceRequest? request;
                lock (_table) _pending.TryGetValue(cookie, out request);
                if (request is null) return "it answered what was not asked";
                OnReply(link, cookie, request, error);
            }
        }
        catch (Exception broken) when (broken is SocketException or ObjectDisposedException or IOException)
        {
            return broken.Message;
        }
    }

    private void OnReply(NbdLink link, ulong cookie, DeviceRequest request, uint error)
    {
        if (error == 0 && request.Command == NbdCommandType.Read)
        {
            AnswerRead(link, cookie, request);
            return;
        }
        if (error == 0 && request.Command == NbdCommandType.WriteZeroes && !request.Advance())
        {
            // Not from this thread: a connection whose answers nobody reads may not take it.
            ThreadPool.UnsafeQueueUserWorkItem(_ => SendPiece(link, cookie, request), null);
            return;
        }
        Remove(cookie);
        if (error != 0) Answer(request.Unique, Errno.Of(error));
        else if (request.Command == NbdCommandType.Write) AnswerWritten(request);
        else Answer(request.Unique, 0);
        request.Free();
    }

    private void SendPiece(NbdLink link, ulong cookie, DeviceRequest request)
    {
        lock (_sending)
        {
            // On another connection the replay has sent it.
            if (ReferenceEquals(_link, link)) TrySend(link, cookie, request);
        }
    }

    /// <summary>The data goes from the socket right behind the reply's header. It leaves the table only when it is all there.</summary>
    private void AnswerRead(NbdLink link, ulong cookie, DeviceRequest request)
    {
        var length = FuseProtocol.ReplyHeaderBytes + (int)request.LengthBytes;
        var buffer = ArrayPool<byte>.Shared.Rent(length);
        try
        {
            var reply = buffer.AsSpan(0, length);
            link.Receive(reply[FuseProtocol.ReplyHeaderBytes..]);
            Remove(cookie);
            Answer(request.Unique, reply);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private void AnswerWritten(DeviceRequest request)
    {
        Span<byte> reply = stackalloc byte[FuseProtocol.ReplyHeaderBytes + FuseProtocol.WriteReplyBytes];
        reply.Clear();
        FuseProtocol.Put(reply, FuseProtocol.ReplyHeaderBytes, request.LengthBytes);
        Answer(request.Unique, reply);
    }

    private void Remove(ulong cookie)
    {
        lock (_table) _pending.Remove(cookie);
    }
}
