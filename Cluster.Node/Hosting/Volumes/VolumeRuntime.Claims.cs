using System.Collections.Concurrent;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Ingress;
using Cluster.Node.Owner;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Hosting.Volumes;

/// <summary>What early claims need beside the loop. Any thread.</summary>
/// <param name="Look">What the journal says of a volume; null when it does not answer in time.</param>
/// <param name="Claim">Has the volume's actor started here, unless a newer epoch was claimed.</param>
/// <param name="Close">From now on no volume is started here.</param>
public sealed record ClaimPorts(Func<VolumeId, Task<ClaimFacts?>> Look, Action<VolumeId, ulong> Claim, Action Close);

// Owners that were lost, and this node's part in replacing them before sharding does (ClaimMachine); and the other end of it: a node that
// stops in order leaves its volumes to the others.
public sealed partial class VolumeRuntime
{
    /// <summary>A node that stops waits at most this long for others to serve what it served.</summary>
    private const int LeaveMs = 3000;

    private const int LeavePollMs = 10;

    private readonly ClaimMachine _claims;
    /// <summary>One entry a node at most.</summary>
    private readonly ConcurrentDictionary<NodeId, bool> _silent = new();
    private ClaimPorts? _ports;
    private bool _leaving;

    /// <summary>From now on this node claims. Any thread.</summary>
    public void OpenClaims(ClaimPorts ports) => _loop.Post(() => _ports = ports);

    /// <summary>The cluster has taken the node out. Any thread.</summary>
    public void OnTakenOut(NodeId node) => _loop.Post(() => _claims.OnTakenOut(node, _loop.FreshNowMs()));

    internal void OnPeerDead(NodeId peer)
    {
        var now = _loop.FreshNowMs();
        _claims.OnDead(peer, now);
        _claims.OnTick(now);
    }

    /// <summary>
    /// A planned stop: owners finish what is pending and end, others claim; completes when they serve, or after <see cref="LeaveMs"/>. Any thread.
    /// </summary>
    public async Task LeaveAsync()
    {
        var left = new TaskCompletionSource<List<(VolumeId Volume, ulong Epoch)>>(TaskCreationOptions.RunContinuationsAsynchronously);
        _loop.Post(() =>
        {
            _leaving = true;
            _ports?.Close();
            left.SetResult([.. _owners.Values.Where(owner => owner.Machine is { Phase: VolumePhase.Serving, State.InSync.Length: > 1 })
                .Select(owner => (owner.Volume, owner.Machine.EpochNumber))]);
            foreach (var owner in _owners.Values.ToArray()) owner.Machine.Drain();
        });
        var volumes = await left.Task;
        if (volumes.Count > 0) LogLeaves(volumes.Count, Identity.Name);
        for (var waitedMs = 0; waitedMs < LeaveMs && volumes.Exists(IsNotTaken); waitedMs += LeavePollMs) await Task.Delay(LeavePollMs);
    }

    private bool IsNotTaken((VolumeId Volume, ulong Epoch) left) => Owners.Of(left.Volume) is not { } owner || owner.Epoch <= left.Epoch;

    /// <summary>Another node that says over a link that is up that it serves the volume. Any thread.</summary>
    public NodeId? ServedElsewhere(VolumeId volume) => Owners.Of(volume) is { } owner && owner.Node != Identity.Id ? owner.Node : null;

    /// <summary>The last link to that node ended since nothing was heard over it, and none has come since. Any thread.</summary>
    public bool IsSilent(NodeId node) => _silent.ContainsKey(node);

    internal LostOwner? LossOf(VolumeId volume) => _claims.LossOf(volume);

    private void OwnersLost(IFrameLink link, bool silent)
    {
        if (silent) _silent[link.Peer] = true;
        else _silent.TryRemove(link.Peer, out _);
        var heardMs = link is MeshLink mesh ? mesh.HeardMs : _loop.FreshNowMs();
        _claims.OnUnlinked(link.Peer, Owners.ServedAt(link.Peer), silent, heardMs, _loop.FreshNowMs());
        Owners.Lost(link.Peer);
    }

    private void OnOwnerEnded(VolumeId volume, NodeId node, ulong epoch, bool released)
    {
        if (!Owners.Ended(volume, node, epoch) || !released) return;
        var now = _loop.FreshNowMs();
        _claims.OnReleased(volume, node, epoch, now);
        _claims.OnTick(now);
    }

    bool IClaimEffects.IsLinked(NodeId node) => LinkTo(node) is not null;

    bool IClaimEffects.Holds(VolumeId volume) => _replicas.ContainsKey(volume);

    void IClaimEffects.Look(VolumeId volume) => _ = LookAsync(volume, _leaving ? null : _ports);

    void IClaimEffects.Claim(VolumeId volume, ulong epoch, OwnerLoss loss)
    {
        LogClaims(volume, Identity.Name, loss, epoch);
        _ports?.Claim(volume, epoch);
    }

    private async Task LookAsync(VolumeId volume, ClaimPorts? ports)
    {
        ClaimFacts? facts = null;
        try
        {
            if (ports is not null) facts = await ports.Look(volume);
        }
        catch (Exception e)
        {
            // What it throws is broken and told; the others may still claim, and this node looks again.
            LogLookFailed(e, volume, Identity.Name);
        }
        _loop.Post(() =>
        {
            _claims.OnLooked(volume, facts, _loop.FreshNowMs());
            _claims.OnTick(_loop.FreshNowMs());
        });
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "volume {Volume}: node {Node} claims it, since its owner of epoch {Epoch} is {Loss}")]
    private partial void LogClaims(VolumeId volume, string node, OwnerLoss loss, ulong epoch);

    [LoggerMessage(Level = LogLevel.Error, Message = "volume {Volume}: node {Node} could not look in the journal whether to claim it")]
    private partial void LogLookFailed(Exception e, VolumeId volume, string node);

    [LoggerMessage(Level = LogLevel.Information, Message = "{Volumes} volumes are left to other nodes by node {Node}, which stops")]
    private partial void LogLeaves(int volumes, string node);
}
