using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Cluster.Csi.Attach;

/// <summary>The socket files of the CSI driver and the Docker plug-in: made so that nobody but the owner can connect; CSI's is opened to its group then. Whoever can connect can do everything.</summary>
public static partial class LocalSocket
{
    /// <summary>A socket's path, as the kernel bounds it.</summary>
    public const int PathBytesMax = 107;

    private const uint OwnerOnly = 0x180; // 0600
    private const uint OwnerAndGroup = 0x1B0; // 0660
    private const int ReadNonBlockingCloseOnExec = 0x800 | 0x80000;

    /// <summary>ENXIO: what open(2) says of a socket.</summary>
    private const int NoSuchDevice = 6;

    /// <summary>
    /// Takes away the socket that a dead process left. Throws IOException when a live one serves it, when something else is there, or when the path is too long.
    /// </summary>
    public static void Free(string path, ILogger logger)
    {
        if (Look(path, out var isStale, out _) is { Length: > 0 } refusal) throw new IOException(refusal);
        if (!isStale) return;
        LogStale(logger, path);
        File.Delete(path);
    }

    /// <summary>Why a socket can't be made at the path, in one sentence; empty: it can. Nothing is changed.</summary>
    /// <param name="isStale">One that a dead process left is there.</param>
    /// <param name="isServed">A live process serves it.</param>
    public static string Look(string path, out bool isStale, out bool isServed)
    {
        isStale = isServed = false;
        if (Encoding.UTF8.GetByteCount(path) > PathBytesMax) return $"The socket's path {path} is longer than the {PathBytesMax} bytes that a socket's may have.";
        if (!Path.Exists(path)) return "";
        using (var opened = Open(path, ReadNonBlockingCloseOnExec))
        {
            // A connection to a file that is no socket is refused too, and that file is not ours to delete.
            if (!opened.IsInvalid || Marshal.GetLastPInvokeError() != NoSuchDevice) return $"{path} is there and is no socket; take it away, or give the socket another path.";
        }
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            socket.Connect(new UnixDomainSocketEndPoint(path));
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionRefused)
        {
            isStale = true;
            return "";
        }
        catch (SocketException e)
        {
            return $"{path} is there and can't be replaced: {e.Message}";
        }
        isServed = true;
        return $"Another process serves {path}; stop it, or give the socket another path.";
    }

    /// <summary>The kernel makes the file with the mode that the socket has when it is bound, less the umask.</summary>
    public static Socket Bind(EndPoint endPoint)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            if (ChangeMode(socket.SafeHandle, OwnerOnly) != 0)
                throw new IOException($"The socket's mode can't be set: {Marshal.GetLastPInvokeErrorMessage()}");
            socket.Bind(endPoint);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    public static void OpenToGroup(string path)
    {
        if (ChangeMode(path, OwnerAndGroup) != 0) throw new IOException($"The mode of {path} can't be set: {Marshal.GetLastPInvokeErrorMessage()}");
    }

    [LoggerMessage(EventId = 2306, Level = LogLevel.Information, Message = "{Path}, which no process serves, is replaced")]
    private static partial void LogStale(ILogger logger, string path);

    [LibraryImport("libc", EntryPoint = "fchmod", SetLastError = true)]
    private static partial int ChangeMode(SafeSocketHandle socket, uint mode);

    [LibraryImport("libc", EntryPoint = "chmod", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int ChangeMode(string path, uint mode);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial SafeFileHandle Open(string path, int flags);
}
