using System.Collections.Immutable;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Owner;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>A node's part in replacing an owner that it has lost sight of, as its runtime plays it: the real machine decides.</summary>
internal sealed class SimClaims : IClaimEffects
{
    private const int TickUs = 100_000;
    private const int LeavePollUs = 10_000;
    private const int LeaveUs = 3_000_000;

    private readonly SimNode _node;
    private readonly OwnerTable _owners = new();
    private readonly ClaimMachine _machine;

    /// <summary>With the process: made anew at each start of the node.</summary>
    public SimClaims(SimNode node)
    {
        _node = node;
        _machine = new ClaimMachine(node.Id, this);
        PostTick();
    }

    /// <summary>The node stops in order: it claims nothing any more.</summary>
    public bool IsLeaving { get; private set; }

    /// <summary>A planned stop: the owner here finishes and ends, others claim; then the process ends.</summary>
    public void Leave(Action ended)
    {
        if (IsLeaving) return;
        IsLeaving = true;
        var epoch = _node.Owner?.Machine is { Phase: VolumePhase.Serving } machine ? machine.EpochNumber : 0;
        _node.Owner?.Machine.Drain();
        var untilUs = _node.World.NowUs + (epoch > 0 ? LeaveUs : 0);
        void Look()
        {
            if (_node.World.NowUs < untilUs && (_owners.Of(SimWorld.Volume) is not { } owner || owner.Epoch <= epoch)) _node.Post(LeavePollUs, Look);
            else ended();
        }
        _node.Post(0, Look);
    }

    public void OnServing(ulong epoch, bool serves)
    {
        if (!serves) _owners.Ended(SimWorld.Volume, _node.Id, epoch);
        else OnServes(_node.Id, epoch);
        foreach (var link in _node.Links)
        {
            if (link is { IsUp: true }) Tell(link, epoch, serves);
        }
    }

    public void OnFrame(IFrameLink from, in FrameHeader header)
    {
        if (header.Kind == FrameKind.OwnerServes) OnServes(from.Peer, header.Epoch);
        else if (_owners.Ended(SimWorld.Volume, from.Peer, header.Epoch) && header.Argument == (ulong)OwnerEnding.Released)
        {
            _machine.OnReleased(SimWorld.Volume, from.Peer, header.Epoch, _node.NowMs);
            _machine.OnTick(_node.NowMs);
        }
    }

    public void OnLinkUp(SimLink link)
    {
        if (_node.Owner is { Machine: { Phase: VolumePhase.Serving } machine }) Tell(link, machine.EpochNumber, serves: true);
        _machine.OnLinked(link.Peer, _node.NowMs);
    }

    public void OnLinkDown(SimLink link)
    {
        var silent = _node.NowMs - link.LastHeardMs > Limits.MeshSilenceMs;
        _machine.OnUnlinked(link.Peer, _owners.ServedAt(link.Peer), silent, link.LastHeardMs, _node.NowMs);
        _owners.Lost(link.Peer);
        // A port that refuses: the process is dead and its host is not.
        if (!link.PeerNode.IsAlive) _machine.OnDead(link.Peer, _node.NowMs);
        _machine.OnTick(_node.NowMs);
    }

    public bool IsLinked(NodeId node) => _node.LinkTo(node) is not null;

    public bool Holds(VolumeId volume) => _node.HasReplica;

    public void Look(VolumeId volume) => _node.World.Journal.Read(_node, (state, _) =>
    {
        var inSync = _node.World.Replicas.Where(node => state.Member(node.Replica) is not null).Select(node => node.Id).ToImmutableArray();
        var owner = _node.World.Nodes.FirstOrDefault(node => node.Name == state.EpochNodeName)?.Id ?? default;
        var facts = new ClaimFacts(state.Epoch.Value, owner, inSync, Math.Min(state.InSyncMin, inSync.Length));
        _machine.OnLooked(volume, IsLeaving ? null : facts, _node.NowMs);
    });

    public void Claim(VolumeId volume, ulong epoch, OwnerLoss loss)
    {
        _node.World.Say(_node.Name, $"claims the volume, its owner of epoch {epoch} is {loss}");
        if (!IsLeaving) _node.World.Director.ClaimEarly(_node, epoch, loss);
    }

    private void Tell(SimLink link, ulong epoch, bool serves) => link.Send(
        FrameHeader.Of(serves ? FrameKind.OwnerServes : FrameKind.OwnerEnded, SimWorld.Volume, epoch,
            argument: (ulong)(IsLeaving && !serves ? OwnerEnding.Released : OwnerEnding.Ended)), default(ReadOnlySpan<byte>));

    private void OnServes(NodeId node, ulong epoch)
    {
        if (_owners.Serves(SimWorld.Volume, node, epoch)) _machine.OnServes(SimWorld.Volume, epoch);
    }

    private void PostTick() => _node.Post(TickUs, () =>
    {
        _machine.OnTick(_node.NowMs);
        PostTick();
    });
}
