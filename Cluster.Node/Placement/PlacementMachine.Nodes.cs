using Cluster.Messages.Events;
using Cluster.Messages.Protocol;

namespace Cluster.Node.Placement;

public static partial class PlacementMachine
{
    /// <summary>Volumes that are named in a refusal; the others are counted.</summary>
    private const int NamedMax = 5;

    /// <summary>
    /// Of several nodes that had one name (each made anew in place of the one before) one that is down and holds nothing; by its id any of them. The event is only journaled if it was not just to be checked.
    /// </summary>
    public static PlacementDecision Remove(PlacementState state, IReadOnlyList<CandidateNode> nodes, PlacementProtocol.RemoveNode command)
    {
        var named = nodes.Where(node => node.Description.Name == command.NodeName || node.Description.Id.ToString() == command.NodeName).ToArray();
        if (named.Length == 0) return NoSuchNode(state, command.NodeName);
        var name = named[0].Description.Name;
        var down = named.Where(node => node is { Up: false, Unreachable: false }).Select(node => (Node: node, Volumes: VolumesOn(state, node))).OrderBy(node => node.Volumes.Length).FirstOrDefault();
        // Behind a cut it may be alive, with its vote, and reached by others: whether it is settles within seconds.
        if (down.Node is null && named.Any(node => node.Unreachable))
            return PlacementDecision.Refuse(RefusalKind.Conflict, $"Node {name} is unreachable, and may be alive behind a cut of the network: it can be removed once the cluster has taken it out and it is down (`myrmidon node list`), within some seconds. Try again then.");
        if (down.Node is null)
            return PlacementDecision.Refuse(RefusalKind.Conflict, $"Node {name} is up: drain it (`myrmidon node drain {name}`), stop it, and remove it when what it held is made anew on other nodes.");
        if (down.Volumes.Length == 0) return new PlacementDecision(new NodeRemoved(down.Node.Description.Id), null, null);
        var more = down.Volumes.Length > NamedMax ? $" and {down.Volumes.Length - NamedMax} more" : "";
        return PlacementDecision.Refuse(RefusalKind.Conflict,
            $"Node {name} holds copies of {string.Join(", ", down.Volumes.Take(NamedMax))}{more}: they are made anew on other nodes once it is down for replace-after (a label of each volume, 10 minutes by default), if one can take them; "
            + "or ask for fewer copies (`volume resize --replicas`). A volume's only copy goes with the volume.");
    }

    private static string[] VolumesOn(PlacementState state, CandidateNode node) =>
        [.. state.Volumes.Values.Where(volume => volume.UsesNode(node.Description.Id)).Select(volume => volume.Spec.FullName).Order(StringComparer.Ordinal)];
}
