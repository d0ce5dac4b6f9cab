namespace Cluster.Csi.Attach;

/// <summary>How something done to a device or a mount of this host ended.</summary>
public enum AttachStatus
{
    Unset = 0,
    Ok,
    /// <summary>There is no such device, or nothing is attached under that name.</summary>
    NotFound,
    /// <summary>Somebody uses it: it is mounted, open, or attached under an older generation. The reason names who.</summary>
    InUse,
    /// <summary>The host lacks a program, a module or a privilege. The reason names what to install or load.</summary>
    NotSupported,
    /// <summary>The device holds something that is not the file system asked for, so it is not formatted.</summary>
    NotBlank,
    /// <summary>Something else is mounted at the path, or the same with other options.</summary>
    Conflict,
    /// <summary>The file system has errors that are not repaired without a decision of its owner.</summary>
    Damaged,
    /// <summary>The device did not appear, or did not go, within its time. The same call may be made again.</summary>
    TimedOut,
    /// <summary>The NBD server refused the volume (attached elsewhere, deleted, no owner); the reason has its words.</summary>
    Refused,
    /// <summary>What was asked for makes no sense: an unknown file system, a relative path.</summary>
    Invalid,
    /// <summary>A program or system call failed; the reason has its words.</summary>
    Failed,
    /// <summary>A program that was begun earlier still works on it and goes on; the reason says how far it is. The same call may be made again.</summary>
    Running,
    /// <summary>The cluster can't say or do it now: no owner, no leader of the journal. The same call may be made again.</summary>
    Unavailable,
}

/// <summary>A value, or why there is none in one sentence.</summary>
public readonly record struct AttachResult<T>(AttachStatus Status, T? Value, string Reason)
{
    public bool IsOk => Status == AttachStatus.Ok;

    public static implicit operator AttachResult<T>(T value) => new(AttachStatus.Ok, value, "");

    public static AttachResult<T> Error(AttachStatus status, string reason) =>
        status > AttachStatus.Ok ? new AttachResult<T>(status, default, reason) : throw new ArgumentException("not an error", nameof(status));

    /// <summary>The same error under another type.</summary>
    public AttachResult<TOther> To<TOther>() => AttachResult<TOther>.Error(Status, Reason);
}

/// <summary>No value: what was asked for is so.</summary>
public readonly record struct Done
{
    public static readonly AttachResult<Done> Ok = default(Done);
}
