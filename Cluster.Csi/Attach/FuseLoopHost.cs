using System.Diagnostics;
using System.Globalization;
using Cluster.Messages.Model;
using Microsoft.Extensions.Logging;

namespace Cluster.Csi.Attach;

/// <summary>The parts of FUSE-and-loop devices on this host: looked at, made and taken away. One caller per volume at a time.</summary>
internal sealed class FuseLoopHost(string root, NbdAddress server, IReadOnlyList<string> daemon, ILogger logger)
{
    private const int LogLines = 5;

    private readonly DeviceJobs _jobs = new(daemon);

    public NbdAddress Server => server;

    public IReadOnlyList<FuseLoopState> Of(VolumeId volume) => [.. All().Where(state => state.Identity.Volume == volume)];

    /// <summary>Every device that there is any part of, by the directories and by the kernel's loop devices.</summary>
    public IReadOnlyList<FuseLoopState> All()
    {
        var loops = new Dictionary<DeviceIdentity, LoopDevice>();
        foreach (var loop in LoopDevices.Read())
        {
            if (DeviceDirectory.IdentityOf(root, loop.BackingFile) is { } identity && (!loops.TryGetValue(identity, out var known) || known.IsGoing)) loops[identity] = loop;
        }
        var mounts = MountTable.Read();
        return [.. DeviceDirectory.All(root).Select(directory => directory.Identity).Concat(loops.Keys).Distinct()
            .OrderBy(identity => identity.Volume).ThenBy(identity => identity.Generation)
            .Select(identity => StateOf(new DeviceDirectory(root, identity), loops.GetValueOrDefault(identity), mounts))];
    }

    /// <summary>Makes what is missing of the device, in order.</summary>
    public async Task<AttachResult<AttachedDevice>> MakeAsync(AttachTarget target, CancellationToken cancellation)
    {
        var directory = new DeviceDirectory(root, target.Identity);
        if (!await EndProgramsAsync(directory, cancellation).ConfigureAwait(false)) return Unended(target.Identity).To<AttachedDevice>();
        var state = Look(directory);
        if (state.Loop is { IsGoing: true } going)
            return AttachResult<AttachedDevice>.Error(AttachStatus.InUse, $"{going.Path} is being detached, and somebody still has it open");
        if (state is { IsServed: true, Loop: not null }) return state.AsDevice()!;
        if (state.Loop is not null || (state.HasMount && !state.HasDaemon))
        {
            // The daemon died: the kernel has cut the FUSE file off for good.
            var removed = await RemoveAsync(state, force: false, cancellation).ConfigureAwait(false);
            if (!removed.IsOk) return removed.To<AttachedDevice>();
        }
        directory.Make(target);
        var served = await ServeAsync(directory, target, cancellation).ConfigureAwait(false);
        if (!served.IsOk) return served.To<AttachedDevice>();
        string[] options = target.ReadOnly ? ["--read-only"] : [];
        var made = await HostProgram.RunAsync("losetup", ["--find", "--show", "--direct-io=on", .. options, directory.Export], cancellation).ConfigureAwait(false);
        if (!made.IsOk) return AttachResult<AttachedDevice>.Error(AttachStatus.Failed, made.Reason);
        state = Look(directory);
        if (state.AsDevice() is not { } device)
            return AttachResult<AttachedDevice>.Error(AttachStatus.Failed, $"{made.Output.Trim()} went away while it was being attached");
        AttachLog.Attached(logger, target.FullName, target.Identity.ToString(), device.Path);
        return device;
    }

    /// <summary>Takes away what is there of the device, in the reverse order.</summary>
    public async Task<AttachResult<Done>> RemoveAsync(FuseLoopState state, bool force, CancellationToken cancellation)
    {
        var hasEnded = await EndProgramsAsync(state.Directory, cancellation).ConfigureAwait(false);
        if (!hasEnded && !force) return Unended(state.Identity);
        state = Look(state.Directory);
        force |= !state.IsServed;
        var stuck = state.Loop is { } loop ? await ReleaseAsync(loop, state.Directory, force, cancellation).ConfigureAwait(false) : Done.Ok;
        if (!stuck.IsOk && !force) return stuck;
        // Forced, what it holds fails now; what was acknowledged is with the owner (P1).
        if (force && !await DaemonProcess.EndAsync(Mark(state.Directory), now: true, cancellation).ConfigureAwait(false)) return Stays(state);
        // What waited for an answer of the device has failed by now.
        if (!hasEnded && !await EndProgramsAsync(state.Directory, cancellation).ConfigureAwait(false)) return Stays(state);
        if (stuck.Status == AttachStatus.Failed && state.Loop is { } left) stuck = await ReleaseAsync(left, state.Directory, force, cancellation).ConfigureAwait(false);
        if (!stuck.IsOk) return stuck;
        for (var layer = 0; layer < AttachLimits.MountLayersMax && MountTable.At(MountTable.Read(), state.Directory.Export) is not null; layer++)
        {
            var unmounted = await HostProgram.RunAsync("umount", [state.Directory.Export], cancellation).ConfigureAwait(false);
            if (!unmounted.IsOk) unmounted = await HostProgram.RunAsync("umount", ["--lazy", state.Directory.Export], cancellation).ConfigureAwait(false);
            if (!unmounted.IsOk) return AttachResult<Done>.Error(AttachStatus.Failed, unmounted.Reason);
        }
        if (!await DaemonProcess.EndAsync(Mark(state.Directory), now: false, cancellation).ConfigureAwait(false)) return Stays(state);
        try
        {
            state.Directory.Delete();
            return Done.Ok;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return AttachResult<Done>.Error(AttachStatus.Failed, $"{state.Directory.Path} can't be removed: {e.Message}");
        }
    }

    /// <summary>The daemon is told to look at the volume's size, then the loop device to look at its file's.</summary>
    public async Task<AttachResult<AttachedDevice>> ResizeAsync(AttachedDevice device, ulong sizeBytes, CancellationToken cancellation)
    {
        var directory = new DeviceDirectory(root, device.Identity);
        for (var waited = Stopwatch.StartNew(); FileSize(directory.Export) < sizeBytes;)
        {
            if (waited.ElapsedMilliseconds > AttachLimits.ResizeMs)
                return AttachResult<AttachedDevice>.Error(AttachStatus.TimedOut, $"{device.Path} does not show the new size yet: resize it again");
            // Told again now and then: the node may not know the new size yet itself.
            if (!DaemonProcess.Signal(Mark(directory), Native.WindowChanged))
                return AttachResult<AttachedDevice>.Error(AttachStatus.Failed, $"nothing serves {device.Path} any more: detach it and attach it again");
            await Task.Delay(AttachLimits.ResizePollMs, cancellation).ConfigureAwait(false);
        }
        var looked = await HostProgram.RunAsync("losetup", ["--set-capacity", device.Path], cancellation).ConfigureAwait(false);
        if (!looked.IsOk) return AttachResult<AttachedDevice>.Error(AttachStatus.Failed, looked.Reason);
        return Look(directory).AsDevice() ?? AttachResult<AttachedDevice>.Error(AttachStatus.NotFound, $"{device.Path} went away while it was being resized");
    }

    /// <summary>The daemon's arguments; the path's is what it is known by.</summary>
    internal IEnumerable<string> Arguments(DeviceDirectory directory, AttachTarget target)
    {
        string[] where = server.UnixPath is { } path ? [$"--unix={path}"] : [$"--host={server.Host}", $"--port={server.Port.ToString(CultureInfo.InvariantCulture)}"];
        string[] readOnly = target.ReadOnly ? ["--read-only"] : [];
        return [.. daemon, .. where, $"--export={target.ExportName}", $"--hold={target.HoldMs.ToString(CultureInfo.InvariantCulture)}", .. readOnly, Mark(directory)];
    }

    private static AttachResult<Done> Stays(FuseLoopState state) =>
        AttachResult<Done>.Error(AttachStatus.TimedOut, $"the daemon of {state.Identity} does not end");

    private static AttachResult<Done> Unended(DeviceIdentity identity) =>
        AttachResult<Done>.Error(AttachStatus.TimedOut, $"a program that was to make the device of {identity} does not end");

    /// <summary>
    /// A node that was killed has left its programs behind, those that have the device's file for an argument: a losetup that goes on would make a second device, or, after all is
    /// taken away, one that nothing finds again. This process has none of them: there is one caller per volume.
    /// </summary>
    private static Task<bool> EndProgramsAsync(DeviceDirectory directory, CancellationToken cancellation) => DaemonProcess.EndAsync(directory.Export, now: true, cancellation);

    private static string Mark(DeviceDirectory directory) => $"--path={directory.Export}";

    private FuseLoopState Look(DeviceDirectory directory)
    {
        var loops = LoopDevices.Read().Where(loop => loop.BackingFile == directory.Export).ToArray();
        return StateOf(directory, loops.FirstOrDefault(loop => !loop.IsGoing) ?? loops.FirstOrDefault(), MountTable.Read());
    }

    private static FuseLoopState StateOf(DeviceDirectory directory, LoopDevice? loop, IReadOnlyList<MountEntry> mounts) =>
        new(directory, loop, MountTable.At(mounts, directory.Export) is not null, FindDaemons(directory).Count > 0);

    private static IReadOnlyList<int> FindDaemons(DeviceDirectory directory) => DaemonProcess.Find(Mark(directory));

    private static ulong FileSize(string path)
    {
        try
        {
            return (ulong)new FileInfo(path).Length;
        }
        catch (IOException)
        {
            return 0;
        }
    }

    /// <summary>Starts the daemon unless one is there, and waits until its file shows the volume.</summary>
    private async Task<AttachResult<Done>> ServeAsync(DeviceDirectory directory, AttachTarget target, CancellationToken cancellation)
    {
        Process? process = null;
        if (FindDaemons(directory).Count == 0)
        {
            if (MountTable.At(MountTable.Read(), directory.Export) is null) await File.WriteAllBytesAsync(directory.Export, [], cancellation).ConfigureAwait(false);
            process = DaemonProcess.Start(Arguments(directory, target), directory.Path, directory.Log);
        }
        using (process)
        {
            for (var waited = Stopwatch.StartNew(); ; await Task.Delay(AttachLimits.PollMs, cancellation).ConfigureAwait(false))
            {
                if (MountTable.At(MountTable.Read(), directory.Export) is not null && FileSize(directory.Export) > 0) return Done.Ok;
                var ended = process?.HasExited ?? FindDaemons(directory).Count == 0;
                if (ended) return AttachResult<Done>.Error(AttachStatus.Refused, $"volume {target.FullName} can't be attached: {Tail(directory.Log)}");
                if (waited.ElapsedMilliseconds < AttachLimits.AppearMs) continue;
                await DaemonProcess.EndAsync(Mark(directory), now: true, cancellation).ConfigureAwait(false);
                return AttachResult<Done>.Error(AttachStatus.TimedOut, $"volume {target.FullName} did not appear in {AttachLimits.AppearMs / 1000} s: {Tail(directory.Log)}");
            }
        }
    }

    private static string Tail(string log)
    {
        try
        {
            var said = string.Join("; ", File.ReadLines(log).TakeLast(LogLines)).Trim();
            return said.Length > 0 ? said : "its daemon ended and said nothing";
        }
        catch (IOException e)
        {
            return e.Message;
        }
    }

    /// <summary>Detaches the loop device. InUse while it is mounted or open, unless forced: then its mounts leave the tree at once.</summary>
    private async Task<AttachResult<Done>> ReleaseAsync(LoopDevice loop, DeviceDirectory directory, bool force, CancellationToken cancellation)
    {
        for (var layer = 0; layer < AttachLimits.MountLayersMax; layer++)
        {
            var mounts = MountTable.Read().Where(mount => mount.Major == loop.Major && mount.Minor == loop.Minor).ToArray();
            if (mounts.Length == 0) break;
            if (!force) return AttachResult<Done>.Error(AttachStatus.InUse, $"{loop.Path} is mounted at {mounts[^1].Path}");
            var unmounted = await HostProgram.RunAsync("umount", ["--lazy", mounts[^1].Path], AttachLimits.ForcedUnmountMs, cancellation).ConfigureAwait(false);
            if (!unmounted.IsOk) return AttachResult<Done>.Error(AttachStatus.Failed, unmounted.Reason);
        }
        if (!force)
        {
            // One that something has claimed (a mount in another namespace, a device over it) is not marked for going.
            var device = new AttachedDevice(directory.Identity, "", loop.Path, loop.SizeBytes, loop.ReadOnly, AttacherKind.FuseLoop);
            var job = new DeviceJob(DeviceJobKind.Claim, AttachedDeviceNote.Of(device), FileSystemKind.Unset, [], server, "");
            var claim = await _jobs.RunAsync(job, cancellation).ConfigureAwait(false);
            if (claim.Status == AttachStatus.InUse) return AttachResult<Done>.Error(AttachStatus.InUse,
                $"{loop.Path} is in use by {MountTable.Elsewhere(loop.Path) ?? "something that is not mounted here"}");
            if (claim.Status is not (AttachStatus.Ok or AttachStatus.NotFound)) return DeviceJobs.Result(claim);
        }
        var detached = await HostProgram.RunAsync("losetup", ["--detach", loop.Path], cancellation).ConfigureAwait(false);
        for (var waited = Stopwatch.StartNew(); ; await Task.Delay(AttachLimits.PollMs, cancellation).ConfigureAwait(false))
        {
            if (!LoopDevices.Read().Any(device => device.Path == loop.Path && device.BackingFile == directory.Export)) return Done.Ok;
            if (!detached.IsOk) return AttachResult<Done>.Error(AttachStatus.Failed, detached.Reason);
            if (waited.ElapsedMilliseconds > AttachLimits.ReleaseMs)
                return AttachResult<Done>.Error(AttachStatus.InUse, $"{loop.Path} is still open; it goes when its last user closes it");
        }
    }
}
