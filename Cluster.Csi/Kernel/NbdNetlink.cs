using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Cluster.Csi.Kernel;

/// <summary>How a request to the kernel ended: its errno, 0 if well, and one sentence.</summary>
internal readonly record struct NetlinkResult(int Error, string Reason, uint Value = 0)
{
    public bool IsOk => Error == 0;
}

/// <summary>
/// The kernel's NBD client by generic netlink. Every call is one socket, one request and its answer, and may wait in the kernel for whoever else configures that
/// device: not for an actor or a loop. Sockets in a request are descriptors of this process, and the kernel takes references of its own.
/// </summary>
internal sealed unsafe partial class NbdNetlink
{
    private const int AddressFamily = 16;
    private const int Raw = 3;
    private const int CloseOnExec = 0x80000;
    private const int Generic = 16;
    private const int SocketLevel = 1;
    private const int ReceiveTimeout = 20;
    private const int NetlinkLevel = 270;
    private const int CapAcknowledgement = 10;
    private const int ExplainErrors = 11;

    /// <summary>Attribute of the backend's name: older kernels (before 5.14) can't say whose a device is.</summary>
    private const uint AttributesMin = NbdMessages.Backend;

    /// <summary>Answers are there before the request's system call returns; this only bounds what can't be.</summary>
    private const long AnswerSeconds = 10;

    private const int AnswerBytesMax = 32 << 10;
    private const int DatagramsMax = 16;

    private const int NotFound = 2;
    private const int TimedOut = 11;
    private const int ProtocolError = 71;
    private const int NotSupported = 95;

    private static uint _sequence;

    /// <summary>The family's number, in Value; loads the module if the host has it.</summary>
    public static NetlinkResult Family()
    {
        var sequence = Interlocked.Increment(ref _sequence);
        var result = Ask(NbdMessages.GetFamily(NbdMessages.FamilyName, sequence), NbdMessages.ControlFamily, sequence, out var answer);
        if (result.Error == NotFound) return result with { Reason = "the kernel has no NBD client: modprobe nbd" };
        if (!result.IsOk) return result;
        if (answer.U16(NbdMessages.ControlFamilyId) is not { } id) return new NetlinkResult(ProtocolError, "the kernel does not tell the number of its NBD client");
        return answer.U32(NbdMessages.ControlAttributeMax) < AttributesMin
            ? new NetlinkResult(NotSupported, "the kernel's NBD client does not keep whose a device is: it needs Linux 5.14")
            : new NetlinkResult(0, "", id);
    }

    /// <summary>The index of the new device, in Value.</summary>
    public static NetlinkResult Connect(NbdDeviceConfig config, params int[] sockets) =>
        WithFamily((family, sequence) => NbdMessages.Connect(family, sequence, config, sockets), NbdMessages.Index);

    public static NetlinkResult Reconnect(uint index, string backend, params int[] sockets) =>
        WithFamily((family, sequence) => NbdMessages.Reconnect(family, sequence, index, backend, sockets));

    public static NetlinkResult Release(uint index, string backend, bool onClose) =>
        WithFamily((family, sequence) => NbdMessages.Release(family, sequence, index, backend, onClose));

    public static NetlinkResult Resize(uint index, string backend, ulong sizeBytes) =>
        WithFamily((family, sequence) => NbdMessages.Resize(family, sequence, index, backend, sizeBytes));

    /// <summary>All its I/O fails from now on. The device is free when nobody has it open any more.</summary>
    public static NetlinkResult Disconnect(uint index) => WithFamily((family, sequence) => NbdMessages.Disconnect(family, sequence, index));

    private static NetlinkResult WithFamily(Func<ushort, uint, NetlinkMessage> request, ushort wanted = 0)
    {
        var family = Family();
        if (!family.IsOk) return family;
        var sequence = Interlocked.Increment(ref _sequence);
        var result = Ask(request((ushort)family.Value, sequence), (ushort)family.Value, sequence, out var answer);
        if (!result.IsOk || wanted == 0) return result;
        return answer.U32(wanted) is { } value ? result with { Value = value } : new NetlinkResult(ProtocolError, "the kernel's answer lacks the device");
    }

    private static NetlinkResult Ask(NetlinkMessage request, ushort family, uint sequence, out NetlinkAnswer answer)
    {
        answer = new NetlinkAnswer(family, sequence);
        var descriptor = SocketCall(AddressFamily, Raw | CloseOnExec, Generic);
        if (descriptor < 0) return Failed("no netlink socket");
        using var socket = new SafeFileHandle(descriptor, ownsHandle: true);
        var yes = 1;
        var timeout = stackalloc long[2] { AnswerSeconds, 0 };
        // Older kernels lack these two: then errors come without words, or quote all of the request.
        _ = SetOption(socket, NetlinkLevel, ExplainErrors, &yes, sizeof(int));
        _ = SetOption(socket, NetlinkLevel, CapAcknowledgement, &yes, sizeof(int));
        if (SetOption(socket, SocketLevel, ReceiveTimeout, timeout, 2 * sizeof(long)) != 0) return Failed("no time limit for netlink");
        var bytes = request.Bytes;
        fixed (byte* from = bytes)
        {
            if (SendCall(socket, from, bytes.Length, 0) != bytes.Length) return Failed("the request to the kernel's NBD client could not be sent");
        }
        return Receive(socket, answer);
    }

    private static NetlinkResult Receive(SafeFileHandle socket, NetlinkAnswer answer)
    {
        var buffer = new byte[AnswerBytesMax];
        fixed (byte* into = buffer)
        {
            for (var datagrams = 0; datagrams < DatagramsMax && !answer.IsComplete; datagrams++)
            {
                var count = ReceiveCall(socket, into, buffer.Length, 0);
                if (count < 0) return Failed("the kernel's NBD client does not answer");
                if (!answer.Take(buffer.AsSpan(0, (int)count))) return new NetlinkResult(ProtocolError, "the answer of the kernel's NBD client is malformed");
            }
        }
        if (!answer.IsComplete) return new NetlinkResult(TimedOut, "the kernel's NBD client does not come to an end with its answer");
        if (answer.Error == 0) return default;
        var words = answer.Explanation.Length > 0 ? answer.Explanation : Marshal.GetPInvokeErrorMessage(answer.Error);
        return new NetlinkResult(answer.Error, $"the kernel's NBD client refused: {words} (error {answer.Error}; dmesg may say more)");
    }

    private static NetlinkResult Failed(string what)
    {
        var error = Marshal.GetLastPInvokeError();
        return new NetlinkResult(error == 0 ? ProtocolError : error, $"{what}: {Marshal.GetPInvokeErrorMessage(error)}");
    }

    [LibraryImport("libc", EntryPoint = "socket", SetLastError = true)]
    private static partial int SocketCall(int family, int type, int protocol);

    [LibraryImport("libc", EntryPoint = "setsockopt", SetLastError = true)]
    private static partial int SetOption(SafeFileHandle socket, int level, int name, void* value, uint length);

    [LibraryImport("libc", EntryPoint = "send", SetLastError = true)]
    private static partial nint SendCall(SafeFileHandle socket, byte* data, nint length, int flags);

    [LibraryImport("libc", EntryPoint = "recv", SetLastError = true)]
    private static partial nint ReceiveCall(SafeFileHandle socket, byte* data, nint length, int flags);
}
