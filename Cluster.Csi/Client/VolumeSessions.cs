using Cluster.Csi.Attach;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Messages.Wire;
using Microsoft.Extensions.Logging;

namespace Cluster.Csi.Client;

/// <summary>A volume's session, with one user more (to be closed), or the reason in one sentence.</summary>
public sealed record VolumeOpen(IoStatus Status, VolumeSession? Session, string Reason);

/// <summary>
/// The sessions of this process, one per volume, shared by all that use it (R11) and kept as long as somebody does. Any thread.
/// </summary>
/// <param name="onFound">An owner that was lost is found again: how long I/O was held, and of that the milliseconds since the owner was reached. On the loop.</param>
/// <param name="keptBytesMax">What the sessions keep together (R13).</param>
public sealed class VolumeSessions(IOwnerGateway gateway, ILoggerFactory loggers, Action<long, long>? onFound = null, long keptBytesMax = Limits.KeptBytesOfProcessMax)
{
    private readonly ILogger _logger = loggers.CreateLogger("Myrmidon.Client");
    private readonly Lock _lock = new();
    private readonly Dictionary<VolumeId, VolumeSession> _sessions = [];

    /// <summary>What the sessions keep together (R13).</summary>
    public KeptBudget Kept { get; } = new(keptBytesMax);

    /// <summary>Of the volumes with the label cache.</summary>
    public ReadCache Cache { get; init; } = new(0);

    /// <summary>The cipher of a volume's next session; null: it is not encrypted. Whoever makes it disposes of it. Nobody has keys yet.</summary>
    internal Func<VolumeInfo, BlockCipher?>? CipherOf { get; init; }

    /// <summary>Sessions in use now.</summary>
    public IReadOnlyList<VolumeSession> Snapshot()
    {
        lock (_lock) return [.. _sessions.Values];
    }

    /// <summary>Full names of the volumes that are open. Any thread.</summary>
    public IReadOnlyList<string> Open()
    {
        lock (_lock) return [.. _sessions.Values.Where(session => !session.IsOver).Select(session => session.Info.FullName)];
    }

    /// <summary>
    /// Finds the volume and opens it, or joins the session that this process has. Answers when I/O flows, or with Offline after
    /// <see cref="ClientLimits.OpenMs"/>.
    /// </summary>
    /// <param name="device">A device of just this generation of the attachment: StaleSession if that has moved on, now or later (R11).</param>
    public Task<VolumeOpen> OpenAsync(string fullName, DeviceIdentity? device = null, CancellationToken cancellation = default)
    {
        var answer = new TaskCompletionSource<VolumeOpen>(TaskCreationOptions.RunContinuationsAsynchronously);
        _ = OpenAsync(fullName, device, answer, cancellation);
        return answer.Task;
    }

    private async Task OpenAsync(
        string fullName, DeviceIdentity? device, TaskCompletionSource<VolumeOpen> answer, CancellationToken cancellation)
    {
        try
        {
            var lookup = await LookUpAsync(fullName, cancellation).ConfigureAwait(false);
            if (lookup.Volume is not { } info)
            {
                answer.SetResult(new VolumeOpen(lookup.Status == IoStatus.Ok ? IoStatus.Missing : lookup.Status, null, lookup.Reason));
                return;
            }
            var attachment = info.Attachment;
            if (attachment.Mode == AttachmentMode.Exclusive && attachment.Node != gateway.Node)
            {
                answer.SetResult(new VolumeOpen(IoStatus.StaleSession, null, $"the volume {info.FullName} is attached to node " +
                    $"{attachment.NodeName}; use it there, or detach it: myrmidon volume detach {info.FullName}"));
                return;
            }
            if (device is { } bound && bound != new DeviceIdentity(info.Id, attachment.Generation))
            {
                answer.SetResult(new VolumeOpen(IoStatus.StaleSession, null, MovedOn(info, bound)));
                return;
            }
            gateway.LoopOf(info.Id).Post(() => Join(info, device, answer));
        }
        catch (Exception failure)
        {
            answer.SetException(failure);
        }
    }

    /// <summary>A client that comes in the middle of a failover waits for its end, like one that was there before.</summary>
    private async Task<VolumeLookup> LookUpAsync(string fullName, CancellationToken cancellation)
    {
        var until = Environment.TickCount64 + ClientLimits.OpenMs;
        while (true)
        {
            var lookup = await gateway.LookupAsync(fullName, cancellation).ConfigureAwait(false);
            if (lookup.Status != IoStatus.Offline || Environment.TickCount64 >= until) return lookup;
            await Task.Delay(ClientLimits.LookupPauseMs, cancellation).ConfigureAwait(false);
        }
    }

    private static string MovedOn(VolumeInfo info, DeviceIdentity device) =>
        $"the attachment of volume {info.FullName} has moved on since device {device} was made; detach that, and attach the volume again";

    private void Join(VolumeInfo info, DeviceIdentity? device, TaskCompletionSource<VolumeOpen> answer)
    {
        var session = SessionOf(info, device is not null, out var isNew);
        if (device is { } bound && session.Session.Generation != bound.Generation)
        {
            answer.SetResult(new VolumeOpen(IoStatus.StaleSession, null, MovedOn(info, bound)));
            return;
        }
        if (device is not null) session.Bind();
        session.AddUser();
        var loop = session.Loop;
        var done = false;
        ILoopTimer? timer = null;
        timer = loop.Schedule(ClientLimits.OpenMs, () => Answer(IoStatus.Offline, NoOwner(info)));
        session.WhenReady(Answer);
        if (isNew) session.Start();

        void Answer(IoStatus status, string reason)
        {
            if (done) return;
            done = true;
            timer?.Cancel();
            answer.SetResult(new VolumeOpen(status, status == IoStatus.Ok ? session : null, reason));
            if (status != IoStatus.Ok) session.Close();
        }
    }

    private static string NoOwner(VolumeInfo info) =>
        $"no node has served the volume {info.FullName} for {ClientLimits.OpenMs / 1000} s; see: myrmidon volume explain {info.FullName}";

    /// <summary>
    /// The one that there is, but for one of an older generation where it or the newcomer is a device's: that would go over to the new
    /// generation, and two sessions of one process would fence each other in turn.
    /// </summary>
    private VolumeSession SessionOf(VolumeInfo info, bool isDevice, out bool isNew)
    {
        VolumeSession? old;
        lock (_lock) old = _sessions.GetValueOrDefault(info.Id);
        if (old is { IsOver: false } && (old.IsBound || isDevice) && old.Session.Generation < info.Attachment.Generation) old.Supersede();
        lock (_lock)
        {
            isNew = false;
            if (_sessions.TryGetValue(info.Id, out var session) && !session.IsOver) return session;
            isNew = true;
            session = new VolumeSession(info, gateway, _logger, OnClosed, Kept, onFound, CipherOf?.Invoke(info), Cache);
            _sessions[info.Id] = session;
            return session;
        }
    }

    private void OnClosed(VolumeSession session)
    {
        lock (_lock)
        {
            if (_sessions.TryGetValue(session.Info.Id, out var known) && ReferenceEquals(known, session)) _sessions.Remove(session.Info.Id);
        }
    }
}
