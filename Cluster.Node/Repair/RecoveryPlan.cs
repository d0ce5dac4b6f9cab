using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Journal.Formation;

namespace Cluster.Node.Repair;

/// <summary>What one node says when the journal is to be recovered.</summary>
/// <param name="Era">Of the journal that it belongs to; null: it has none and waits.</param>
/// <param name="Leader">The journal's leader that it hears, or "".</param>
/// <param name="HasLog">It holds one of the journal's logs.</param>
/// <param name="ControlMembers">Who votes in its journal, as far as it knows.</param>
public sealed record RecoveryNode(
    FormationMember Journal, Guid Cluster, Guid? Era, string Leader, bool HasLog, ImmutableArray<string> ControlMembers, Guid StoreId,
    ImmutableArray<RecoveryCopy> Copies)
{
    /// <summary>Volumes that its log knows.</summary>
    public ImmutableArray<KnownVolume> Catalogue { get; init; } = [];

    /// <summary>Why its log's catalogue was not read, or "".</summary>
    public string CatalogueFailure { get; init; } = "";

    public string Name => Journal.Name;

    public bool Waits => Era is null;
}

/// <summary>A volume as a log of the journal that is left has it.</summary>
/// <param name="Nodes">By name, those that had a copy, or were to get one.</param>
public sealed record KnownVolume(VolumeId Volume, string Name, ImmutableArray<string> Nodes);

/// <summary>
/// What `myrmidon recover` does, or why not: pure, from what all nodes said. The journal goes on in a new era with a new catalogue, made of what the headers say.
/// </summary>
/// <param name="Refusal">Why nothing at all may be done, one sentence; "": the volumes speak for themselves.</param>
public sealed record RecoveryPlan(ImmutableArray<RecoveryNode> Nodes, ImmutableArray<VolumeRecovery> Volumes, string Refusal)
{
    /// <summary>Nodes whose journal is one of a lost majority: they put it aside first.</summary>
    public IEnumerable<RecoveryNode> StandDown => Nodes.Where(node => !node.Waits);

    /// <summary>As at a first formation: five of five nodes and more, else three, else one; the first by name.</summary>
    public ImmutableArray<FormationMember> ControlMembers =>
        [.. Nodes.Select(node => node.Journal).OrderBy(member => member.Name, StringComparer.Ordinal).Take(Nodes.Length >= 5 ? 5 : Nodes.Length >= 3 ? 3 : 1)];

    /// <summary>What the logs know that are left of a lost majority.</summary>
    public ImmutableArray<KnownVolume> Known { get; init; } = [];

    /// <summary>Of those the volumes of which no node that was asked has a copy: nothing of them can be recovered from here.</summary>
    public IEnumerable<KnownVolume> WithoutCopy => Known.Where(known => Volumes.All(volume => volume.Volume != known.Volume));

    public IEnumerable<VolumeRecovery> Lost => Volumes.Where(volume => !volume.IsRecovered);

    /// <param name="force">Full names of volumes whose missing copies the operator gives up.</param>
    public static RecoveryPlan Make(IReadOnlyList<RecoveryNode> nodes, IReadOnlySet<string> force)
    {
        ImmutableArray<RecoveryNode> sorted = [.. nodes.OrderBy(node => node.Name, StringComparer.Ordinal)];
        if (Refuse(sorted) is { } refusal) return new RecoveryPlan(sorted, [], refusal);
        var volumes = sorted.SelectMany(node => node.Copies).GroupBy(copy => copy.Header.Volume).OrderBy(group => group.Key)
            .Select(group => DecideOne([.. group], force)).ToList();
        // A name is one volume's: an older one of that name was deleted while a node of its was away.
        var named = volumes.Where(volume => volume.IsRecovered).GroupBy(volume => volume.Name, StringComparer.Ordinal).ToDictionary(group => group.Key, group => group.Last());
        return new RecoveryPlan(sorted, [.. volumes.Select(volume => !volume.IsRecovered || named[volume.Name] == volume ? volume
            : volume with { Chosen = [], Reason = $"its name is that of the newer volume {named[volume.Name].Volume}" })], "")
        {
            Known = [.. sorted.SelectMany(node => node.Catalogue).GroupBy(known => known.Volume).OrderBy(group => group.Key).Select(group => group.First() with
            {
                Nodes = [.. group.SelectMany(known => known.Nodes).Distinct().Order(StringComparer.Ordinal)],
            })],
        };
    }

    /// <summary>The first events of the placement's stream: ids that were given out, nodes that are not there but have copies, volumes.</summary>
    public IReadOnlyList<PlacementEvent> Catalogue()
    {
        // The id of a volume that is given up is not given out again: a copy of it may come back.
        var ids = Volumes.Select(volume => volume.Volume.Value).Concat(Known.Select(known => known.Volume.Value));
        var events = new List<PlacementEvent> { new CatalogueRecovered(ids.DefaultIfEmpty().Max()) };
        var away = Volumes.Where(volume => volume.IsRecovered).SelectMany(volume => volume.Placements()).Where(copy => Nodes.All(node => node.Journal.NodeId != copy.Node.Value))
            .DistinctBy(copy => copy.Node);
        events.AddRange(away.Select(copy => new NodeRegistered(new NodeDescription(copy.Node, copy.NodeName, "", "", "", "", "", default))));
        events.AddRange(Volumes.Where(volume => volume.IsRecovered).Select(volume => new RecoveredPlaced(volume.Spec!, volume.Placements(), volume.LastReplica)));
        return events;
    }

    private static VolumeRecovery DecideOne(IReadOnlyList<RecoveryCopy> copies, IReadOnlySet<string> force)
    {
        var decided = VolumeRecovery.Decide(copies, force: false);
        return !decided.IsRecovered && (force.Contains(decided.Name) || force.Contains(decided.Volume.ToString())) ? VolumeRecovery.Decide(copies, force: true) : decided;
    }

    private static string? Refuse(ImmutableArray<RecoveryNode> nodes)
    {
        if (nodes.GroupBy(node => node.Name, StringComparer.Ordinal).FirstOrDefault(group => group.Count() > 1) is { } twice)
            return $"Two of the endpoints are of a node named {twice.Key}: name each node once.";
        if (nodes.FirstOrDefault(node => node.Cluster == Guid.Empty) is { } none)
            return $"Node {none.Name} has neither a journal nor data of any cluster: leave it out, it joins by its seeds afterwards.";
        if (nodes.FirstOrDefault(node => node.Cluster != nodes[0].Cluster) is { } other)
            return $"Node {other.Name} is of cluster {other.Cluster:N} and node {nodes[0].Name} of {nodes[0].Cluster:N}: recover one cluster at a time.";
        if (nodes.FirstOrDefault(node => node.Leader.Length > 0) is { } alive)
            return $"The journal is alive: node {alive.Name} hears its leader {alive.Leader}. A majority of the control nodes is there, so that nothing has to be recovered; a node "
                + "that waits joins by itself when its --seeds name one of them.";
        foreach (var journal in nodes.Where(node => node.HasLog).GroupBy(node => node.Era))
        {
            var voters = journal.First().ControlMembers;
            var there = journal.Select(node => node.Name).Intersect(voters, StringComparer.Ordinal).ToList();
            if (there.Count > voters.Length / 2)
                return $"{string.Join(" and ", there)} have {there.Count} of the journal's {voters.Length} logs, which is a majority: let them reach each other on the journal port, and they "
                    + "go on by themselves.";
        }
        return null;
    }
}
