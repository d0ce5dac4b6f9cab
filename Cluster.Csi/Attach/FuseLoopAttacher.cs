using Cluster.Messages.Model;
using Microsoft.Extensions.Logging;

namespace Cluster.Csi.Attach;

/// <summary>
/// Devices where the kernel has no NBD client: a process (<see cref="Fuse.DeviceServer"/>) is the client and shows the volume as a file by FUSE, a
/// loop device makes a disk of that. One process per device; it outlives this one and connects again when the node is back; meanwhile it holds I/O,
/// for the volume's hold time at most.
/// <code>
///   directory -- daemon -- FUSE mount over DIRECTORY/export -- loop device        (made in this order, taken away in the reverse one)
/// </code>
/// Which of them there are is read from the file system, /proc, the mount table and /sys/block at every call; a call that was cut off anywhere is
/// finished, or undone, by the next one. A FLUSH of the loop device is an fsync of the FUSE file is a FLUSH on the daemon's one connection, which
/// covers all that was answered before.
/// </summary>
public sealed class FuseLoopAttacher : IAttacher
{
    private readonly KeyedLocks<VolumeId> _locks = new();
    private readonly FuseLoopHost _host;
    private readonly ILogger _logger;

    /// <param name="directory">Of this node's devices; made if it is missing. No other node may have it.</param>
    /// <param name="daemon">The program and its first arguments, to which those of the device are added.</param>
    public FuseLoopAttacher(string directory, NbdAddress server, IReadOnlyList<string> daemon, ILoggerFactory loggers)
    {
        Directory.CreateDirectory(directory);
        _logger = loggers.CreateLogger("Myrmidon.Attach");
        _host = new FuseLoopHost(Native.RealPath(directory) ?? Path.GetFullPath(directory), server, daemon, _logger);
    }

    public AttacherKind Kind => AttacherKind.FuseLoop;

    public AttachResult<Done> Supported()
    {
        if (!Environment.IsPrivilegedProcess) return AttachResult<Done>.Error(AttachStatus.NotSupported, "devices need root: run the node as root");
        if (!File.Exists("/dev/fuse"))
            return AttachResult<Done>.Error(AttachStatus.NotSupported, "this host has no /dev/fuse: load it (modprobe fuse), or give the container that device");
        if (!File.Exists("/dev/loop-control"))
            return AttachResult<Done>.Error(AttachStatus.NotSupported, "this host has no loop devices: load them (modprobe loop), or give the container /dev");
        return HostProgram.Missing("losetup", "umount", "setsid") is { } missing
            ? AttachResult<Done>.Error(AttachStatus.NotSupported, missing) : Done.Ok;
    }

    public async Task<AttachResult<AttachedDevice>> AttachAsync(AttachTarget target, CancellationToken cancellation)
    {
        var supported = Supported();
        if (!supported.IsOk) return supported.To<AttachedDevice>();
        using var held = await _locks.EnterAsync(target.Identity.Volume, cancellation).ConfigureAwait(false);
        foreach (var other in _host.Of(target.Identity.Volume).Where(state => state.Identity != target.Identity))
        {
            if (other.Identity.Generation > target.Identity.Generation)
            {
                return AttachResult<AttachedDevice>.Error(AttachStatus.Refused,
                    $"the attachment of volume {target.FullName} has moved on: {other.Identity} is newer than {target.Identity}");
            }
            var removed = await _host.RemoveAsync(other, force: false, cancellation).ConfigureAwait(false);
            if (!removed.IsOk) return removed.To<AttachedDevice>();
        }
        try
        {
            return await _host.MakeAsync(target, cancellation).ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return AttachResult<AttachedDevice>.Error(AttachStatus.Failed, $"volume {target.FullName} can't be attached: {e.Message}");
        }
    }

    public async Task<AttachResult<Done>> DetachAsync(VolumeId volume, bool force, CancellationToken cancellation)
    {
        using var held = await _locks.EnterAsync(volume, cancellation).ConfigureAwait(false);
        foreach (var state in _host.Of(volume))
        {
            var name = state.Directory.NameOfVolume;
            var removed = await _host.RemoveAsync(state, force, cancellation).ConfigureAwait(false);
            if (!removed.IsOk) return removed;
            AttachLog.Detached(_logger, name, state.Identity.ToString());
        }
        return Done.Ok;
    }

    public async Task<AttachResult<Done>> DetachPartsAsync(string fullName, CancellationToken cancellation)
    {
        foreach (var part in _host.All().Where(state => IsPart(state, fullName)))
        {
            using var held = await _locks.EnterAsync(part.Identity.Volume, cancellation).ConfigureAwait(false);
            // Looked at again: an attach that was under way may have made a device of it.
            foreach (var state in _host.Of(part.Identity.Volume).Where(state => IsPart(state, fullName)))
            {
                var removed = await _host.RemoveAsync(state, force: false, cancellation).ConfigureAwait(false);
                if (!removed.IsOk) return removed;
                AttachLog.Detached(_logger, fullName, state.Identity.ToString());
            }
        }
        return Done.Ok;
    }

    private static bool IsPart(FuseLoopState state, string fullName) => state.Loop is null && state.Directory.ReadNote()?.FullName == fullName;

    public Task<AttachResult<IReadOnlyList<AttachedDevice>>> ListAsync(CancellationToken cancellation) =>
        Task.FromResult<AttachResult<IReadOnlyList<AttachedDevice>>>(
            new(AttachStatus.Ok, [.. _host.All().Select(state => state.AsDevice()).OfType<AttachedDevice>()], ""));

    public Task<AttachResult<AttachedDevice>> FindAsync(VolumeId volume, CancellationToken cancellation)
    {
        var newest = _host.Of(volume).Select(state => state.AsDevice()).OfType<AttachedDevice>().MaxBy(device => device.Identity.Generation);
        return Task.FromResult(newest ?? AttachResult<AttachedDevice>.Error(AttachStatus.NotFound, $"volume {volume} is not attached on this host"));
    }

    public async Task<AttachResult<AttachedDevice>> ResizeAsync(VolumeId volume, ulong sizeBytes, CancellationToken cancellation)
    {
        using var held = await _locks.EnterAsync(volume, cancellation).ConfigureAwait(false);
        var found = await FindAsync(volume, cancellation).ConfigureAwait(false);
        if (!found.IsOk || found.Value!.SizeBytes >= sizeBytes) return found;
        if (!found.Value.IsServed)
            return AttachResult<AttachedDevice>.Error(AttachStatus.Failed, $"nothing serves {found.Value.Path} any more: detach it and attach it again");
        var resized = await _host.ResizeAsync(found.Value, sizeBytes, cancellation).ConfigureAwait(false);
        if (resized.IsOk) AttachLog.Resized(_logger, resized.Value!.Path, resized.Value.FullName, resized.Value.Identity.ToString(), resized.Value.SizeBytes);
        return resized;
    }

    public Task<AttachResult<bool>> HoldsDataAsync(AttachedDevice device, CancellationToken cancellation) =>
        Task.Run(() => DataScan.OfDevice(_host.Server, device, cancellation), cancellation);

    public async Task<AttachResult<Done>> RecoverAsync(CancellationToken cancellation)
    {
        foreach (var state in _host.All())
        {
            // What is served goes on by itself: its daemon connects again.
            if (state.IsServed && state.Loop is not null) continue;
            using var held = await _locks.EnterAsync(state.Identity.Volume, cancellation).ConfigureAwait(false);
            var removed = await _host.RemoveAsync(state, force: false, cancellation).ConfigureAwait(false);
            if (!removed.IsOk) AttachLog.NotCleaned(_logger, state.Directory.NameOfVolume, state.Identity.ToString(), removed.Reason);
        }
        return Done.Ok;
    }

    /// <summary>The daemons keep their connections themselves.</summary>
    public Task WatchAsync(CancellationToken cancellation) => Task.CompletedTask;
}
