using Cluster.Csi.Attach;
using Microsoft.Extensions.Logging;

namespace Cluster.Csi.Docker;

/// <summary>
/// The calls of Docker's volume plug-in protocol on volumes of the default namespace. Docker may repeat a call, or make it again after it, or this process,
/// was killed: each finds what is there and does the rest. A volume is mounted once per host, however many containers have it, and taken away with the last.
/// </summary>
internal sealed partial class DockerDriver(VolumeDevices devices, IHostVolumes volumes, string directory, string bootId, ILogger logger)
{
    private readonly KeyedLocks<string> _locks = new();
    private readonly DockerMounts _mounts = new(Path.Combine(directory, "mounts"), bootId);

    /// <summary>Where volumes are mounted, below the plug-in's directory.</summary>
    public static string MountsIn(string directory) => Path.Combine(directory, "mnt");

    public async Task<DockerAnswer> CreateAsync(DockerCall call, CancellationToken cancellation)
    {
        if (DockerName.VolumeOf(call.Name) is not { } volume) return NoName(call);
        using var held = await _locks.EnterAsync(volume, cancellation).ConfigureAwait(false);
        var options = DockerOptions.Read(call.Name!, volume, call.Opts, volumes.KnownLabels);
        if (!options.IsOk) return DockerAnswer.Error(options.Reason);
        var known = await volumes.GetAsync(volume, cancellation).ConfigureAwait(false);
        if (known.IsOk)
        {
            // Docker creates a volume on every host that a service runs on; only what was asked for must be so.
            if (call.Opts?.ContainsKey("size") == true && known.Value!.SizeBytes != options.Value!.SizeBytes)
                return DockerAnswer.Error($"volume {call.Name} exists, with {known.Value.SizeBytes} bytes and not {options.Value.SizeBytes}");
            return options.Value!.Differs(known.Value!.Labels) is { } difference ? DockerAnswer.Error($"volume {call.Name} exists, with {difference}") : new DockerAnswer();
        }
        if (known.Status != AttachStatus.NotFound) return Refused(call, volume, known.Reason);
        var created = await volumes.CreateAsync(volume, options.Value!.SizeBytes, options.Value.Labels, cancellation).ConfigureAwait(false);
        return created.IsOk ? new DockerAnswer() : Refused(call, volume, created.Reason);
    }

    public async Task<DockerAnswer> RemoveAsync(DockerCall call, CancellationToken cancellation)
    {
        if (DockerName.VolumeOf(call.Name) is not { } volume) return NoName(call);
        using var held = await _locks.EnterAsync(volume, cancellation).ConfigureAwait(false);
        var ids = _mounts.Read(volume);
        if (ids is { Count: > 0 }) return DockerAnswer.Error($"volume {call.Name} is mounted here by {string.Join(", ", ids)}");
        var known = await volumes.GetAsync(volume, cancellation).ConfigureAwait(false);
        if (!known.IsOk) return known.Status == AttachStatus.NotFound ? new DockerAnswer() : Refused(call, volume, known.Reason);
        if (known.Value!.Publications is { Count: > 0 } published)
            return DockerAnswer.Error($"volume {call.Name} is published by CSI on {string.Join(", ", published.Select(each => each.Node))}: end the workloads that have it there");
        // Only what is Docker's own and was cut off; what is attached for anybody else is not deleted.
        if (ids is not null && await LeaveAsync(volume, cancellation).ConfigureAwait(false) is { } failure) return failure;
        var deleted = await volumes.DeleteAsync(volume, cancellation).ConfigureAwait(false);
        return deleted.IsOk || deleted.Status == AttachStatus.NotFound ? new DockerAnswer() : Refused(call, volume, deleted.Reason);
    }

    /// <summary>First that Docker is about to have it, then mounted, then who has it, then answered: after a crash in between, nobody counts who was not told, and what was made is known as Docker's.</summary>
    public async Task<DockerAnswer> MountAsync(DockerCall call, CancellationToken cancellation)
    {
        if (DockerName.VolumeOf(call.Name) is not { } volume) return NoName(call);
        if (call.Id is not { Length: > 0 } id) return DockerAnswer.Error("a mount needs an ID");
        using var held = await _locks.EnterAsync(volume, cancellation).ConfigureAwait(false);
        var known = await volumes.GetAsync(volume, cancellation).ConfigureAwait(false);
        if (!known.IsOk) return Unknown(call, volume, known);
        if (await RefusalAsync(call.Name!, known.Value!, cancellation).ConfigureAwait(false) is { } refusal) return refusal;
        var labels = known.Value!.Labels;
        // Without the label it was made otherwise, and may hold either.
        if (!FileSystems.TryParse(labels.GetValueOrDefault(DockerOptions.FileSystemLabel), out var fileSystem) && labels.ContainsKey(DockerOptions.FileSystemLabel))
            return DockerAnswer.Error($"the label {DockerOptions.FileSystemLabel} of volume {call.Name} is none of {FileSystems.Names}");
        var wish = new DeviceWish(PathOf(volume), fileSystem)
        {
            User = DeviceUser.Docker,
            MountOptions = labels.GetValueOrDefault(DockerOptions.MountOptionsLabel, "").Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries),
        };
        // CSI leaves its attachment to who has the volume after it; one that somebody made otherwise stays his.
        var owns = known.Value.AttachedNode != volumes.NodeName || known.Value.Publications.Any(each => each.Node == volumes.NodeName) || _mounts.OwnsAttachment(volume);
        var ids = _mounts.Read(volume);
        if (ids is null || owns != _mounts.OwnsAttachment(volume)) _mounts.Write(volume, call.Name!, ids ?? [], owns);
        var attached = await devices.AttachAsync(volume, wish, cancellation).ConfigureAwait(false);
        if (!attached.IsOk)
        {
            if (ids is null or { Count: 0 }) await GiveUpAsync(volume, attached.Status, cancellation).ConfigureAwait(false);
            return Refused(call, volume, attached.Reason);
        }
        if (ids?.Contains(id, StringComparer.Ordinal) != true) _mounts.Write(volume, call.Name!, [.. ids ?? [], id], owns);
        return new DockerAnswer { Mountpoint = PathOf(volume) };
    }

    /// <summary>First written down, then unmounted: what a crash leaves of it, the next call or start finishes.</summary>
    public async Task<DockerAnswer> UnmountAsync(DockerCall call, CancellationToken cancellation)
    {
        if (DockerName.VolumeOf(call.Name) is not { } volume) return NoName(call);
        using var held = await _locks.EnterAsync(volume, cancellation).ConfigureAwait(false);
        if (_mounts.Read(volume) is not { } ids) return new DockerAnswer();
        var left = ids.Where(id => id != call.Id).ToArray();
        if (left.Length != ids.Count) _mounts.Write(volume, call.Name!, left, _mounts.OwnsAttachment(volume));
        if (left.Length > 0) return new DockerAnswer();
        return await LeaveAsync(volume, cancellation).ConfigureAwait(false) ?? new DockerAnswer();
    }

    public async Task<DockerAnswer> PathAsync(DockerCall call, CancellationToken cancellation)
    {
        if (DockerName.VolumeOf(call.Name) is not { } volume) return NoName(call);
        var known = await volumes.GetAsync(volume, cancellation).ConfigureAwait(false);
        return known.IsOk ? new DockerAnswer { Mountpoint = MountpointOf(volume) } : Unknown(call, volume, known);
    }

    public async Task<DockerAnswer> GetAsync(DockerCall call, CancellationToken cancellation)
    {
        if (DockerName.VolumeOf(call.Name) is not { } volume) return NoName(call);
        var known = await volumes.GetAsync(volume, cancellation).ConfigureAwait(false);
        if (!known.IsOk) return Unknown(call, volume, known);
        var status = new Dictionary<string, string> { ["sizeBytes"] = $"{known.Value!.SizeBytes}", ["attachedTo"] = known.Value.AttachedNode ?? "" };
        return new DockerAnswer { Volume = new DockerVolume(call.Name!, MountpointOf(volume), status) };
    }

    public async Task<DockerAnswer> ListAsync(CancellationToken cancellation)
    {
        var list = await volumes.ListAsync(cancellation).ConfigureAwait(false);
        if (!list.IsOk) return DockerAnswer.Error(list.Reason);
        return new DockerAnswer
        {
            Volumes = [.. list.Value!.Select(volume => new DockerVolume(
                volume.Labels.GetValueOrDefault(DockerOptions.NameLabel, volume.FullName), MountpointOf(volume.FullName)))],
        };
    }

    /// <summary>At the start of a node, beside everything else: unmounts that a crash cut off are finished. What does not go now is logged, and goes with the next call.</summary>
    public async Task RecoverAsync(CancellationToken cancellation)
    {
        try
        {
            foreach (var (volume, _, ids) in _mounts.All())
            {
                if (ids.Count > 0) continue;
                using var held = await _locks.EnterAsync(volume, cancellation).ConfigureAwait(false);
                // Somebody may have mounted it since.
                if (_mounts.Read(volume) is not { Count: 0 }) continue;
                if (await LeaveAsync(volume, cancellation).ConfigureAwait(false) is { } failure) LogNotLeft(volume, failure.Err);
            }
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            // The node stops; its next start looks again.
        }
        catch (Exception e)
        {
            LogNotRecovered(e, directory);
        }
    }

    private static DockerAnswer Unknown(DockerCall call, string volume, AttachResult<HostVolume> known) =>
        known.Status == AttachStatus.NotFound ? DockerAnswer.Error($"there is no volume {call.Name}") : Refused(call, volume, known.Reason);

    /// <summary>Whoever reads it knows the volume by Docker's name; what the reason says to do with myrmidon is done with the other one.</summary>
    private static DockerAnswer Refused(DockerCall call, string volume, string reason) =>
        DockerAnswer.Error(call.Name == volume ? reason : $"{reason} ({call.Name} is volume {volume} of myrmidon)");

    private static DockerAnswer NoName(DockerCall call) =>
        DockerAnswer.Error($"\"{call.Name}\" is no name of a volume: use letters, digits, '_', '.' and '-'");

    private string PathOf(string volume) => Path.Combine(MountsIn(directory), volume);

    private string MountpointOf(string volume) => devices.Mounter.MountedAt(PathOf(volume)).IsOk ? PathOf(volume) : "";

    /// <summary>
    /// A host that says that it uses the volume may have containers on it: it is not cut off unless the volume says so. One that is down, silent, or has nothing of
    /// it open (it was booted anew) is, at once.
    /// </summary>
    private async Task<DockerAnswer?> RefusalAsync(string name, HostVolume volume, CancellationToken cancellation)
    {
        // It would be at a second path where the orchestrator was promised one.
        if (volume.Publications.FirstOrDefault(each => each.Node == volumes.NodeName && !each.AllowsSeveralPaths) is { } published)
            return DockerAnswer.Error($"volume {name} is published to this node by CSI, and the access mode {published.Mode} allows one place: end the workload that has it");
        if (volume.AttachedNode == volumes.NodeName) return null;
        if (volume.Labels.GetValueOrDefault(DockerOptions.TakeoverLabel) == DockerOptions.TakeoverAlways) return null;
        // Sharers have one attachment, which one for this node alone would cut off.
        string[] nodes = volume.AttachedNode is { } holder ? [holder] : [.. volume.Publications.Where(each => each.IsShared).Select(each => each.Node)];
        var asked = await Task.WhenAll(nodes.Select(async node => (Node: node, Used: await volumes.IsUsedOnAsync(node, volume, cancellation).ConfigureAwait(false)))).ConfigureAwait(false);
        foreach (var (node, used) in asked)
        {
            if (!used.IsOk) return DockerAnswer.Error(used.Reason);
            if (used.Value) return DockerAnswer.Error($"volume {name} is in use on node {node}; stop its containers there, or cut it off: myrmidon volume detach {volume.FullName}");
        }
        return null;
    }

    /// <summary>
    /// After a first mount that failed: Docker does not unmount what it was not given, and every other host would be told that this one uses the volume. What somebody has to decide about stays, and what the
    /// same mount, made again, goes on with.
    /// </summary>
    private async Task GiveUpAsync(string volume, AttachStatus status, CancellationToken cancellation)
    {
        if (status is AttachStatus.Damaged or AttachStatus.NotBlank or AttachStatus.Running or AttachStatus.TimedOut or AttachStatus.Unavailable) return;
        if (await LeaveAsync(volume, cancellation).ConfigureAwait(false) is { } failure) LogNotLeft(volume, failure.Err);
    }

    /// <summary>Null when nothing of it is left on this host that anybody could use. What was written to the bare directory below a mount stays, and hinders nothing.</summary>
    private async Task<DockerAnswer?> LeaveAsync(string volume, CancellationToken cancellation)
    {
        var detached = await devices.LeaveAsync(volume, PathOf(volume), _mounts.OwnsAttachment(volume), cancellation).ConfigureAwait(false);
        if (!detached.IsOk && detached.Status != AttachStatus.NotFound) return DockerAnswer.Error(detached.Reason);
        _mounts.Delete(volume);
        var path = PathOf(volume);
        try
        {
            if (Directory.Exists(path) && !devices.Mounter.MountedAt(path).IsOk) Directory.Delete(path, recursive: false);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            LogDirectoryStays(volume, path, e.Message);
        }
        return null;
    }

    [LoggerMessage(EventId = 2412, Level = LogLevel.Warning, Message = "Docker volume {Volume}: an unmount that was cut off can't be finished now, the next call for it tries again: {Reason}")]
    private partial void LogNotLeft(string volume, string reason);

    [LoggerMessage(EventId = 2413, Level = LogLevel.Error, Message = "unmounts of Docker volumes that were cut off (noted in {Directory}) can't be finished; the next start looks again")]
    private partial void LogNotRecovered(Exception e, string directory);

    [LoggerMessage(EventId = 2414, Level = LogLevel.Warning, Message = "Docker volume {Volume} is unmounted, and its mount point {Path} stays: {Reason}")]
    private partial void LogDirectoryStays(string volume, string path, string reason);
}
