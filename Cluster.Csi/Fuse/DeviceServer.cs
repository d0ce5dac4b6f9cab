using System.Net.Sockets;
using System.Runtime.InteropServices;
using Cluster.Csi.Attach;
using Cluster.Csi.Nbd;

namespace Cluster.Csi.Fuse;

/// <param name="Export">Of one generation of a volume's attachment.</param>
/// <param name="Path">A regular file, which shows the volume from then on.</param>
/// <param name="HoldMs">I/O is held for so long while no node serves it, then it fails until one does.</param>
public sealed record DeviceServerOptions(NbdAddress Server, string Export, string Path, int HoldMs, bool ReadOnly);

/// <summary>
/// A volume as a file, by FUSE: the process behind one device of this host. It outlives the node that it is a client of: while that is away, requests wait
/// here, and all that is unanswered is sent again over the next connection, in the order in which it came. Three threads, which all may block:
/// <code>
///   kernel --/dev/fuse--> [requests] --socket--> node          [link] connects, and again; receives replies; answers the kernel
///                                                [replay] sends what is unanswered over a new connection, while [link] receives
/// </code>
/// One connection carries everything, so that a FLUSH covers what was answered before it. A request is sent exactly once per connection: its entry into the
/// table and its sending are one step under <see cref="_sending"/>, and so is the whole of a replay.
/// </summary>
public sealed partial class DeviceServer : IDisposable
{
    private const int ReconnectMs = 50;

    private readonly DeviceServerOptions _options;
    private readonly TextWriter _log;
    private readonly Lock _sending = new();
    private readonly Lock _table = new();
    private readonly SortedDictionary<ulong, DeviceRequest> _pending = [];
    private readonly ManualResetEventSlim _ended = new();
    private FuseChannel? _channel;
    private NbdLink? _link;
    private ulong _lastCookie;
    private ulong _sizeBytes;

    /// <summary>The hold time is over, and nobody has come back yet.</summary>
    private bool _failing;

    private DeviceServer(DeviceServerOptions options, TextWriter log) => (_options, _log) = (options, log);

    /// <summary>
    /// Connects, mounts, and serves until the file is unmounted, or the export is gone for good. The exit code. The first connection is not tried again: who
    /// started this is told why.
    /// </summary>
    public static int Run(DeviceServerOptions options, TextWriter log)
    {
        using var server = new DeviceServer(options, log);
        try
        {
            var first = NbdLink.Connect(options.Server, options.Export);
            server._sizeBytes = first.SizeBytes;
            server._link = first;
            server._channel = FuseChannel.Mount(options.Path, options.ReadOnly);
            // The volume may have grown. A signal that does nothing where it is not waited for yet, and that nobody ignores: what is started by nohup ignores SIGHUP, and so do its children.
            using var resized = PosixSignalRegistration.Create((PosixSignal)Native.WindowChanged, signal => server.OnResized(signal));
            // It ends when its file is unmounted and not before: a file system may be on it.
            using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Ignore);
            using var hangUp = PosixSignalRegistration.Create(PosixSignal.SIGHUP, Ignore);
            using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Ignore);
            new Thread(() => server.RunLink(first)) { Name = "link", IsBackground = true }.Start();
            server.Serve();
            return 0;
        }
        catch (Exception failure) when (failure is IOException or SocketException)
        {
            log.WriteLine(failure.Message);
            return 1;
        }
    }

    public void Dispose()
    {
        _ended.Set();
        _link?.Dispose();
        _channel?.Dispose();
        _ended.Dispose();
    }

    private static void Ignore(PosixSignalContext signal) => signal.Cancel = true;

    private void OnResized(PosixSignalContext signal)
    {
        signal.Cancel = true;
        try
        {
            using var probe = NbdLink.Connect(_options.Server, _options.Export);
            Grow(probe.SizeBytes);
        }
        catch (Exception failure) when (failure is IOException or SocketException)
        {
            // The next connection, or the next signal, tells.
            Log($"could not look at the size: {failure.Message}");
        }
    }

    private void Log(string text) => _log.WriteLine($"{DateTime.UtcNow:yyyy-MM-dd HH:mm:ss.fff}Z {text}");

    /// <summary>Until it is unmounted.</summary>
    private void Serve()
    {
        Log($"serves {_options.Export} ({_sizeBytes} B) as {_options.Path}");
        var buffer = new byte[FuseProtocol.TransferBytesMax + 4096];
        for (int count; (count = _channel!.Read(buffer)) > 0;) OnRequest(buffer.AsSpan(0, count));
        Log("unmounted");
    }

    private void OnRequest(ReadOnlySpan<byte> request)
    {
        if (request.Length < FuseProtocol.RequestHeaderBytes) throw new IOException($"a request of {request.Length} B came from the kernel");
        var (operation, unique) = ((FuseOperation)FuseProtocol.U32(request, 4), FuseProtocol.U64(request, 8));
        var body = request[FuseProtocol.RequestHeaderBytes..];
        switch (operation)
        {
            case FuseOperation.Init: OnInit(unique, body); break;
            case FuseOperation.GetAttributes: AnswerAttributes(unique); break;
            case FuseOperation.SetAttributes: OnSetAttributes(unique, body); break;
            case FuseOperation.Open: AnswerEmpty(unique, FuseProtocol.OpenReplyBytes); break;
            case FuseOperation.StatFs: AnswerStatFs(unique); break;
            case FuseOperation.Read: OnRead(unique, body); break;
            case FuseOperation.Write: OnWrite(unique, body); break;
            case FuseOperation.Sync: Submit(new DeviceRequest(unique, NbdCommandType.Flush, 0, 0)); break;
            case FuseOperation.Allocate: OnAllocate(unique, body); break;
            case FuseOperation.Release or FuseOperation.Flush or FuseOperation.Destroy: Answer(unique, 0); break;
            // These have no answer. One that was interrupted is waited for: what it does to the volume can't be taken back.
            case FuseOperation.Forget or FuseOperation.BatchForget or FuseOperation.Interrupt: break;
            default: Answer(unique, Errno.NotImplemented); break;
        }
    }

    private void Submit(DeviceRequest request)
    {
        lock (_sending)
        {
            if (_failing)
            {
                Answer(request.Unique, Errno.InputOutput);
                request.Free();
                return;
            }
            var cookie = Enter(request);
            if (_link is { } link) TrySend(link, cookie, request);
        }
    }

    private ulong Enter(DeviceRequest request)
    {
        lock (_table)
        {
            _pending.Add(++_lastCookie, request);
            return _lastCookie;
        }
    }

    /// <summary>A connection that breaks here is found broken by the receiver too, which gets another one. Under <see cref="_sending"/>.</summary>
    private static bool TrySend(NbdLink link, ulong cookie, DeviceRequest request)
    {
        Span<byte> header = stackalloc byte[NbdLink.RequestBytes];
        try
        {
            link.Send(request.Encode(cookie, header));
            return true;
        }
        catch (Exception broken) when (broken is SocketException or ObjectDisposedException)
        {
            return false;
        }
    }

    private void AnswerAttributes(ulong unique)
    {
        Span<byte> reply = stackalloc byte[FuseProtocol.ReplyHeaderBytes + FuseProtocol.AttributesReplyBytes];
        FuseProtocol.AttributesReply(reply[FuseProtocol.ReplyHeaderBytes..], Volatile.Read(ref _sizeBytes));
        Answer(unique, reply);
    }

    private void AnswerStatFs(ulong unique)
    {
        Span<byte> reply = stackalloc byte[FuseProtocol.ReplyHeaderBytes + FuseProtocol.StatFsReplyBytes];
        FuseProtocol.StatFsReply(reply[FuseProtocol.ReplyHeaderBytes..], Volatile.Read(ref _sizeBytes));
        Answer(unique, reply);
    }

    private void AnswerEmpty(ulong unique, int bytes)
    {
        Span<byte> reply = stackalloc byte[FuseProtocol.ReplyHeaderBytes + bytes];
        reply.Clear();
        Answer(unique, reply);
    }

    /// <summary>The header is filled in here.</summary>
    private void Answer(ulong unique, Span<byte> reply)
    {
        FuseProtocol.ReplyHeader(reply, reply.Length, 0, unique);
        _channel!.Write(reply);
    }

    private void Answer(ulong unique, int error)
    {
        Span<byte> reply = stackalloc byte[FuseProtocol.ReplyHeaderBytes];
        FuseProtocol.ReplyHeader(reply, reply.Length, error, unique);
        _channel!.Write(reply);
    }
}
