namespace Cluster.Csi.Attach;

/// <summary>Bounds of attachers and mounts. Milliseconds unless named otherwise.</summary>
public static class AttachLimits
{
    /// <summary>A program of the host that still runs then is killed and counts as failed; file system checks and growing have longer.</summary>
    public const int ProgramMs = 60_000;

    public const int CheckMs = 3_600_000;

    /// <summary>A program that was killed is waited for so long.</summary>
    public const int KilledMs = 5_000;

    /// <summary>Output of a program that is kept for its error.</summary>
    public const int ProgramOutputChars = 1 << 20;

    /// <summary>A device must show up within this; the NBD server itself waits 30 s for an owner.</summary>
    public const int AppearMs = 45_000;

    /// <summary>A loop device must let go of its file within this after it was told to, unless somebody has it open.</summary>
    public const int ReleaseMs = 10_000;

    /// <summary>A daemon whose file was unmounted is killed after this.</summary>
    public const int DaemonStopMs = 5_000;

    /// <summary>A device must show its volume's new size within this.</summary>
    public const int ResizeMs = 10_000;

    public const int ResizePollMs = 200;

    public const int PollMs = 20;

    /// <summary>Layers of mounts at one path that are taken away in one call.</summary>
    public const int MountLayersMax = 64;

    /// <summary>One read or write when a device is looked through or formatted.</summary>
    public const int ChunkBytes = 1 << 20;
}
