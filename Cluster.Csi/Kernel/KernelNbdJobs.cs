using System.Globalization;
using System.Runtime.InteropServices;
using Cluster.Csi.Attach;
using Cluster.Messages.Model;

namespace Cluster.Csi.Kernel;

/// <summary>What is done with a device of the kernel's NBD client by a process of its own (<see cref="DeviceWork"/>); calls block.</summary>
internal static class KernelNbdJobs
{
    /// <summary>A job's options: the device's number and whose it is.</summary>
    public static string[] Options(KernelNbdDevice device) => [device.Index.ToString(CultureInfo.InvariantCulture), device.Backend];

    /// <summary>By way of the volume, not of the host's memory.</summary>
    public static unsafe DeviceOutcome ReadFirst(AttachedDevice device)
    {
        using var file = Native.Open(device.Path, Native.ReadOnly | Native.Direct, out var error);
        if (error != 0) return new DeviceOutcome(AttachStatus.Failed, $"{device.Path} can't be opened: error {error}");
        var block = NativeMemory.AlignedAlloc(Limits.BlockBytes, Limits.BlockBytes);
        try
        {
            RandomAccess.Read(file, new Span<byte>(block, Limits.BlockBytes), 0);
            return new DeviceOutcome(AttachStatus.Ok, "");
        }
        catch (IOException e)
        {
            return new DeviceOutcome(AttachStatus.Failed, $"{device.Path} can't be read: {e.Message}");
        }
        finally
        {
            NativeMemory.AlignedFree(block);
        }
    }

    /// <summary>The kernel is told that the device goes with its last user, while this process is one; then this process closes it.</summary>
    public static DeviceOutcome LetGo(AttachedDevice device, string[] options)
    {
        if (options is not [var number, var backend] || !uint.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var index))
            return new DeviceOutcome(AttachStatus.Invalid, "the device's number and whose it is are not given");
        using var claim = Native.Open(device.Path, (device.ReadOnly ? Native.ReadOnly : Native.ReadWrite) | Native.Exclusive, out var error);
        if (error == Native.Busy) return new DeviceOutcome(AttachStatus.InUse, $"{device.Path} is in use by {MountTable.Elsewhere(device.Path) ?? "something that is not mounted here"}");
        if (error != 0) return new DeviceOutcome(AttachStatus.Failed, $"{device.Path} can't be opened: error {error}");
        // What can't be written now is dropped by the kernel, here as at any close: a device that was fenced off could not be let go of otherwise.
        var unsynced = device.ReadOnly ? 0 : Native.Sync(claim);
        var released = NbdNetlink.Release(index, backend, onClose: true);
        return released.IsOk ? new DeviceOutcome(AttachStatus.Ok, unsynced == 0 ? "" : unsynced.ToString(CultureInfo.InvariantCulture)) : new DeviceOutcome(AttachStatus.Failed, $"{device.Path} can't be detached: {released.Reason}");
    }
}
