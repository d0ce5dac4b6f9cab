using Akka.Actor;
using Akka.Event;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Node.Placement;

// Owners follow who uses their volumes: LocalityPlan decides, the move is one like an operator's.
public sealed partial class PlacementActor
{
    private readonly LocalityPlan _locality;

    private sealed record FollowAnswered(FollowMove Move, FollowAnswer Answer) : INoSerializationVerificationNeeded;

    private void CommandLocality()
    {
        Command<PlacementProtocol.ReportAway>(report => _locality.OnReport(report.Node, report.Volumes, NowMs));
        Command<FollowAnswered>(OnFollowAnswered);
        Command<VolumeProtocol.Located>(OnLocated);
        // Nobody serves it just now: it is asked again.
        Command<VolumeProtocol.Refused>(_ => { });
    }

    private long NowMs => (long)_setup.Time.GetElapsedTime(0, _setup.Time.GetTimestamp()).TotalMilliseconds;

    private void FollowNext()
    {
        if (_setup.Moves is not { } moves) return;
        var now = NowMs;
        foreach (var late in _locality.TakeLate(now)) OnLate(moves, late);
        foreach (var move in _locality.Next(now, MayFollow)) Ask(moves, move);
        foreach (var volume in _locality.UnderWay) _setup.Region.Tell(new VolumeProtocol.Locate(volume));
    }

    private bool MayFollow(AwayVolume away) =>
        _state.Volumes.GetValueOrDefault(away.Volume) is { Phase: CataloguePhase.Ready, Removal: null } volume
        && volume.Replicas.Any(replica => replica.Node == away.FrontEnd)
        && _state.Nodes.GetValueOrDefault(away.FrontEnd) is { } node && _board.IsFitToOwn(node);

    private void Ask(IFollowMoves moves, FollowMove move)
    {
        var (owner, node) = (NodeName(move.Owner), NodeName(move.Away.FrontEnd));
        _log.Info("Volume {0} is used on {1} alone: its owner is to follow from {2}", FullName(move), node, owner);
        moves.AskAsync(move.Away.Volume, move.Away.Generation, owner, node).PipeTo(Self, Self, answer => new FollowAnswered(move, answer));
    }

    private void OnFollowAnswered(FollowAnswered answered)
    {
        if (answered.Answer == FollowAnswer.Asked) return;
        var (volume, isPinned) = (answered.Move.Away.Volume, answered.Answer == FollowAnswer.Pinned);
        _locality.OnNotAsked(volume, isPinned, NowMs);
        var why = answered.Answer switch
        {
            FollowAnswer.Pinned => "an operator moved it there",
            FollowAnswer.Taken => "another move of it is under way",
            _ => "the journal does not answer",
        };
        _log.Info("Volume {0}: its owner stays on {1} for now: {2}", FullName(answered.Move), NodeName(answered.Move.Owner), why);
    }

    private void OnLocated(VolumeProtocol.Located located)
    {
        if (!_locality.OnServed(located.Volume, located.Node)) return;
        _log.Info("Volume {0}: its owner has followed to {1}, where it is used", NameOf(located.Volume), located.NodeName);
        _setup.OnFollowed(true);
    }

    private void OnLate(IFollowMoves moves, FollowMove late)
    {
        var node = NodeName(late.Away.FrontEnd);
        _log.Warning("Volume {0}: its owner did not follow to {1} within {2} s; that is tried again later", FullName(late), node, LocalityPlan.MoveMs / 1000);
        _ = moves.WithdrawAsync(late.Away.Volume, node);
        _setup.OnFollowed(false);
    }

    private string FullName(FollowMove move) => NameOf(move.Away.Volume);

    private string NameOf(VolumeId volume) => _state.Volumes.GetValueOrDefault(volume)?.Spec.FullName ?? volume.ToString();

    private string NodeName(NodeId node) => _state.Nodes.GetValueOrDefault(node)?.Description.Name ?? node.ToString();
}
