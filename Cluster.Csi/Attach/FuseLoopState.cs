namespace Cluster.Csi.Attach;

/// <summary>What there is of a device now, part by part.</summary>
/// <param name="Loop">The loop device over the FUSE file; one that is being taken away counts too.</param>
/// <param name="HasMount">The FUSE file is mounted, if perhaps by a daemon that is dead.</param>
internal sealed record FuseLoopState(DeviceDirectory Directory, LoopDevice? Loop, bool HasMount, bool HasDaemon)
{
    public DeviceIdentity Identity => Directory.Identity;

    public bool IsServed => HasMount && HasDaemon;

    /// <summary>Null as long as there is no loop device that stays.</summary>
    public AttachedDevice? AsDevice()
    {
        if (Loop is not { IsGoing: false } loop) return null;
        var note = Directory.ReadNote();
        return new AttachedDevice(Identity, note?.FullName ?? "", loop.Path, loop.SizeBytes, loop.ReadOnly, AttacherKind.FuseLoop, IsServed);
    }
}
