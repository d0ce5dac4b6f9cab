using System.Collections.Concurrent;
using Cluster.Csi.Attach;
using Cluster.Messages.Model;
using Microsoft.Extensions.Logging;

namespace Cluster.Csi.Kernel;

/// <summary>
/// Devices of the kernel's own NBD client. This process shakes hands with the node's NBD server over a socket, which the kernel then takes; no process of ours is in
/// the way of I/O. The kernel keeps the device and whose it is (<see cref="BackendName"/>) when this process ends, and holds I/O; the next process finds it in /sys
/// and gives it a new socket. What there is is read from there at every call.
/// <para>
/// One connection per device. With several the kernel gives a connection up, and sends what it carried again on another, whenever an answer takes longer than its timer: each hold
/// of a failover would do that, and what the first connection still holds could then be applied behind later writes. With one, and no time limit, it sends again only when it
/// was given a new socket, and that is given only when the server has dropped the old one. All connections end in one loop of the node, so that more would hardly be faster.
/// </para>
/// </summary>
public sealed class KernelNbdAttacher : IAttacher
{
    private readonly KeyedLocks<VolumeId> _locks = new();
    private readonly KernelNbdHost _host;
    private readonly ILogger _logger;

    /// <summary>An attach has ended since the last look.</summary>
    private readonly SemaphoreSlim _made = new(0, 1);

    /// <param name="directory">Of this node's devices of this kind; made if it is missing. No other node may have it.</param>
    /// <param name="worker">The program and its first arguments, for what opens devices (<see cref="DeviceWork"/>).</param>
    /// <param name="onReconnected">A device was given a new connection. Any thread.</param>
    public KernelNbdAttacher(string directory, NbdAddress server, IDeviceLinks links, IReadOnlyList<string> worker, ILoggerFactory loggers, Action? onReconnected = null)
    {
        Directory.CreateDirectory(directory);
        _logger = loggers.CreateLogger("Myrmidon.Attach");
        var root = Native.RealPath(directory) ?? Path.GetFullPath(directory);
        _host = new KernelNbdHost(root, BackendName.Of(root), server, links, new DeviceJobs(worker), _logger, onReconnected);
    }

    public AttacherKind Kind => AttacherKind.KernelNbd;

    public AttachResult<Done> Supported() => Environment.IsPrivilegedProcess ? Look()
        : AttachResult<Done>.Error(AttachStatus.NotSupported, "devices need root: run the node as root");

    /// <summary>Whether this host has what it needs, whoever asks.</summary>
    public static AttachResult<Done> Look()
    {
        var family = NbdNetlink.Family();
        if (!family.IsOk) return AttachResult<Done>.Error(AttachStatus.NotSupported, family.Reason);
        // A container may see the kernel's family, but not its devices.
        if (!File.Exists("/dev/nbd0")) return AttachResult<Done>.Error(AttachStatus.NotSupported, "there is no /dev/nbd0: give the container the host's /dev");
        return HostProgram.Missing("umount") is { } missing ? AttachResult<Done>.Error(AttachStatus.NotSupported, missing) : Done.Ok;
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
            // Blocks for the handshake, so that it has a thread of its own.
            return await Task.Factory.StartNew(() => _host.Make(target), cancellation, TaskCreationOptions.LongRunning, TaskScheduler.Default).ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return AttachResult<AttachedDevice>.Error(AttachStatus.Failed, $"volume {target.FullName} can't be attached: {e.Message}");
        }
        finally
        {
            // Also of one that was cut off: it may have left a part.
            WatchNow();
        }
    }

    public async Task<AttachResult<Done>> DetachAsync(VolumeId volume, bool force, CancellationToken cancellation)
    {
        using var held = await _locks.EnterAsync(volume, cancellation).ConfigureAwait(false);
        foreach (var state in _host.Of(volume))
        {
            var removed = await RemoveAsync(state, force, cancellation).ConfigureAwait(false);
            if (!removed.IsOk) return removed;
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
                var removed = await RemoveAsync(state, force: false, cancellation).ConfigureAwait(false);
                if (!removed.IsOk) return removed;
            }
        }
        return Done.Ok;
    }

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
        var resized = await Task.Run(() => _host.ResizeAsync(found.Value, sizeBytes, cancellation), cancellation).ConfigureAwait(false);
        if (resized.IsOk) AttachLog.Resized(_logger, resized.Value!.Path, resized.Value.FullName, resized.Value.Identity.ToString(), resized.Value.SizeBytes);
        return resized;
    }

    public Task<AttachResult<bool>> HoldsDataAsync(AttachedDevice device, CancellationToken cancellation) =>
        Task.Run(() => DataScan.OfDevice(_host.Server, device, cancellation), cancellation);

    public async Task<AttachResult<Done>> RecoverAsync(CancellationToken cancellation)
    {
        foreach (var found in _host.All().Where(IsLeftOver))
        {
            using var held = await _locks.EnterAsync(found.Identity.Volume, cancellation).ConfigureAwait(false);
            // Looked at again: it may have become a device meanwhile.
            var state = _host.Look(found.Identity);
            // One that was cut off and is still mounted goes with its last user: what is under its mount is not for whoever uses it.
            if (!IsLeftOver(state) || (state.Device is { } device && MountTable.Read().Any(mount => mount.Major == device.Major && mount.Minor == device.Minor))) continue;
            var removed = await RemoveAsync(state, force: false, cancellation).ConfigureAwait(false);
            if (!removed.IsOk) AttachLog.NotCleaned(_logger, state.Directory.NameOfVolume, state.Identity.ToString(), removed.Reason);
        }
        return Done.Ok;
    }

    public async Task WatchAsync(CancellationToken cancellation)
    {
        var busy = new ConcurrentDictionary<DeviceIdentity, Task>();
        try
        {
            while (true)
            {
                var known = Known();
                foreach (var state in known ?? [])
                {
                    if (busy.TryGetValue(state.Identity, out var before) && !before.IsCompleted) continue;
                    if (!await NeedsCareAsync(state).WaitAsync(cancellation).ConfigureAwait(false)) busy.TryRemove(state.Identity, out _);
                    else busy[state.Identity] = Task.Factory.StartNew(() => CareAsync(state.Identity, cancellation), cancellation, TaskCreationOptions.LongRunning, TaskScheduler.Default).Unwrap();
                }
                // Most nodes have no device, ever: to list all devices of the host four times a second was a twentieth of what such a node did.
                if (known is not { Count: 0 }) await Task.Delay(AttachLimits.WatchMs, cancellation).ConfigureAwait(false);
                else await _made.WaitAsync(AttachLimits.QuietWatchMs, cancellation).ConfigureAwait(false);
            }
        }
        catch (OperationCanceledException)
        {
            // The node stops; the next one goes on.
        }
        await Task.WhenAll(busy.Values.Select(task => task.ContinueWith(_ => { }, TaskScheduler.Default))).ConfigureAwait(false);
    }

    private void WatchNow()
    {
        try
        {
            if (_made.CurrentCount == 0) _made.Release();
        }
        catch (SemaphoreFullException)
        {
            // Another attach ended in the same moment.
        }
    }

    /// <summary>What there is, or null: it can't be read this time.</summary>
    private IReadOnlyList<KernelNbdState>? Known()
    {
        try
        {
            return _host.All();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            AttachLog.NotWatched(_logger, e.Message);
            return null;
        }
    }

    private async Task<bool> NeedsCareAsync(KernelNbdState state)
    {
        // One that goes has lost its last user: what is left of it is its directory.
        if (state.Device is null || state.IsGoing) return state is { Device: null, IsGoing: true };
        return state.Export is { } export && !await _host.IsServedAsync(export).ConfigureAwait(false);
    }

    private async Task CareAsync(DeviceIdentity identity, CancellationToken cancellation)
    {
        try
        {
            await LookAfterAsync(identity, cancellation).ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            AttachLog.NotWatched(_logger, e.Message);
        }
    }

    private async Task LookAfterAsync(DeviceIdentity identity, CancellationToken cancellation)
    {
        using var held = await _locks.EnterAsync(identity.Volume, cancellation).ConfigureAwait(false);
        // Looked at again: whoever had the lock may have taken it away, or connected it.
        var state = _host.Look(identity);
        if (!await NeedsCareAsync(state).WaitAsync(cancellation).ConfigureAwait(false)) return;
        if (state.Device is null)
        {
            await RemoveAsync(state, force: false, cancellation).ConfigureAwait(false);
            return;
        }
        var connected = await _host.ReconnectAsync(state, cancellation).ConfigureAwait(false);
        if (connected.Status is not (AttachStatus.Ok or AttachStatus.NotFound)) AttachLog.NotReconnected(_logger, state.Device.Path, state.Directory.NameOfVolume, identity.ToString(), connected.Reason);
    }

    private static bool IsLeftOver(KernelNbdState state) => state.Device is null || state.IsGoing || state.Export is null;

    private static bool IsPart(KernelNbdState state, string fullName) => state.Device is null && state.Directory.ReadNote()?.FullName == fullName;

    private async Task<AttachResult<Done>> RemoveAsync(KernelNbdState state, bool force, CancellationToken cancellation)
    {
        var name = state.Directory.NameOfVolume;
        var removed = await Task.Run(() => _host.RemoveAsync(state, force, cancellation), cancellation).ConfigureAwait(false);
        if (removed.IsOk) AttachLog.Detached(_logger, name, state.Identity.ToString());
        return removed;
    }
}
