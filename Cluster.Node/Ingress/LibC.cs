using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Cluster.Node.Ingress;

/// <summary>
/// The Linux calls that the I/O loop makes itself (ADR 0004): readiness, gathered sends and the clock that counts
/// suspend. Numbers are those of the kernel's generic ABI, the same on x86-64 and arm64.
/// </summary>
internal static unsafe partial class LibC
{
    public const int EpollControlAdd = 1;
    public const int EpollControlRemove = 2;
    public const int EpollControlModify = 3;
    public const uint EpollIn = 0x001;
    public const uint EpollOut = 0x004;
    public const uint EpollError = 0x008;
    public const uint EpollHangUp = 0x010;

    public const int Interrupted = 4;
    public const int TryAgain = 11;
    public const int NoSuchFile = 2;
    public const int ProtocolFailure = 71;
    public const int NetworkUnreachable = 101;
    public const int ConnectionAborted = 103;
    public const int TimedOut = 110;
    public const int ConnectionRefused = 111;
    public const int HostDown = 112;
    public const int HostUnreachable = 113;
    public const int InProgress = 115;

    private const int CloseOnExec = 0x80000;
    private const int NonBlocking = 0x800;
    private const int MessageDontWait = 0x40;
    private const int MessageNoSignal = 0x4000;
    private const int ClockBootTime = 7;
    private const int FileControlGetFlags = 3;
    private const int FileControlSetFlags = 4;
    private const int SocketLevel = 1;
    private const int OptionReuseAddress = 2;
    private const int OptionError = 4;

    /// <summary>struct iovec.</summary>
    public struct IoVector
    {
        public byte* Base;
        public nuint Length;
    }

    /// <summary>struct msghdr; without names or control data only the vectors are set.</summary>
    private struct MessageHeader
    {
        public void* Name;
        public uint NameLength;
        public IoVector* Vectors;
        public nuint VectorCount;
        public void* Control;
        public nuint ControlLength;
        public int Flags;
    }

    private struct TimeSpecification
    {
        public long Seconds;
        public long Nanoseconds;
    }

    /// <summary>struct epoll_event is packed to 12 bytes on x86-64 only.</summary>
    public static readonly int EventBytes = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 12 : 16;

    private static readonly int EventDataOffset = EventBytes - 8;

    public static int LastError => Marshal.GetLastPInvokeError();

    public static string TextOf(int error) => Marshal.GetPInvokeErrorMessage(error);

    public static uint EventsAt(byte* events, int index) => Unsafe.ReadUnaligned<uint>(events + (index * EventBytes));

    public static int DescriptorAt(byte* events, int index) =>
        (int)Unsafe.ReadUnaligned<ulong>(events + (index * EventBytes) + EventDataOffset);

    public static int CreateEpoll() => Checked(epoll_create1(CloseOnExec), "epoll_create1");

    public static int CreateEvent() => Checked(eventfd(0, CloseOnExec | NonBlocking), "eventfd");

    public static void Control(int epoll, int operation, int descriptor, uint interest)
    {
        var change = stackalloc byte[16];
        Unsafe.WriteUnaligned(change, interest);
        Unsafe.WriteUnaligned(change + EventDataOffset, (ulong)descriptor);
        Checked(epoll_ctl(epoll, operation, descriptor, change), "epoll_ctl");
    }

    /// <summary>Events ready; 0 after the timeout or a signal.</summary>
    public static int Wait(int epoll, byte* events, int eventsMax, int timeoutMs)
    {
        var count = epoll_wait(epoll, events, eventsMax, timeoutMs);
        return count < 0 && LastError == Interrupted ? 0 : Checked(count, "epoll_wait");
    }

    /// <summary>Adds one to an event descriptor. It can't fail: the counter is far from its bound.</summary>
    public static void Signal(int descriptor)
    {
        ulong one = 1;
        Checked((int)write(descriptor, (byte*)&one, sizeof(ulong)), "write to an eventfd");
    }

    /// <summary>Takes an event descriptor back to zero.</summary>
    public static void ClearSignal(int descriptor)
    {
        ulong count;
        if (read(descriptor, (byte*)&count, sizeof(ulong)) < 0 && LastError != TryAgain) Fail("read of an eventfd");
    }

    /// <summary>Bytes received, 0 at the end of the stream, or minus the error number.</summary>
    public static long Receive(int descriptor, byte* to, int lengthBytes)
    {
        while (true)
        {
            var count = recv(descriptor, to, (nuint)lengthBytes, MessageDontWait);
            if (count >= 0) return count;
            if (LastError != Interrupted) return -LastError;
        }
    }

    /// <summary>Bytes taken by the kernel, or minus the error number.</summary>
    public static long Send(int descriptor, IoVector* vectors, int vectorCount)
    {
        MessageHeader header = default;
        header.Vectors = vectors;
        header.VectorCount = (nuint)vectorCount;
        while (true)
        {
            var count = sendmsg(descriptor, &header, MessageDontWait | MessageNoSignal);
            if (count >= 0) return count;
            if (LastError != Interrupted) return -LastError;
        }
    }

    /// <summary>A non-blocking descriptor of the next connection, or minus the error number.</summary>
    public static int Accept(int descriptor)
    {
        var accepted = accept4(descriptor, null, null, CloseOnExec | NonBlocking);
        return accepted >= 0 ? accepted : -LastError;
    }

    /// <summary>0, or the error number (InProgress: the answer comes as an event).</summary>
    public static int Connect(int descriptor, ReadOnlySpan<byte> address)
    {
        fixed (byte* start = address)
        {
            return connect(descriptor, start, (uint)address.Length) == 0 ? 0 : LastError;
        }
    }

    public static void SetNonBlocking(int descriptor)
    {
        var flags = Checked(fcntl(descriptor, FileControlGetFlags, 0), "fcntl");
        Checked(fcntl(descriptor, FileControlSetFlags, flags | NonBlocking), "fcntl");
    }

    /// <summary>
    /// SO_REUSEADDR alone: .NET's own option of that name sets SO_REUSEPORT too, and two processes could listen on one
    /// port.
    /// </summary>
    public static void SetReuseAddress(int descriptor)
    {
        var on = 1;
        Checked(setsockopt(descriptor, SocketLevel, OptionReuseAddress, &on, sizeof(int)), "setsockopt");
    }

    /// <summary>The socket's pending error (SO_ERROR), which this clears; 0 for none.</summary>
    public static int PendingError(int descriptor)
    {
        int error;
        uint length = sizeof(int);
        return getsockopt(descriptor, SocketLevel, OptionError, &error, &length) == 0 ? error : LastError;
    }

    public static void Close(int descriptor) => Checked(close(descriptor), "close");

    /// <summary>Milliseconds since boot, suspended time included.</summary>
    public static long BootTimeMs()
    {
        TimeSpecification time;
        if (clock_gettime(ClockBootTime, &time) != 0) Fail("clock_gettime");
        return (time.Seconds * 1000) + (time.Nanoseconds / 1_000_000);
    }

    private static int Checked(int result, string call) => result >= 0 ? result : Fail(call);

    private static int Fail(string call) => throw new IOException($"{call} failed: {TextOf(LastError)}");

    [LibraryImport("libc", SetLastError = true)]
    private static partial int epoll_create1(int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int epoll_ctl(int epoll, int operation, int descriptor, byte* change);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int epoll_wait(int epoll, byte* events, int eventsMax, int timeoutMs);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int eventfd(uint initial, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint read(int descriptor, byte* to, nuint lengthBytes);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint write(int descriptor, byte* from, nuint lengthBytes);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint recv(int descriptor, byte* to, nuint lengthBytes, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint sendmsg(int descriptor, MessageHeader* message, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int accept4(int descriptor, byte* address, uint* addressLength, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int connect(int descriptor, byte* address, uint addressLength);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fcntl(int descriptor, int command, nint argument);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int setsockopt(int descriptor, int level, int option, int* value, uint length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int getsockopt(int descriptor, int level, int option, int* value, uint* length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int close(int descriptor);

    [LibraryImport("libc")]
    [SuppressGCTransition]
    private static partial int clock_gettime(int clock, TimeSpecification* time);
}
