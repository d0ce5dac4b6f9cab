namespace Cluster.Csi.Attach;

/// <summary>
/// A <see cref="Mounter"/> that leaves every call to a device itself to processes of their own (<see cref="DeviceWork"/>): this process can be killed at any moment, and a
/// call that is cancelled returns, whether or not the device answers. What <see cref="Mounter"/> does by the host's programs, or asks of the kernel alone, it does here.
/// </summary>
public sealed class ApartMounter : IMounter
{
    private readonly DeviceJobs _jobs;
    private readonly NbdAddress _server;
    private readonly string _scratch;
    private readonly LongPrograms _programs;
    private readonly Mounter _mounter;

    /// <param name="command">The program and its first arguments, to which <see cref="DeviceWork.Option"/> is added.</param>
    /// <param name="server">Of this node: it is asked where a device has anything stored.</param>
    /// <param name="scratch">A directory for images of file systems that are being made, and for what outlives a call.</param>
    public ApartMounter(IReadOnlyList<string> command, NbdAddress server, string scratch)
        : this(command, server, scratch, new LongPrograms(Mounter.ProgramsIn(scratch)))
    {
    }

    internal ApartMounter(IReadOnlyList<string> command, NbdAddress server, string scratch, LongPrograms programs)
    {
        (_jobs, _server, _scratch, _programs) = (new DeviceJobs(command), server, scratch, programs);
        _mounter = new Mounter((_, _) => throw new NotSupportedException("a device is looked at by a process of its own"), scratch, programs);
    }

    public async Task<AttachResult<DeviceProbe>> ProbeAsync(AttachedDevice device, CancellationToken cancellation)
    {
        if (await _programs.SettleAsync(device.Path, cancellation).ConfigureAwait(false) is { } running) return running.To<DeviceProbe>();
        var outcome = await RunAsync(DeviceJobKind.Probe, device, FileSystemKind.Unset, [], cancellation).ConfigureAwait(false);
        return outcome is { Status: AttachStatus.Ok, Probe: { } probe } ? probe : AttachResult<DeviceProbe>.Error(DeviceJobs.Failed(outcome.Status), outcome.Reason);
    }

    public async Task<AttachResult<Done>> FormatAsync(AttachedDevice device, FileSystemKind fileSystem, IReadOnlyList<string> options, CancellationToken cancellation)
    {
        // It is the usual case of a stage that is asked for again, and needs no look at the device.
        if (_mounter.Mounted(device, fileSystem) is { } known) return known;
        if (await _programs.SettleAsync(device.Path, cancellation).ConfigureAwait(false) is { } running) return running;
        return DeviceJobs.Result(await RunAsync(DeviceJobKind.Format, device, fileSystem, options, cancellation).ConfigureAwait(false));
    }

    public async Task<AttachResult<Done>> GrowUnmountedAsync(AttachedDevice device, FileSystemKind fileSystem, CancellationToken cancellation)
    {
        if (fileSystem != FileSystemKind.Ext4 || MountsOf(device.Path).Value!.Count > 0) return Done.Ok;
        if (await _programs.SettleAsync(device.Path, cancellation).ConfigureAwait(false) is { } running) return running;
        // The look is a job, the growth is not: a job ends with this process.
        var outcome = await RunAsync(DeviceJobKind.LookForRoom, device, fileSystem, [], cancellation).ConfigureAwait(false);
        return outcome is { Status: AttachStatus.Ok, HasRoom: true } ? await _mounter.GrowOfflineAsync(device, cancellation).ConfigureAwait(false) : DeviceJobs.Result(outcome);
    }

    public Task<AttachResult<Done>> CheckAsync(AttachedDevice device, FileSystemKind fileSystem, CancellationToken cancellation) =>
        _mounter.CheckAsync(device, fileSystem, cancellation);

    public Task<AttachResult<MountEntry>> MountAsync(MountRequest request, CancellationToken cancellation) => _mounter.MountAsync(request, cancellation);

    public Task<AttachResult<MountEntry>> BindAsync(string source, string path, bool readOnly, CancellationToken cancellation) =>
        _mounter.BindAsync(source, path, readOnly, cancellation);

    public Task<AttachResult<Done>> UnmountAsync(string path, bool force, CancellationToken cancellation) => _mounter.UnmountAsync(path, force, cancellation);

    public Task<AttachResult<Done>> GrowAsync(MountEntry mount, CancellationToken cancellation) => _mounter.GrowAsync(mount, cancellation);

    public AttachResult<FileSystemStats> Stats(string path) => _mounter.Stats(path);

    public AttachResult<MountEntry> MountedAt(string path) => _mounter.MountedAt(path);

    public AttachResult<IReadOnlyList<MountEntry>> MountsOf(string devicePath) => _mounter.MountsOf(devicePath);

    public AttachResult<IReadOnlyList<MountEntry>> BindsOf(string devicePath) => _mounter.BindsOf(devicePath);

    private Task<DeviceOutcome> RunAsync(DeviceJobKind kind, AttachedDevice device, FileSystemKind fileSystem, IReadOnlyList<string> options, CancellationToken cancellation) =>
        _jobs.RunAsync(new DeviceJob(kind, AttachedDeviceNote.Of(device), fileSystem, [.. options], _server, _scratch), cancellation);
}
