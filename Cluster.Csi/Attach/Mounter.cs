namespace Cluster.Csi.Attach;

/// <summary>File systems and mounts by the host's own programs (util-linux, e2fsprogs, xfsprogs) and by what the kernel tells of them.</summary>
public sealed class Mounter : IMounter
{
    /// <summary>Bits of e2fsck's exit: what was found was mended. Any other is an error.</summary>
    private const int Mended = 1 | 2;

    /// <summary>What mount says of EUCLEAN, which xfs answers for metadata that contradicts itself or its checksums.</summary>
    private const string NeedsCleaning = "Structure needs cleaning";

    private readonly DeviceProber _prober;
    private readonly Formatter _formatter;
    private readonly LongPrograms _programs;

    /// <param name="attacher">Tells whether a device without a signature is blank.</param>
    /// <param name="scratch">A directory for images of file systems that are being made.</param>
    public Mounter(IAttacher attacher, string scratch)
        : this(attacher.HoldsDataAsync, scratch)
    {
    }

    /// <param name="holdsData">Whether any byte of a device without a signature is not zero.</param>
    internal Mounter(Func<AttachedDevice, CancellationToken, Task<AttachResult<bool>>> holdsData, string scratch)
        : this(holdsData, scratch, new LongPrograms(ProgramsIn(scratch)))
    {
    }

    internal Mounter(Func<AttachedDevice, CancellationToken, Task<AttachResult<bool>>> holdsData, string scratch, LongPrograms programs)
    {
        _programs = programs;
        _prober = new DeviceProber(holdsData);
        _formatter = new Formatter(scratch);
    }

    /// <summary>Where programs that outlive a call have their files.</summary>
    internal static string ProgramsIn(string scratch) => Path.Combine(scratch, "programs");

    public async Task<AttachResult<DeviceProbe>> ProbeAsync(AttachedDevice device, CancellationToken cancellation)
    {
        if (await _programs.SettleAsync(device.Path, cancellation).ConfigureAwait(false) is { } running) return running.To<DeviceProbe>();
        var claim = DeviceProber.Claim(device, write: false);
        if (!claim.IsOk) return claim.To<DeviceProbe>();
        using var claimed = claim.Value!;
        return await _prober.ProbeAsync(device, claimed, cancellation).ConfigureAwait(false);
    }

    public async Task<AttachResult<Done>> FormatAsync(
        AttachedDevice device, FileSystemKind fileSystem, IReadOnlyList<string> options, CancellationToken cancellation)
    {
        if (Mounted(device, fileSystem) is { } known) return known;
        if (await _programs.SettleAsync(device.Path, cancellation).ConfigureAwait(false) is { } running) return running;
        var claim = DeviceProber.Claim(device, write: !device.ReadOnly);
        if (!claim.IsOk) return claim.To<Done>();
        using var claimed = claim.Value!;
        var probe = await _prober.ProbeAsync(device, claimed, cancellation).ConfigureAwait(false);
        if (!probe.IsOk) return probe.To<Done>();
        if (probe.Value!.Content == DeviceContent.FileSystem && probe.Value.FileSystem == fileSystem) return Done.Ok;
        if (probe.Value.Content is not (DeviceContent.Blank or DeviceContent.UnfinishedFormat)) return Other(device, probe.Value.What, fileSystem);
        if (device.ReadOnly) return AttachResult<Done>.Error(AttachStatus.Invalid, $"{device.Path} is read-only and has no file system");
        var unfinished = probe.Value.Content == DeviceContent.UnfinishedFormat;
        return await _formatter.FormatAsync(device, claimed, fileSystem, options, unfinished, cancellation).ConfigureAwait(false);
    }

    public async Task<AttachResult<Done>> CheckAsync(AttachedDevice device, FileSystemKind fileSystem, CancellationToken cancellation)
    {
        // xfs replays its log when it is mounted, and refuses to be mounted when that is not enough.
        if (fileSystem == FileSystemKind.Xfs) return Done.Ok;
        if (HostProgram.Missing("e2fsck") is { } missing) return AttachResult<Done>.Error(AttachStatus.NotSupported, missing);
        var check = await _programs.CheckAsync(device, cancellation).ConfigureAwait(false);
        return check.IsOk ? Checked(device, check.Value!) : check.To<Done>();
    }

    private static AttachResult<Done> Checked(AttachedDevice device, ProgramRun check) => (check.Exit & ~Mended) == 0 ? Done.Ok
        : AttachResult<Done>.Error(AttachStatus.Damaged, $"the file system on {device.Path} needs a decision: run e2fsck {device.Path}. {check.Reason}");

    public async Task<AttachResult<MountEntry>> MountAsync(MountRequest request, CancellationToken cancellation)
    {
        var (device, path, kind) = (request.Device, request.Path, FileSystems.NameOf(request.FileSystem));
        if (!Path.IsPathFullyQualified(path)) return AttachResult<MountEntry>.Error(AttachStatus.Invalid, $"the path {path} is not absolute");
        if (HostProgram.Missing("mount") is { } missing) return AttachResult<MountEntry>.Error(AttachStatus.NotSupported, missing);
        // What is mounted there may be one that has stopped, and answers nothing: the path seems to be absent.
        if (MountTable.At(MountTable.Read(), path) is null && MountPoint(path) is { } failure) return failure.To<MountEntry>();
        path = Native.RealPath(path) ?? path;
        var mounts = MountTable.Read();
        if (MountTable.At(mounts, path) is { } there)
        {
            if (there.Source != device.Path || FileSystemHealth.Trouble(there) is not { Length: > 0 } trouble) return IsThis(there, request) ? there : Taken(there);
            var cleared = await UnmountStoppedAsync(there, mounts, trouble, cancellation).ConfigureAwait(false);
            if (!cleared.IsOk) return cleared.To<MountEntry>();
            mounts = MountTable.Read();
        }
        if (!mounts.Any(mount => mount.Source == device.Path) && !device.ReadOnly)
        {
            var check = await CheckAsync(device, request.FileSystem, cancellation).ConfigureAwait(false);
            if (!check.IsOk) return check.To<MountEntry>();
        }
        string[] options = [request.ReadOnly || device.ReadOnly ? "ro" : "rw", .. Needed(request.FileSystem), .. request.Options];
        var run = await HostProgram.RunAsync("mount", ["-t", kind, "-o", string.Join(',', options), device.Path, path], cancellation).ConfigureAwait(false);
        if (run.IsOk) return MountedAt(path);
        if (request.FileSystem == FileSystemKind.Xfs && run.Error.Contains(NeedsCleaning, StringComparison.Ordinal)) return AttachResult<MountEntry>.Error(
            AttachStatus.Damaged, $"the file system on {device.Path} needs a decision: run xfs_repair {device.Path}. {run.Reason}");
        // EROFS of a mount that is read-only already has one reason in both file systems.
        return device.ReadOnly && run.Error.Contains("read-only", StringComparison.Ordinal) ? Unclean(device, request.FileSystem) : AttachResult<MountEntry>.Error(AttachStatus.Failed, run.Reason);
    }

    private static AttachResult<MountEntry> Unclean(AttachedDevice device, FileSystemKind fileSystem) => AttachResult<MountEntry>.Error(AttachStatus.Damaged,
        $"the {FileSystems.NameOf(fileSystem)} of volume {device.FullName} was not unmounted cleanly, and a volume that is published read-only ({device.Path}) can't have its journal replayed: publish it for writing once, or a clone of it, "
        + $"and unmount it there; or mount it as it is by the mount option {(fileSystem == FileSystemKind.Xfs ? "norecovery" : "noload")}, without what only the journal has");

    /// <summary>It never works again as long as it is mounted anywhere: whoever uses it has to go first.</summary>
    private async Task<AttachResult<Done>> UnmountStoppedAsync(MountEntry stopped, IReadOnlyList<MountEntry> mounts, string trouble, CancellationToken cancellation) =>
        mounts.FirstOrDefault(mount => mount.Source == stopped.Source && mount.Path != stopped.Path) is { } other
            ? AttachResult<Done>.Error(AttachStatus.InUse, $"the file system of {stopped.Source} at {stopped.Path} has {trouble} and is in use at {other.Path} too: end what uses it there, and it is mounted anew")
            : await UnmountAsync(stopped.Path, force: false, cancellation).ConfigureAwait(false);

    /// <summary>Clones and restored snapshots have the UUID of what they were made from, and xfs refuses a second one on a host (mount(8), xfs: nouuid). Which volume it is the device says.</summary>
    private static string[] Needed(FileSystemKind fileSystem) => fileSystem == FileSystemKind.Xfs ? ["nouuid"] : [];

    public async Task<AttachResult<MountEntry>> BindAsync(string source, string path, bool readOnly, CancellationToken cancellation)
    {
        if (!Path.IsPathFullyQualified(path)) return AttachResult<MountEntry>.Error(AttachStatus.Invalid, $"the path {path} is not absolute");
        if (Native.RealPath(source) is not { } from) return AttachResult<MountEntry>.Error(AttachStatus.NotFound, $"there is no {source}");
        if (MountPoint(path, file: !Directory.Exists(from)) is { } failure) return failure.To<MountEntry>();
        path = Native.RealPath(path)!;
        var mounts = MountTable.Read();
        if (MountTable.Holding(mounts, from) is not { } held) return AttachResult<MountEntry>.Error(AttachStatus.NotFound, $"{source} lies in no mount");
        var there = MountTable.At(mounts, path);
        if (there is not null && (there.Major != held.Mount.Major || there.Minor != held.Mount.Minor || there.Root != held.Root)) return Taken(there);
        if (there is null)
        {
            // In one call of the program, which goes on when this process is killed: nobody is to find it half done.
            string[] how = readOnly ? ["-o", "bind,ro"] : ["--bind"];
            var bound = await HostProgram.RunAsync("mount", [.. how, from, path], cancellation).ConfigureAwait(false);
            if (!bound.IsOk) return AttachResult<MountEntry>.Error(AttachStatus.Failed, bound.Reason);
        }
        // A bind mount becomes read-only only by a second call; one that was cut off between the two is finished here.
        if (readOnly && !MountTable.At(MountTable.Read(), path)!.IsReadOnly)
        {
            var remounted = await HostProgram.RunAsync("mount", ["-o", "remount,bind,ro", path], cancellation).ConfigureAwait(false);
            if (!remounted.IsOk) return AttachResult<MountEntry>.Error(AttachStatus.Failed, remounted.Reason);
        }
        var made = MountedAt(path);
        return made is { IsOk: true, Value: { IsReadOnly: true } entry } && !readOnly && !held.Mount.IsReadOnly ? Taken(entry) : made;
    }

    public async Task<AttachResult<Done>> UnmountAsync(string path, bool force, CancellationToken cancellation)
    {
        path = Native.RealPath(path) ?? path;
        for (var layer = 0; layer < AttachLimits.MountLayersMax; layer++)
        {
            if (MountTable.At(MountTable.Read(), path) is null) return Done.Ok;
            var run = await (force ? HostProgram.RunAsync("umount", ["--lazy", path], AttachLimits.ForcedUnmountMs, cancellation) : HostProgram.RunAsync("umount", [path], cancellation)).ConfigureAwait(false);
            if (run.IsOk) continue;
            if (MountTable.At(MountTable.Read(), path) is null) return Done.Ok;
            return run.Error.Contains("busy", StringComparison.Ordinal)
                ? AttachResult<Done>.Error(AttachStatus.InUse, $"{path} is in use: a process has a file open there, or works in it")
                : AttachResult<Done>.Error(AttachStatus.Failed, run.Reason);
        }
        return AttachResult<Done>.Error(AttachStatus.Failed, $"more than {AttachLimits.MountLayersMax} mounts are stacked at {path}");
    }

    public async Task<AttachResult<Done>> GrowAsync(MountEntry mount, CancellationToken cancellation)
    {
        if (!FileSystems.TryParse(mount.FileSystem, out var kind))
            return AttachResult<Done>.Error(AttachStatus.Invalid, $"{mount.FileSystem} at {mount.Path} is not grown here; known are {FileSystems.Names}");
        var grown = await _programs.GrowAsync(mount, kind, cancellation).ConfigureAwait(false);
        if (!grown.IsOk) return grown.To<Done>();
        var run = grown.Value!;
        if (run.IsOk) return Done.Ok;
        return run.Error.Contains("Permission denied to resize", StringComparison.Ordinal)
            ? AttachResult<Done>.Error(AttachStatus.NotSupported, $"a mounted ext4 is grown only with the capability CAP_SYS_RESOURCE, which this process lacks ({run.Reason})")
            : AttachResult<Done>.Error(AttachStatus.Failed, run.Reason);
    }

    public async Task<AttachResult<Done>> GrowUnmountedAsync(AttachedDevice device, FileSystemKind fileSystem, CancellationToken cancellation)
    {
        if (fileSystem != FileSystemKind.Ext4 || MountsOf(device.Path).Value!.Count > 0) return Done.Ok;
        if (await _programs.SettleAsync(device.Path, cancellation).ConfigureAwait(false) is { } running) return running;
        return HasRoom(device) ? await GrowOfflineAsync(device, cancellation).ConfigureAwait(false) : Done.Ok;
    }

    /// <summary>Whether an ext4 could be larger, as its own superblock says.</summary>
    internal static bool HasRoom(AttachedDevice device) => Ext4Superblock.SizeBytes(device.Path) is { } bytes && bytes + Ext4Superblock.SlackBytes <= device.SizeBytes;

    internal async Task<AttachResult<Done>> GrowOfflineAsync(AttachedDevice device, CancellationToken cancellation)
    {
        var grown = await _programs.GrowExt4OfflineAsync(device, cancellation).ConfigureAwait(false);
        if (!grown.IsOk) return grown.To<Done>();
        var run = grown.Value!;
        if (run.Program == "e2fsck") return Checked(device, run);
        return run.IsOk ? Done.Ok : AttachResult<Done>.Error(AttachStatus.Failed, run.Reason);
    }

    public AttachResult<FileSystemStats> Stats(string path) =>
        Native.Statistics(path) ?? AttachResult<FileSystemStats>.Error(AttachStatus.NotFound, $"{path} has no file system that answers");

    public AttachResult<MountEntry> MountedAt(string path)
    {
        path = Native.RealPath(path) ?? path;
        return MountTable.At(MountTable.Read(), path) ?? AttachResult<MountEntry>.Error(AttachStatus.NotFound, $"nothing is mounted at {path}");
    }

    public AttachResult<IReadOnlyList<MountEntry>> MountsOf(string devicePath) =>
        new(AttachStatus.Ok, [.. MountTable.Read().Where(mount => mount.Source == devicePath)], "");

    public AttachResult<IReadOnlyList<MountEntry>> BindsOf(string devicePath)
    {
        var mounts = MountTable.Read();
        var file = Native.RealPath(devicePath);
        if (file is null || MountTable.Holding(mounts, file) is not { } held)
            return AttachResult<IReadOnlyList<MountEntry>>.Error(AttachStatus.NotFound, $"there is no {devicePath}");
        return new(AttachStatus.Ok,
            [.. mounts.Where(mount => mount.Major == held.Mount.Major && mount.Minor == held.Mount.Minor && mount.Root == held.Root && mount.Path != file)], "");
    }

    /// <summary>What a format of a device that is mounted answers: it has a file system, and claiming it would fail. Null when it is not mounted.</summary>
    internal AttachResult<Done>? Mounted(AttachedDevice device, FileSystemKind fileSystem) =>
        MountsOf(device.Path) is not { IsOk: true, Value: [{ } mount, ..] } ? null
        : mount.FileSystem == FileSystems.NameOf(fileSystem) ? Done.Ok : Other(device, mount.FileSystem, fileSystem);

    private static bool IsThis(MountEntry there, MountRequest request) =>
        there.Source == request.Device.Path && there.Root == "/" && there.FileSystem == FileSystems.NameOf(request.FileSystem)
        && there.IsReadOnly == (request.ReadOnly || request.Device.ReadOnly);

    private static AttachResult<MountEntry> Taken(MountEntry there) => AttachResult<MountEntry>.Error(AttachStatus.Conflict,
        $"at {there.Path} is mounted {there.Source} ({there.FileSystem}{(there.IsReadOnly ? ", read-only" : "")}); unmount it, or choose another path");

    private static AttachResult<Done> Other(AttachedDevice device, string what, FileSystemKind wanted) => AttachResult<Done>.Error(AttachStatus.NotBlank,
        $"{device.Path} (volume {device.FullName}) holds {what}, so {FileSystems.NameOf(wanted)} is not made on it; {(FileSystems.TryParse(what, out _) ? $"ask for {what} to mount what is there, or " : "")}wipe it yourself if that is what you want");

    /// <summary>Makes the directory or the file to mount over; null when it is there.</summary>
    private static AttachResult<Done>? MountPoint(string path, bool file = false)
    {
        try
        {
            if (Path.Exists(path)) return null;
            Directory.CreateDirectory(file ? Path.GetDirectoryName(path)! : path);
            if (file) File.WriteAllBytes(path, []);
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return AttachResult<Done>.Error(AttachStatus.Failed, $"{path} can't be mounted over: {e.Message}");
        }
    }
}
