using System.Diagnostics;
using System.Net.Sockets;
using Cluster.Csi.Attach;
using Cluster.Csi.Fuse;
using Cluster.Csi.Nbd;
using Cluster.Messages.Model;
using Microsoft.Extensions.Logging;

namespace Cluster.Csi.Kernel;

/// <summary>Devices of the kernel's NBD client on this host: looked at, made, connected again and taken away. One caller per volume at a time; calls block.</summary>
internal sealed class KernelNbdHost(string root, BackendName name, NbdAddress server, IDeviceLinks links, DeviceJobs jobs, ILogger logger, Action? onReconnected)
{
    private const int MsPerSecond = 1000;

    public NbdAddress Server => server;

    public IReadOnlyList<KernelNbdState> Of(VolumeId volume) => [.. All().Where(state => state.Identity.Volume == volume)];

    /// <summary>Every device that there is any part of, by the directories and by whose the kernel says that it is.</summary>
    public IReadOnlyList<KernelNbdState> All()
    {
        var devices = new Dictionary<DeviceIdentity, KernelNbdDevice>();
        foreach (var device in KernelNbdDevices.Read())
        {
            if (name.IdentityOf(device.Backend) is { } identity) devices[identity] = device;
        }
        return [.. DeviceDirectory.All(root).Select(directory => directory.Identity).Concat(devices.Keys).Distinct()
            .OrderBy(identity => identity.Volume).ThenBy(identity => identity.Generation)
            .Select(identity => new KernelNbdState(new DeviceDirectory(root, identity), devices.GetValueOrDefault(identity)))];
    }

    public KernelNbdState Look(DeviceIdentity identity)
    {
        var backend = name.For(identity);
        return new KernelNbdState(new DeviceDirectory(root, identity), KernelNbdDevices.Read().FirstOrDefault(device => device.Backend == backend));
    }

    /// <summary>Makes what is missing of the device.</summary>
    public AttachResult<AttachedDevice> Make(AttachTarget target)
    {
        var state = Look(target.Identity);
        if (state is { IsGoing: true, Device: { } going })
            return AttachResult<AttachedDevice>.Error(AttachStatus.InUse, $"{going.Path} is being detached, and somebody still has it open");
        if (state.AsDevice() is { } there) return there;
        state.Directory.Delete();
        state.Directory.Make(target);
        try
        {
            using var link = NbdLink.Connect(server, target.ExportName);
            var flags = (ulong)(link.Flags | (target.ReadOnly ? NbdTransmissionFlags.ReadOnly : 0));
            var seconds = (ulong)((target.HoldMs + AttachLimits.DeadConnectionMarginMs + MsPerSecond - 1) / MsPerSecond);
            var made = NbdNetlink.Connect(new NbdDeviceConfig(name.For(target.Identity), link.SizeBytes, Limits.BlockBytes, flags, seconds), link.Descriptor);
            if (!made.IsOk) return AttachResult<AttachedDevice>.Error(AttachStatus.Failed, $"volume {target.FullName} can't be attached: {made.Reason}");
        }
        catch (Exception e) when (e is IOException or SocketException)
        {
            return AttachResult<AttachedDevice>.Error(AttachStatus.Refused, $"volume {target.FullName} can't be attached: {e.Message}");
        }
        state = Look(target.Identity);
        if (state.Device is not { } kernel)
            return AttachResult<AttachedDevice>.Error(AttachStatus.Failed, $"the device of volume {target.FullName} went away while it was being attached");
        KernelNbdDevices.SetRequestTimer(kernel, AttachLimits.RequestTimerMs);
        var device = state.AsDevice()!;
        AttachLog.Attached(logger, target.FullName, target.Identity.ToString(), device.Path);
        return device;
    }

    /// <summary>
    /// A new connection for a device that has none. NotFound when the export is gone for good: the device is then cut off, so that its I/O fails, and taken away when nobody
    /// uses it.
    /// </summary>
    public async Task<AttachResult<Done>> ReconnectAsync(KernelNbdState state, CancellationToken cancellation)
    {
        if (state.Device is not { } device) return Done.Ok;
        if (state.Export is not { } export) return AttachResult<Done>.Error(AttachStatus.Failed, $"which volume {device.Path} belongs to is not known any more: {state.Directory.Path} was damaged");
        try
        {
            // Nothing that an old connection still holds may come behind what the kernel sends again on the new one.
            await links.DropAsync(export).WaitAsync(cancellation).ConfigureAwait(false);
            using var link = NbdLink.Connect(server, export);
            // Nothing of the device's queue is touched here: some kernels wait for all its I/O first, and that waits for this.
            var given = NbdNetlink.Reconnect(device.Index, device.Backend, link.Descriptor);
            if (!given.IsOk) return AttachResult<Done>.Error(AttachStatus.Failed, $"{device.Path} can't be connected again: {given.Reason}");
            onReconnected?.Invoke();
            AttachLog.Reconnected(logger, device.Path, state.Directory.NameOfVolume, state.Identity.ToString());
            return Done.Ok;
        }
        catch (NbdRefusedException refused) when (refused.IsFinal)
        {
            AttachLog.CutOff(logger, device.Path, state.Directory.NameOfVolume, state.Identity.ToString(), refused.Message);
            await CutOffAsync(state, device, cancellation).ConfigureAwait(false);
            return AttachResult<Done>.Error(AttachStatus.NotFound, refused.Message);
        }
        catch (Exception e) when (e is IOException or SocketException or UnauthorizedAccessException)
        {
            return AttachResult<Done>.Error(AttachStatus.Refused, e.Message);
        }
    }

    public Task<bool> IsServedAsync(string export) => links.IsServedAsync(export);

    /// <summary>Takes away what is there of the device.</summary>
    public async Task<AttachResult<Done>> RemoveAsync(KernelNbdState state, bool force, CancellationToken cancellation)
    {
        try
        {
            if (state.Device is { } device)
            {
                force |= state.IsGoing;
                var released = await ReleaseAsync(state, device, force, cancellation).ConfigureAwait(false);
                if (!released.IsOk) return released;
            }
            state.Directory.Delete();
            return Done.Ok;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return AttachResult<Done>.Error(AttachStatus.Failed, $"{state.Directory.Path} can't be removed: {e.Message}");
        }
    }

    /// <summary>
    /// The kernel is told the new size as soon as the node knows it. It waits for all I/O that is on its way before it takes the size, so that some is seen to be answered first: were
    /// the node to go away in the middle, nothing could end that wait.
    /// </summary>
    public async Task<AttachResult<AttachedDevice>> ResizeAsync(AttachedDevice device, ulong sizeBytes, CancellationToken cancellation)
    {
        var state = Look(device.Identity);
        if (state is not { Device: { } kernel, Export: { } export, IsGoing: false })
            return AttachResult<AttachedDevice>.Error(AttachStatus.Failed, $"nothing serves {device.Path} any more: detach it and attach it again");
        var late = AttachResult<AttachedDevice>.Error(AttachStatus.TimedOut, $"{device.Path} does not show the new size yet: resize it again");
        try
        {
            var waited = Stopwatch.StartNew();
            while (SizeOf(export) < sizeBytes)
            {
                if (waited.ElapsedMilliseconds > AttachLimits.ResizeMs) return late;
                await Task.Delay(AttachLimits.ResizePollMs, cancellation).ConfigureAwait(false);
            }
            // What the job reads would wait for a connection that is only made once this is over.
            if (!await IsServedAsync(export).ConfigureAwait(false) && await ReconnectAsync(state, cancellation).ConfigureAwait(false) is { IsOk: false } alone) return alone.To<AttachedDevice>();
            var read = DeviceJobs.Result(await RunAsync(DeviceJobKind.ReadFirst, state, kernel, cancellation).ConfigureAwait(false));
            if (!read.IsOk) return read.To<AttachedDevice>();
            var told = NbdNetlink.Resize(kernel.Index, kernel.Backend, sizeBytes);
            if (!told.IsOk) return AttachResult<AttachedDevice>.Error(AttachStatus.Failed, $"{device.Path} keeps its size: {told.Reason}");
            return Look(device.Identity).AsDevice() ?? AttachResult<AttachedDevice>.Error(AttachStatus.NotFound, $"{device.Path} went away while it was being resized");
        }
        catch (Exception e) when (e is IOException or SocketException)
        {
            return AttachResult<AttachedDevice>.Error(AttachStatus.Failed, $"{device.Path} keeps its size: {e.Message}");
        }
    }

    private ulong SizeOf(string export)
    {
        using var link = NbdLink.Connect(server, export, allocation: true);
        return link.SizeBytes;
    }

    private Task<DeviceOutcome> RunAsync(DeviceJobKind kind, KernelNbdState state, KernelNbdDevice device, CancellationToken cancellation)
    {
        var note = new AttachedDeviceNote(state.Identity.ToString(), "", device.Path, device.SizeBytes, device.ReadOnly, AttacherKind.KernelNbd);
        var job = new DeviceJob(kind, note, FileSystemKind.Unset, KernelNbdJobs.Options(device), server, "");
        return jobs.RunAsync(job, cancellation);
    }

    /// <summary>All its I/O fails from now on, also what waits. Our own end goes first: the kernel could wait for room in it.</summary>
    private async Task<NetlinkResult> CutOffAsync(KernelNbdState state, KernelNbdDevice device, CancellationToken cancellation)
    {
        try
        {
            state.Directory.SetGone();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A full disk, say. It is for a message and for the next start of the node; its I/O is to fail now.
            AttachLog.NotMarked(logger, device.Path, state.Directory.NameOfVolume, state.Identity.ToString(), e.Message);
        }
        if (state.Export is { } export) await links.DropAsync(export).WaitAsync(cancellation).ConfigureAwait(false);
        // The kernel asks for no name there: once it is gone, its number is another's.
        return Look(state.Identity).Device?.Index == device.Index ? NbdNetlink.Disconnect(device.Index) : default;
    }

    /// <summary>Frees the kernel's device. InUse while it is mounted or open, unless forced: then its mounts leave the tree at once, and its I/O fails.</summary>
    private async Task<AttachResult<Done>> ReleaseAsync(KernelNbdState state, KernelNbdDevice device, bool force, CancellationToken cancellation)
    {
        for (var layer = 0; layer < AttachLimits.MountLayersMax; layer++)
        {
            var mounts = MountTable.Read().Where(mount => mount.Major == device.Major && mount.Minor == device.Minor).ToArray();
            if (mounts.Length == 0) break;
            if (!force) return AttachResult<Done>.Error(AttachStatus.InUse, $"{device.Path} is mounted at {mounts[^1].Path}");
            // Cut off first: a lazy unmount that nobody holds writes back, and would wait for a node that is not there.
            await CutOffAsync(state, device, cancellation).ConfigureAwait(false);
            var unmounted = await HostProgram.RunAsync("umount", ["--lazy", mounts[^1].Path], cancellation).ConfigureAwait(false);
            if (!unmounted.IsOk) return AttachResult<Done>.Error(AttachStatus.Failed, unmounted.Reason);
        }
        if (!force) return await LetGoAsync(state, device, cancellation).ConfigureAwait(false);
        var cut = await CutOffAsync(state, device, cancellation).ConfigureAwait(false);
        if (!cut.IsOk) return AttachResult<Done>.Error(AttachStatus.Failed, $"{device.Path} can't be detached: {cut.Reason}");
        return await GoneAsync(state, AttachLimits.ReleaseMs, cancellation).ConfigureAwait(false) ? Done.Ok
            : AttachResult<Done>.Error(AttachStatus.InUse, $"{device.Path} is still open{In(device)}; it goes when its last user closes it");
    }

    /// <summary>
    /// The kernel is told that the device goes with its last user, and if that is not the process that says so, that it stays after all. Nobody is cut off that way, be he in a container whose
    /// processes are not seen from here.
    /// </summary>
    private async Task<AttachResult<Done>> LetGoAsync(KernelNbdState state, KernelNbdDevice device, CancellationToken cancellation)
    {
        if (state.Export is { } export && !await IsServedAsync(export).ConfigureAwait(false))
        {
            var connected = await ReconnectAsync(state, cancellation).ConfigureAwait(false);
            // It is cut off then, and gone when nobody has it open.
            if (connected.Status == AttachStatus.NotFound)
                return await GoneAsync(state, AttachLimits.ReleaseMs, cancellation).ConfigureAwait(false) ? Done.Ok : AttachResult<Done>.Error(AttachStatus.InUse, $"{device.Path} is open{In(device)}");
            if (!connected.IsOk) return connected;
        }
        var outcome = await RunAsync(DeviceJobKind.LetGo, state, device, cancellation).ConfigureAwait(false);
        if (outcome.Status != AttachStatus.Ok) return DeviceJobs.Result(outcome);
        if (outcome.Reason.Length > 0) AttachLog.DetachedUnwritten(logger, device.Path, state.Directory.NameOfVolume, state.Identity.ToString(), outcome.Reason);
        if (await GoneAsync(state, AttachLimits.HolderMs, cancellation).ConfigureAwait(false)) return Done.Ok;
        var holder = In(device);
        var kept = NbdNetlink.Release(device.Index, device.Backend, onClose: false);
        // Refused if it went in this moment.
        return !kept.IsOk && Look(state.Identity).Device is null ? Done.Ok : AttachResult<Done>.Error(AttachStatus.InUse, $"{device.Path} is open{holder}");
    }

    private async Task<bool> GoneAsync(KernelNbdState state, int ms, CancellationToken cancellation)
    {
        for (var waited = Stopwatch.StartNew(); Look(state.Identity).Device is not null; await Task.Delay(AttachLimits.PollMs, cancellation).ConfigureAwait(false))
        {
            if (waited.ElapsedMilliseconds > ms) return false;
        }
        return true;
    }

    private static string In(KernelNbdDevice device) => KernelNbdDevices.Holder(device) is { } holder ? $" in {holder}" : "";
}
