using Cluster.Csi.Attach;

namespace Cluster.Csi.Kernel;

/// <summary>What there is of a device now.</summary>
/// <param name="Device">The kernel's; null: only the directory is left.</param>
internal sealed record KernelNbdState(DeviceDirectory Directory, KernelNbdDevice? Device)
{
    public DeviceIdentity Identity => Directory.Identity;

    /// <summary>It was cut off, and goes when its last user closes it.</summary>
    public bool IsGoing => Directory.IsGone;

    /// <summary>The export of just this generation; null if the volume's name was lost with the note.</summary>
    public string? Export => Directory.ReadNote() is { } note ? new AttachTarget(Identity, note.FullName, note.SizeBytes, 0).ExportName : null;

    public AttachedDevice? AsDevice() => Device is not { } device ? null
        : new AttachedDevice(Identity, Directory.ReadNote()?.FullName ?? "", device.Path, device.SizeBytes, device.ReadOnly, AttacherKind.KernelNbd, !IsGoing);
}
