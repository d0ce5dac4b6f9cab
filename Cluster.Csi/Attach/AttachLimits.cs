namespace Cluster.Csi.Attach;

/// <summary>Bounds of attachers and mounts. Milliseconds unless named otherwise.</summary>
public static class AttachLimits
{
    /// <summary>A program of the host that still runs then is killed and counts as failed. Checks and growth of file systems are not: <see cref="AnswerMs"/>.</summary>
    public const int ProgramMs = 60_000;

    /// <summary>A format that still runs then is killed; what it has done is done anew.</summary>
    public const int CheckMs = 3_600_000;

    /// <summary>A call waits so long for a check or growth of a file system, which goes on without it; less than the kubelet (2 min), the command line (60 s) and Docker wait for the call.</summary>
    public const int AnswerMs = 25_000;

    /// <summary>
    /// What a file system has not written back is given so long when its device is taken away by force. A device that answers needs less; one that does not must not make anybody wait.
    /// </summary>
    public const int ForcedUnmountMs = 5_000;

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

    /// <summary>
    /// The kernel's NBD client holds new I/O for so much longer than the volume's hold time while the node is away: whether to fail it is the node's decision if there is one.
    /// </summary>
    public const int DeadConnectionMarginMs = 30_000;

    /// <summary>
    /// What was on its way when the node went away is sent again within this after the node is back. Every time it passes without an answer the kernel logs a line, so not less.
    /// </summary>
    public const int RequestTimerMs = 5_000;

    /// <summary>How often devices of the kernel's NBD client are looked at: whether each still has its connection.</summary>
    public const int WatchMs = 250;

    /// <summary>
    /// How often it is looked for such devices while none is known. One that this process makes, or that failed to be made, is looked at at once and then every <see cref="WatchMs"/>, and what a
    /// process before it left is found when it begins to watch: this bounds only what nobody is known to leave.
    /// </summary>
    public const int QuietWatchMs = 5_000;

    /// <summary>A device of the kernel's NBD client that goes with its last user is gone within this, unless somebody else than who only looks at it (udev, blkid) has it open.</summary>
    public const int HolderMs = 3_000;

    /// <summary>Layers of mounts at one path that are taken away in one call.</summary>
    public const int MountLayersMax = 64;

    /// <summary>One read or write when a device is looked through or formatted.</summary>
    public const int ChunkBytes = 1 << 20;
}
