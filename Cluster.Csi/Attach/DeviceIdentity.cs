using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using Cluster.Messages.Model;

namespace Cluster.Csi.Attach;

/// <summary>
/// A volume under one generation of its attachment (R11). A device belongs to exactly one: when the attachment moves on, the device is of no
/// more use, even if the attachment comes back to this node. Its text, "v12.7", is part of whatever the kernel is told to remember of a device.
/// </summary>
public readonly record struct DeviceIdentity(VolumeId Volume, ulong Generation)
{
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Volume}.{Generation}");

    public static bool TryParse([NotNullWhen(true)] string? text, out DeviceIdentity identity)
    {
        identity = default;
        var dot = text?.IndexOf('.', StringComparison.Ordinal) ?? -1;
        if (dot < 0 || !VolumeId.TryParse(text![..dot], out var volume)) return false;
        var digits = text.AsSpan(dot + 1);
        if (digits.Length == 0 || (digits.Length > 1 && digits[0] == '0')) return false;
        if (!ulong.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out var generation)) return false;
        identity = new DeviceIdentity(volume, generation);
        return true;
    }
}

/// <summary>What to attach.</summary>
/// <param name="FullName">"NAME" or "NAMESPACE/NAME", as in <see cref="Cluster.Messages.Protocol.VolumeInfo.FullName"/>.</param>
/// <param name="HoldMs">How long I/O is held while nobody serves the volume, before it fails (P5).</param>
public sealed record AttachTarget(DeviceIdentity Identity, string FullName, ulong SizeBytes, int HoldMs, bool ReadOnly = false)
{
    /// <summary>The NBD export of just this generation: <c>NAME@v12.7</c>. It is refused when the attachment has moved on.</summary>
    public string ExportName => $"{FullName}@{Identity}";
}

/// <summary>A device of this host.</summary>
/// <param name="Path">Such as /dev/loop3 or /dev/nbd0. Not stable over a detach and attach.</param>
/// <param name="FullName">As of when it was attached; "" if that is not known any more.</param>
/// <param name="SizeBytes">What the kernel shows.</param>
/// <param name="IsServed">False: nothing is behind the device any more (its daemon is dead), all its I/O fails, and it can only be detached.</param>
public sealed record AttachedDevice(
    DeviceIdentity Identity, string FullName, string Path, ulong SizeBytes, bool ReadOnly, AttacherKind Kind, bool IsServed = true);

/// <summary>How a volume becomes a block device.</summary>
public enum AttacherKind
{
    /// <summary>The kernel's NBD client, set up over netlink.</summary>
    KernelNbd = 1,
    /// <summary>A loop device over a file that a user-space NBD client shows by FUSE.</summary>
    FuseLoop = 2,
}
