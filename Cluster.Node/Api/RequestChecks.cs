using Cluster.Messages.Model;
using Cluster.Node.Owner;

namespace Cluster.Node.Api;

/// <summary>
/// Checks what a request says by itself, before the cluster is asked. Each refusal is one sentence that names the input and what would be
/// right.
/// </summary>
public static class RequestChecks
{
    /// <summary>Null when the request is well formed.</summary>
    public static ControlFailure? Check(CreateVolumeRequest request)
    {
        if (!VolumeName.IsLabel(request.Name, "volume name", out var reason)) return Invalid(reason);
        if (request.Namespace is { } scope && !VolumeName.IsLabel(scope, "namespace", out reason)) return Invalid(reason);
        if (request.Source is { } source && CheckSource(source) is { } wrong) return wrong;
        var size = request is { Source: not null, SizeBytes: 0 } ? null : CheckSize(request.SizeBytes);
        return CheckReplicas(request.Replicas) ?? size ?? CheckLabels(request.Labels?.Select(label => (label.Key, (string?)label.Value)),
            removable: false);
    }

    private static ControlFailure? CheckSource(CloneSourceRequest source) =>
        !VolumeName.TryParse(source.Volume, out _, out var reason) ? Invalid(reason)
        : source.Snapshot is { } snapshot && !VolumeName.IsLabel(snapshot, "snapshot name", out reason) ? Invalid(reason)
        : null;

    /// <summary>Null when the change is well formed and changes something.</summary>
    public static ControlFailure? Check(ChangeVolumeRequest change)
    {
        if (change.SizeBytes is null && change.Replicas is null && change.Labels is not { Count: > 0 })
        {
            return Invalid("The change is empty: give sizeBytes, replicas or labels.");
        }
        return CheckReplicas(change.Replicas) ?? (change.SizeBytes is { } size ? CheckSize(size) : null)
            ?? CheckLabels(change.Labels?.Select(label => (label.Key, label.Value)), removable: true);
    }

    /// <summary>Null when the request is well formed.</summary>
    public static ControlFailure? Check(DrainRequest request) => request.TimeoutSeconds is >= 0 and <= DrainRequest.TimeoutSecondsMax
        ? null
        : Invalid($"The time-out of {request.TimeoutSeconds} s is out of range: use 0 to {DrainRequest.TimeoutSecondsMax} s.");

    /// <summary>Null when a user may give a snapshot this name.</summary>
    public static ControlFailure? Check(CreateSnapshotRequest request) => CheckSnapshotName(request.Name);

    /// <summary>Null when the request is well formed: its volumes are names, and different ones.</summary>
    public static ControlFailure? Check(CreateSnapshotGroupRequest request)
    {
        if (CheckSnapshotName(request.Name) is { } wrong) return wrong;
        if (request.Volumes.Count is 0 or > Limits.GroupVolumesMax)
            return Invalid($"The snapshot group \"{request.Name}\" has {request.Volumes.Count} volumes: name 1 to {Limits.GroupVolumesMax}.");
        var known = new HashSet<VolumeName>();
        foreach (var text in request.Volumes)
        {
            if (!VolumeName.TryParse(text, out var name, out var reason)) return Invalid(reason);
            if (!known.Add(name)) return Invalid($"The volume {name} is named twice: name each volume of a snapshot group once.");
        }
        return null;
    }

    private static ControlFailure? CheckSnapshotName(string name) =>
        !VolumeName.IsLabel(name, "snapshot name", out var reason) ? Invalid(reason)
        : SnapshotSchedule.IsScheduled(name)
            ? Invalid($"The snapshot name \"{name}\" is not valid: names that begin with \"{SnapshotSchedule.Prefix}\" are the schedule's, which deletes them by itself; use another one.")
        : null;

    private const int DeviceOptionsMax = 64;

    /// <summary>Null when the request is well formed.</summary>
    public static ControlFailure? Check(DeviceRequest request)
    {
        if (request.Mount is { } path && (!Path.IsPathFullyQualified(path) || path.Any(char.IsControl)))
            return Invalid($"The path \"{path}\" is not valid: use an absolute path.");
        if (request.Mount is null && (request.FileSystem ?? request.MountOptions?.FirstOrDefault() ?? request.FormatOptions?.FirstOrDefault()) is not null)
            return Invalid("A file system or its options make no sense without a path to mount it at: give mount.");
        var options = (request.MountOptions ?? []).Concat(request.FormatOptions ?? []).ToArray();
        if (options.Length > DeviceOptionsMax) return Invalid($"There are {options.Length} options: give at most {DeviceOptionsMax}.");
        var wrong = Array.Find(options, option => option.Length == 0 || option.Any(char.IsControl));
        return wrong is null ? null : Invalid($"The option \"{wrong}\" is not valid: use one word without control characters.");
    }

    private static ControlFailure? CheckReplicas(int? replicas) => replicas is < 1 or > Limits.ReplicasMax
        ? Invalid($"The number of copies {replicas} is out of range: ask for 1 to {Limits.ReplicasMax}.")
        : null;

    private static ControlFailure? CheckSize(ulong sizeBytes)
    {
        if (sizeBytes is 0 or > Limits.VolumeBytesMax)
        {
            return Invalid($"The size of {sizeBytes} bytes is out of range: use {Limits.SectorBytes} to {Limits.VolumeBytesMax} bytes{(sizeBytes == 0 ? " (sizeBytes)" : "")}.");
        }
        return sizeBytes % Limits.SectorBytes == 0
            ? null
            : Invalid($"The size of {sizeBytes} bytes is not whole sectors: use a multiple of {Limits.SectorBytes} bytes.");
    }

    private static ControlFailure? CheckLabels(IEnumerable<(string Key, string? Value)>? labels, bool removable)
    {
        var count = 0;
        foreach (var (key, value) in labels ?? [])
        {
            if (++count > Limits.LabelsMax) return Invalid(
                $"There are more than {Limits.LabelsMax} labels: a volume has room for no more.");
            if (key.Length is 0 or > Limits.LabelLengthMax || key.Any(c => char.IsControl(c) || char.IsWhiteSpace(c) || c == '='))
            {
                return Invalid($"The label \"{key}\" is not valid: use 1 to {Limits.LabelLengthMax} characters without blanks and '='.");
            }
            if (value is null && removable) continue;
            if (value is null || value.Length > Limits.LabelLengthMax || value.Any(char.IsControl))
            {
                return Invalid($"The value of label \"{key}\" is not valid: use one line of at most {Limits.LabelLengthMax} characters.");
            }
        }
        return null;
    }

    private static ControlFailure Invalid(string reason) => new(ControlStatus.Invalid, reason);
}
