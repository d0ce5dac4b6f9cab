using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Node.Owner;

// Local first: who uses the volume, and whether that could own it. The move itself is placement's (LocalityPlan).
public sealed partial class VolumeMachine
{
    /// <summary>
    /// The volume is used by the front end of just one node, which is another one and has a copy in sync: it would be better owned there. Null: it is where it should be, nobody uses it,
    /// several nodes do, its label locality is off, or a move now would cut off what is under way (a catch-up, a snapshot, a shrink) or lead to a copy that is slow.
    /// </summary>
    public AwayVolume? Away
    {
        get
        {
            if (Phase != VolumePhase.Serving || IsGathering || UsedFrom is not { } node || node == _effects.Node || !Spec.FollowsFrontEnd) return null;
            if (!_replicas.TryGetValue(node, out var copy) || !IsMember(copy) || copy is not { Aligned: true, Live: true, ShouldLeave: false, SlowForMs: 0, Link.IsUp: true }) return null;
            if (_marker is not null || IsRestoring || _shrink is not null || _replicas.Values.Any(other => other.CatchUp is not null)) return null;
            return new AwayVolume(Volume, node, _state.Attachment.Generation);
        }
    }

    /// <summary>For users: from where it is used, and why its owner is or is not there.</summary>
    private string Usage
    {
        get
        {
            var nodes = _sessions.Values.Where(session => session.Link is { IsUp: true }).Select(session => session.Link!.Peer).Distinct().ToArray();
            if (nodes.Length == 0) return "";
            var names = string.Join(" and ", nodes.Select(node => node == _effects.Node ? _effects.NodeName : _effects.NameOf(node)).Order(StringComparer.Ordinal));
            if (nodes.Length > 1) return $"on {names}; with several nodes the owner stays where it is";
            if (nodes[0] == _effects.Node) return $"on {names}, which owns it";
            if (!Spec.FollowsFrontEnd) return $"on {names}; the owner stays where it is, as the label {VolumeSpec.LocalityLabel} says";
            return Away is null ? $"on {names}; the owner stays, since there is no copy in sync there that is quick enough, or a catch-up, a snapshot or a shrink is under way"
                : $"on {names}; the owner follows, unless an operator has moved it lately or that node is cordoned or lacks a disk";
        }
    }

    /// <summary>The only node with live sessions, or null: there is none, or there are several.</summary>
    private NodeId? UsedFrom
    {
        get
        {
            NodeId? only = null;
            foreach (var session in _sessions.Values)
            {
                if (session.Link is not { IsUp: true } link) continue;
                if (only is { } other && other != link.Peer) return null;
                only = link.Peer;
            }
            return only;
        }
    }
}
