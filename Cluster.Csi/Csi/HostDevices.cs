using Cluster.Csi.Attach;
using Cluster.Messages.Model;
using Grpc.Core;

namespace Cluster.Csi.Csi;

/// <summary>This host's devices and mounts.</summary>
public sealed record HostDevices(IAttacher Attacher, IMounter Mounter, DeviceUsers Users, StagingNotes Staged)
{
    /// <summary>Those of operators and Docker too (<see cref="VolumeDevices.Locks"/>), where there are any.</summary>
    public KeyedLocks<VolumeId> Locks { get; init; } = new();
}

/// <summary>What devices and mounts answer, as the specification's codes.</summary>
internal static class AttachErrors
{
    public static CsiError Of<T>(AttachResult<T> result) => new(
        result.Status switch
        {
            AttachStatus.NotFound => StatusCode.NotFound,
            AttachStatus.InUse or AttachStatus.NotBlank or AttachStatus.Refused or AttachStatus.NotSupported or AttachStatus.Damaged => StatusCode.FailedPrecondition,
            AttachStatus.Conflict => StatusCode.AlreadyExists,
            AttachStatus.Invalid => StatusCode.InvalidArgument,
            AttachStatus.TimedOut => StatusCode.DeadlineExceeded,
            // "An operation is pending": whoever asked asks again.
            AttachStatus.Running => StatusCode.Aborted,
            AttachStatus.Unavailable => StatusCode.Unavailable,
            _ => StatusCode.Internal,
        },
        result.Reason);
}
