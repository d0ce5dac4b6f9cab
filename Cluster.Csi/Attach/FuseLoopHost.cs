using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using Cluster.Messages.Model;
using Microsoft.Extensions.Logging;

namespace Cluster.Csi.Attach;

/// <summary>The parts of FUSE-and-loop devices on this host: looked at, made and taken away. One caller per volume at a time.</summary>
internal sealed class FuseLoopHost(string root, NbdAddress server, ILogger logger)
{
    private const string Daemon = "qemu-storage-daemon";

    /// <summary>The daemon fails I/O after this many seconds without its server at most.</summary>
    private const int HoldSecondsMax = 86_400;
    private const int LogLines = 5;

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
        force |= !state.IsServed;
        var stuck = state.Loop is { } loop ? await ReleaseAsync(loop, state.Directory, force, cancellation).ConfigureAwait(false) : Done.Ok;
        if (!stuck.IsOk && !force) return stuck;
        // After a forced end nobody waits for a server that may be away; what was acknowledged is with the owner (P1).
        if (!await DaemonProcess.StopAsync(Daemon, Mark(state.Directory), now: force, cancellation).ConfigureAwait(false))
            return AttachResult<Done>.Error(AttachStatus.TimedOut, $"the daemon of {state.Identity} does not end; it may wait for its disk");
        if (!stuck.IsOk) return stuck;
        for (var layer = 0; layer < AttachLimits.MountLayersMax && MountTable.At(MountTable.Read(), state.Directory.Export) is not null; layer++)
        {
            var unmounted = await HostProgram.RunAsync("umount", [state.Directory.Export], cancellation).ConfigureAwait(false);
            if (!unmounted.IsOk) unmounted = await HostProgram.RunAsync("umount", ["--lazy", state.Directory.Export], cancellation).ConfigureAwait(false);
            if (!unmounted.IsOk) return AttachResult<Done>.Error(AttachStatus.Failed, unmounted.Reason);
        }
        state.Directory.Delete();
        return Done.Ok;
    }

    /// <summary>
    /// The daemon gets a second connection, which sees the new size, puts it in place of the first one between two requests, and drops that. Then
    /// the loop device looks at its file again.
    /// </summary>
    public async Task<AttachResult<AttachedDevice>> ResizeAsync(AttachedDevice device, ulong sizeBytes, CancellationToken cancellation)
    {
        var directory = new DeviceDirectory(root, device.Identity);
        try
        {
            if (FileSize(directory.Export) < sizeBytes) await ReconnectAsync(directory, device, cancellation).ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or SocketException)
        {
            return AttachResult<AttachedDevice>.Error(AttachStatus.Failed, $"{device.Path} can't be resized: {e.Message}");
        }
        for (var waited = Stopwatch.StartNew(); ; await Task.Delay(AttachLimits.PollMs, cancellation).ConfigureAwait(false))
        {
            if (FileSize(directory.Export) >= sizeBytes) break;
            if (waited.ElapsedMilliseconds > AttachLimits.ResizeMs)
                return AttachResult<AttachedDevice>.Error(AttachStatus.TimedOut, $"the NBD server does not show the new size of {device.Identity} yet: resize it again");
        }
        var looked = await HostProgram.RunAsync("losetup", ["--set-capacity", device.Path], cancellation).ConfigureAwait(false);
        if (!looked.IsOk) return AttachResult<AttachedDevice>.Error(AttachStatus.Failed, looked.Reason);
        return Look(directory).AsDevice() ?? AttachResult<AttachedDevice>.Error(AttachStatus.NotFound, $"{device.Path} went away while it was being resized");
    }

    /// <summary>The file's holes are the volume's: only where it has something stored is it read.</summary>
    public AttachResult<bool> HoldsData(AttachedDevice device, CancellationToken cancellation)
    {
        // What the device's own cache still holds must be in the file first.
        using (var block = Native.Open(device.Path, device.ReadOnly ? Native.ReadOnly : Native.ReadWrite, out var failed))
        {
            if (failed == 0 && !device.ReadOnly) failed = Native.Sync(block);
            if (failed != 0) return AttachResult<bool>.Error(AttachStatus.Failed, $"{device.Path} can't be flushed: error {failed}");
        }
        using var file = Native.Open(new DeviceDirectory(root, device.Identity).Export, Native.ReadOnly, out var error);
        if (error != 0) return AttachResult<bool>.Error(AttachStatus.Failed, $"the file behind {device.Path} can't be read: error {error}");
        try
        {
            return DataScan.HasNonZero(file, cancellation);
        }
        catch (IOException e)
        {
            return AttachResult<bool>.Error(AttachStatus.Failed, $"the file behind {device.Path} can't be read: {e.Message}");
        }
    }

    /// <summary>The daemon's arguments; the mount point's is what it is known by.</summary>
    internal IEnumerable<string> Arguments(DeviceDirectory directory, AttachTarget target)
    {
        var readOnly = target.ReadOnly ? "on" : "off";
        return
        [
            "--chardev", "socket,id=monitor,path=qmp.sock,server=on,wait=off", "--monitor", "chardev=monitor",
            "--blockdev", Client("n0", target.ExportName, HoldSeconds(target.HoldMs), target.ReadOnly).ToJsonString(),
            "--blockdev", $"driver=raw,node-name=disk,file=n0,cache.direct=on,discard=unmap,read-only={readOnly}",
            "--export", $"type=fuse,id=export,node-name=disk,allow-other=off,writable={(target.ReadOnly ? "off" : "on")}{Mark(directory)}",
        ];
    }

    /// <summary>What the daemon is known by. Commas are doubled in its options.</summary>
    private static string Mark(DeviceDirectory directory) => $",mountpoint={directory.Export.Replace(",", ",,", StringComparison.Ordinal)}";

    private static int HoldSeconds(int holdMs) => Math.Clamp((holdMs + 999) / 1000, 1, HoldSecondsMax);

    private JsonObject Client(string node, string export, int holdSeconds, bool readOnly) => new()
    {
        ["driver"] = "nbd",
        ["node-name"] = node,
        ["server"] = server.UnixPath is { } path
            ? new JsonObject { ["type"] = "unix", ["path"] = path }
            : new JsonObject { ["type"] = "inet", ["host"] = server.Host, ["port"] = server.Port.ToString(CultureInfo.InvariantCulture) },
        ["export"] = export,
        ["cache"] = new JsonObject { ["direct"] = true },
        ["discard"] = "unmap",
        ["reconnect-delay"] = holdSeconds,
        ["read-only"] = readOnly,
    };

    private FuseLoopState Look(DeviceDirectory directory)
    {
        var loops = LoopDevices.Read().Where(loop => loop.BackingFile == directory.Export).ToArray();
        return StateOf(directory, loops.FirstOrDefault(loop => !loop.IsGoing) ?? loops.FirstOrDefault(), MountTable.Read());
    }

    private static FuseLoopState StateOf(DeviceDirectory directory, LoopDevice? loop, IReadOnlyList<MountEntry> mounts) =>
        new(directory, loop, MountTable.At(mounts, directory.Export) is not null, FindDaemons(directory).Count > 0);

    private static IReadOnlyList<int> FindDaemons(DeviceDirectory directory) => DaemonProcess.Find(Daemon, Mark(directory));

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
            process = DaemonProcess.Start(HostProgram.Find(Daemon)!, Arguments(directory, target), directory.Path, directory.Log);
        }
        using (process)
        {
            for (var waited = Stopwatch.StartNew(); ; await Task.Delay(AttachLimits.PollMs, cancellation).ConfigureAwait(false))
            {
                if (MountTable.At(MountTable.Read(), directory.Export) is not null && FileSize(directory.Export) > 0) return Done.Ok;
                var ended = process?.HasExited ?? FindDaemons(directory).Count == 0;
                if (ended) return AttachResult<Done>.Error(AttachStatus.Refused, $"volume {target.FullName} can't be attached: {Tail(directory.Log)}");
                if (waited.ElapsedMilliseconds < AttachLimits.AppearMs) continue;
                await DaemonProcess.StopAsync(Daemon, Mark(directory), now: true, cancellation).ConfigureAwait(false);
                return AttachResult<Done>.Error(AttachStatus.TimedOut, $"volume {target.FullName} did not appear in {AttachLimits.AppearMs / 1000} s: {Tail(directory.Log)}");
            }
        }
    }

    private static string Tail(string log)
    {
        try
        {
            var said = string.Join("; ", File.ReadLines(log).TakeLast(LogLines)).Trim();
            return said.Length > 0 ? said : $"{Daemon} ended and said nothing";
        }
        catch (IOException e)
        {
            return e.Message;
        }
    }

    /// <summary>Detaches the loop device. InUse while it is mounted or open, unless forced: then its mounts leave the tree at once.</summary>
    private static async Task<AttachResult<Done>> ReleaseAsync(LoopDevice loop, DeviceDirectory directory, bool force, CancellationToken cancellation)
    {
        for (var layer = 0; layer < AttachLimits.MountLayersMax; layer++)
        {
            var mounts = MountTable.Read().Where(mount => mount.Major == loop.Major && mount.Minor == loop.Minor).ToArray();
            if (mounts.Length == 0) break;
            if (!force) return AttachResult<Done>.Error(AttachStatus.InUse, $"{loop.Path} is mounted at {mounts[^1].Path}");
            var unmounted = await HostProgram.RunAsync("umount", ["--lazy", mounts[^1].Path], cancellation).ConfigureAwait(false);
            if (!unmounted.IsOk) return AttachResult<Done>.Error(AttachStatus.Failed, unmounted.Reason);
        }
        if (!force)
        {
            // One that something has claimed (a mount in another namespace, a device over it) is not marked for going.
            using var claim = Native.Open(loop.Path, Native.ReadOnly | Native.Exclusive, out var error);
            if (error == Native.Busy) return AttachResult<Done>.Error(AttachStatus.InUse, $"{loop.Path} is in use by something that is not mounted here");
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

    private async Task ReconnectAsync(DeviceDirectory directory, AttachedDevice device, CancellationToken cancellation)
    {
        var pids = FindDaemons(directory);
        if (pids.Count == 0 || directory.ReadNote() is not { } note) throw new IOException("its daemon is gone");
        // By way of the daemon's own directory, since the path of a socket is short.
        using var monitor = await QemuMonitor.ConnectAsync($"/proc/{pids[0].ToString(CultureInfo.InvariantCulture)}/cwd/qmp.sock", cancellation).ConfigureAwait(false);
        var nodes = await monitor.RunAsync("query-named-block-nodes", new JsonObject { ["flat"] = true }, cancellation).ConfigureAwait(false);
        var old = nodes!.AsArray().Where(node => (string?)node!["drv"] == "nbd").Select(node => (string)node!["node-name"]!).ToArray();
        var added = Enumerable.Range(0, old.Length + 1).Select(number => string.Create(CultureInfo.InvariantCulture, $"n{number}")).First(name => !old.Contains(name));
        var delay = old.Length > 0 ? HoldSecondsOf(pids[0]) : HoldSecondsMax;
        var export = new AttachTarget(device.Identity, note.FullName, note.SizeBytes, 0).ExportName;
        await monitor.RunAsync("blockdev-add", Client(added, export, delay, device.ReadOnly), cancellation).ConfigureAwait(false);
        await monitor.RunAsync("blockdev-reopen", new JsonObject
        {
            ["options"] = new JsonArray(new JsonObject
            {
                ["driver"] = "raw",
                ["node-name"] = "disk",
                ["file"] = added,
                ["cache"] = new JsonObject { ["direct"] = true },
                ["discard"] = "unmap",
                ["read-only"] = device.ReadOnly,
            }),
        }, cancellation).ConfigureAwait(false);
        foreach (var name in old) await monitor.RunAsync("blockdev-del", new JsonObject { ["node-name"] = name }, cancellation).ConfigureAwait(false);
    }

    /// <summary>As the daemon was started with.</summary>
    private static int HoldSecondsOf(int pid)
    {
        var arguments = File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{pid}/cmdline")).Split('\0');
        foreach (var argument in arguments)
        {
            if (!argument.StartsWith('{')) continue;
            return (int?)JsonNode.Parse(argument)?["reconnect-delay"] ?? HoldSecondsMax;
        }
        return HoldSecondsMax;
    }
}
