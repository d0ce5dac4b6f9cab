using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Cluster.Csi.Attach;
using Cluster.Csi.Kernel;
using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Node.Cli.Preflight;

/// <summary>This host. 64-bit Linux.</summary>
internal sealed partial class LinuxPreflightHost : IPreflightHost
{
    private const string ProbeName = "preflight-probe";
    private const long ProbeBytes = 1 << 20;
    private const int ProbeSyncs = 9;
    private const int BlockBytes = 4096;
    private const int WriteAndSearch = 2 | 1;
    private const int TextCharsMax = 1 << 20;
    private static readonly TimeSpan ResolveMax = TimeSpan.FromSeconds(3);

    public string KernelRelease => Read("/proc/sys/kernel/osrelease")?.Trim() ?? Environment.OSVersion.Version.ToString();

    public string? Read(string path)
    {
        try
        {
            using var reader = new StreamReader(path);
            var buffer = new char[TextCharsMax];
            return new string(buffer, 0, reader.ReadBlock(buffer));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    public bool Exists(string path) => Path.Exists(path);

    public string OpenError(string path)
    {
        try
        {
            using var opened = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
            return "";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return e.Message;
        }
    }

    public string KernelNbdError => KernelNbdAttacher.Look().Reason;

    public string? FindProgram(string name) => HostPrograms.Find(name);

    public unsafe FileSystemRoom? Room(string path)
    {
        // f_frsize, f_blocks and f_bavail are the fields 1, 2 and 4.
        var fields = stackalloc ulong[32];
        if (Statistics(Existing(path), fields) != 0) return null;
        return new FileSystemRoom((long)(fields[2] * fields[1]), (long)(fields[4] * fields[1]));
    }

    public DirectoryProbe Try(string directory)
    {
        var inUse = InUse(Path.Combine(directory, "lock"));
        using var disk = new FileDisk(directory);
        // A run that was killed may have left its own.
        disk.Delete(ProbeName);
        try
        {
            var made = disk.Open(ProbeName, create: true, out var file);
            if (file is null) return new DirectoryProbe(made.Detail ?? made.Status.ToString(), "", 0, inUse);
            using (file)
            {
                // As the store does it; but one that only pretends, by a file with holes, is told here.
                var reserved = Reserve(Path.Combine(directory, ProbeName));
                var (failure, syncMs) = MeasureSyncs(file);
                return new DirectoryProbe(failure, reserved, syncMs, inUse);
            }
        }
        finally
        {
            disk.Delete(ProbeName);
        }
    }

    public DiskLook LookAtDisk(string path)
    {
        var isDevice = FileDisk.IsDevice(path);
        if (!isDevice && !Directory.Exists(path)) return new DiskLook(false, "it is neither a directory nor a block device", false, DiskContent.Unset, "", 0);
        var error = isDevice ? OpenError(path) : Try(path).WriteError;
        using var disk = FileDisk.Further(path, readOnly: true);
        // The claim of a device ends with this; a directory's lock would be a file that stays.
        var claim = isDevice && error.Length == 0 ? disk.TryLock() : DiskResult.Done();
        var names = new List<string>();
        var listed = disk.List(names);
        if (error.Length == 0 && !listed.IsOk) error = listed.Detail ?? listed.Status.ToString();
        if (error.Length == 0 && !claim.IsOk && claim.Status != IoStatus.Busy) error = claim.Detail ?? claim.Status.ToString();
        var free = isDevice ? disk.FreeBytes : Room(path)?.AvailableBytes ?? 0;
        var (content, what) = (DiskContent.Blank, "");
        if (names.Contains(DiskLabel.FileName))
        {
            var status = DiskLabel.TryRead(disk, out var label, out var reason);
            if (status == IoStatus.Ok) (content, what) = (DiskContent.Labelled, label.Store.ToString());
            else if (status != IoStatus.Missing || names.Count > 1) (content, what) = (DiskContent.Other, reason.Length > 0 ? reason : "its label is gone");
        }
        else if (names.Count > 0) (content, what) = (DiskContent.Other, isDevice ? DeviceDisk.Overwritten : $"it holds other files ({names.Order(StringComparer.Ordinal).First()})");
        return new DiskLook(isDevice, error, claim.Status == IoStatus.Busy, content, what, free);
    }

    public SocketLook LookAtSocket(string path)
    {
        var refusal = LocalSocket.Look(path, out _, out var isServed);
        if (refusal.Length > 0) return new SocketLook(refusal.TrimEnd('.'), isServed);
        var directory = Path.GetDirectoryName(path)!;
        if (!Directory.Exists(directory)) return new SocketLook($"there is no directory {directory}", false);
        return new SocketLook(Access(directory, WriteAndSearch) == 0 ? "" : $"nothing can be made in {directory}: {Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}", false);
    }

    public string ListenError(IPAddress address, int port)
    {
        try
        {
            using var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            socket.Bind(new IPEndPoint(address, port));
            socket.Listen(1);
            return "";
        }
        catch (SocketException e)
        {
            return e.Message;
        }
    }

    public unsafe ClockState? Clock()
    {
        // struct timex: modes, offset, freq, maxerror in microseconds, and more. Zero modes only read it. The state 5 is TIME_ERROR: not synchronised.
        var fields = stackalloc long[32];
        new Span<long>(fields, 32).Clear();
        var state = AdjustTime(fields);
        return state < 0 ? null : new ClockState(state != 5, fields[3] / 1000.0);
    }

    public async Task<IReadOnlyList<IPAddress>> ResolveAsync(string name, CancellationToken cancellation)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limit.CancelAfter(ResolveMax);
        try
        {
            return await Dns.GetHostAddressesAsync(name, limit.Token);
        }
        catch (Exception e) when (e is SocketException or ArgumentException || (e is OperationCanceledException && !cancellation.IsCancellationRequested))
        {
            return [];
        }
    }

    private static bool InUse(string lockFile)
    {
        if (!File.Exists(lockFile)) return false;
        try
        {
            using var held = new FileStream(lockFile, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
            return false;
        }
        catch (UnauthorizedAccessException)
        {
            return false;
        }
        catch (IOException)
        {
            return true;
        }
    }

    private static string Reserve(string path)
    {
        using var handle = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
        while (LibC.Fallocate(handle, 0, 0, ProbeBytes) != 0)
        {
            if (!LibC.WasInterrupted) return LibC.Failure("fallocate").Detail!;
        }
        return "";
    }

    private static (string Failure, double SyncMs) MeasureSyncs(IDiskFile file)
    {
        var block = new byte[BlockBytes];
        var took = new double[ProbeSyncs];
        for (var at = 0; at < ProbeSyncs; at++)
        {
            var started = Stopwatch.GetTimestamp();
            var result = file.WriteAll(at * BlockBytes, block);
            if (result.IsOk) result = file.Sync();
            if (!result.IsOk) return (result.Detail ?? result.Status.ToString(), 0);
            took[at] = Stopwatch.GetElapsedTime(started).TotalMilliseconds;
        }
        return ("", took.Order().ElementAt(ProbeSyncs / 2));
    }

    private static string Existing(string path)
    {
        while (!Path.Exists(path) && Path.GetDirectoryName(path) is { } parent) path = parent;
        return path;
    }

    [LibraryImport("libc", EntryPoint = "statvfs", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static unsafe partial int Statistics(string path, ulong* into);

    [LibraryImport("libc", EntryPoint = "access", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Access(string path, int mode);

    [LibraryImport("libc", EntryPoint = "adjtimex", SetLastError = true)]
    private static unsafe partial int AdjustTime(long* timex);
}
