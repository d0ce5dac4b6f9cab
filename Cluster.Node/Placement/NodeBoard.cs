using Akka.Cluster;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Node.Placement;

/// <summary>
/// What is known of the nodes beside the journal: who is a member, who answers, what each reported. Kept in memory only; a new singleton
/// learns it within seconds. One actor's.
/// </summary>
public sealed class NodeBoard(TimeProvider time)
{
    public const string UnknownState = "unknown";

    private static readonly NodeReport NoReport = new(0, 0, 0, 0, Guid.Empty, "");

    private readonly Dictionary<string, bool> _reachableByAddress = new(StringComparer.Ordinal);
    private readonly Dictionary<NodeId, NodeReport> _reports = [];
    private readonly Dictionary<NodeId, long> _downSince = [];

    public void Report(NodeId node, NodeReport report) => _reports[node] = report;

    /// <summary>A member came, went, or changed its reachability. True when volumes may have lost their owner.</summary>
    public bool OnMember(ClusterEvent.IClusterDomainEvent change)
    {
        switch (change)
        {
            case ClusterEvent.MemberUp up:
                _reachableByAddress[Text(up.Member)] = true;
                return true;
            case ClusterEvent.UnreachableMember gone:
                if (_reachableByAddress.ContainsKey(Text(gone.Member))) _reachableByAddress[Text(gone.Member)] = false;
                return false;
            case ClusterEvent.ReachableMember back:
                if (_reachableByAddress.ContainsKey(Text(back.Member))) _reachableByAddress[Text(back.Member)] = true;
                return false;
            case ClusterEvent.MemberExited or ClusterEvent.MemberDowned or ClusterEvent.MemberRemoved:
                return _reachableByAddress.Remove(Text(((ClusterEvent.IMemberEvent)change).Member));
            default:
                return false;
        }
    }

    /// <summary>"up", "unreachable" or "down".</summary>
    public string StateOf(NodeDescription node)
    {
        if (!_reachableByAddress.TryGetValue(node.AkkaAddress, out var reachable)) return "down";
        return reachable ? "up" : "unreachable";
    }

    /// <summary>A node that may take over owners without need: up, wanted (neither cordoned nor being drained), and no disk of its store is missing, failing or suspect.</summary>
    public bool IsFitToOwn(KnownNode node) =>
        !node.Cordoned && StateOf(node.Description) == "up" && _reports.GetValueOrDefault(node.Description.Id) is { MissingBytes: 0 } report
        && report.Disks.All(disk => disk.State is "in-use" or "draining" or "drained");

    public IReadOnlyList<CandidateNode> Candidates(PlacementState state) =>
        [.. state.Nodes.Values.Select(node => Candidate(node, state.Shares.GetValueOrDefault(node.Description.Id)))];

    public NodeEntry Entry(PlacementState state, KnownNode node)
    {
        var id = node.Description.Id;
        return Entry(state, node, _reports.GetValueOrDefault(id) ?? NoReport, StateOf(node.Description));
    }

    /// <summary>All nodes as the journal has them, to who has no board: how they are, and what they have, is unknown.</summary>
    public static PlacementProtocol.NodeList Unknown(PlacementState state) =>
        new([.. state.Nodes.Values.OrderBy(node => node.Description.Name, StringComparer.Ordinal).Select(node => Entry(state, node, NoReport, UnknownState))]);

    private static NodeEntry Entry(PlacementState state, KnownNode node, NodeReport report, string name)
    {
        var share = state.Shares.GetValueOrDefault(node.Description.Id);
        return new NodeEntry(node.Description, report, name, node.Cordoned, node.ForRestart, share.Copies, share.ProvisionedBytes);
    }

    /// <summary>Sizes of the volumes with a copy on the node, or one on its way; the most there can be instead of more.</summary>
    public static ulong ProvisionedOn(PlacementState state, NodeId node) => state.Shares.GetValueOrDefault(node).ProvisionedBytes;

    private CandidateNode Candidate(KnownNode node, NodeShare has) => new(
        node.Description, StateOf(node.Description) == "up", node.Cordoned, _reports.GetValueOrDefault(node.Description.Id), has.Copies, has.ProvisionedBytes)
    {
        ForRestart = node.ForRestart,
        Unreachable = StateOf(node.Description) == "unreachable",
    };

    /// <summary>
    /// How long each node that is not up has been so, as this board saw it. Called now and then: it starts the clock of each.
    /// </summary>
    public IReadOnlyDictionary<NodeId, TimeSpan> DownFor(PlacementState state)
    {
        var now = time.GetTimestamp();
        var down = new Dictionary<NodeId, TimeSpan>();
        foreach (var node in state.Nodes.Values)
        {
            var id = node.Description.Id;
            if (StateOf(node.Description) == "up")
            {
                _downSince.Remove(id);
                continue;
            }
            if (!_downSince.TryGetValue(id, out var since)) _downSince[id] = since = now;
            down[id] = time.GetElapsedTime(since, now);
        }
        return down;
    }

    private static string Text(Member member) => member.Address.ToString();
}
