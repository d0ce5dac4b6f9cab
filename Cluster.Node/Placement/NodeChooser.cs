using System.Collections.Immutable;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Node.Placement;

/// <summary>A node as placement sees it now.</summary>
/// <param name="Report">Null until the node said what it has.</param>
/// <param name="Replicas">Copies placed on it.</param>
/// <param name="ProvisionedBytes">The sizes of their volumes.</param>
public sealed record CandidateNode(NodeDescription Description, bool Up, bool Cordoned, NodeReport? Report, int Replicas, ulong ProvisionedBytes = 0)
{
    /// <summary>Cordoned until it has started anew, and takes itself back then.</summary>
    public bool ForRestart { get; init; }

    /// <summary>A member still, which does not answer: it is up again, or down, within seconds.</summary>
    public bool Unreachable { get; init; }
}

/// <summary>The chosen nodes, or one sentence with every node and why it can't take a copy.</summary>
/// <param name="Waiting">Asked again later it may be had: a node has not registered or not reported yet, or with those that are down or restart now there would be enough.</param>
public sealed record NodeChoice(ImmutableArray<NodeDescription> Nodes, string Refusal, bool Waiting);

/// <summary>
/// Chooses nodes for copies: one copy a node, over as many zones as there are (a node without a zone is a zone of its own), then by free
/// bytes per copy that the node holds. Volumes are thin: their size counts only against the limit that a node may have set. Pure.
/// </summary>
public static class NodeChooser
{
    /// <summary>A node with less free than this takes no new copy.</summary>
    public const long FreeBytesMin = 64L << 20;

    /// <param name="subject">What the copies are for, as the refusal names it.</param>
    /// <param name="taken">Nodes that hold a copy already.</param>
    /// <param name="provisionBytes">The size of the volume, as it counts against the nodes' limits; 0: a copy that must be made anew counts against none.</param>
    public static NodeChoice Choose(
        string subject, int copies, ZoneSpread spread, IReadOnlyList<CandidateNode> nodes, ImmutableHashSet<NodeId> taken, ulong provisionBytes)
    {
        var zones = nodes.Where(node => taken.Contains(node.Description.Id)).GroupBy(Zone)
            .ToDictionary(zone => zone.Key, zone => zone.Count());
        var fit = nodes.Where(node => Obstacle(node, taken, provisionBytes) is null).ToArray();
        var chosen = Pick(copies, spread, fit, zones);
        if (chosen.Length == copies) return new NodeChoice(chosen, "", false);
        // The node that was asked is one itself: it has not registered yet.
        var waiting = nodes.Count == 0 || nodes.Any(node => node is { Up: true, Cordoned: false, Report: null });
        var refusal = Refuse(subject, copies, chosen.Length, spread, node => Obstacle(node, taken, provisionBytes), nodes);
        var away = nodes.Where(node => IsAway(node, nodes) && SpaceObstacle(node, provisionBytes) is null && !taken.Contains(node.Description.Id)).ToArray();
        if (away.Length == 0 || Pick(copies, spread, [.. fit, .. away], zones).Length < copies) return new NodeChoice([], refusal, waiting);
        var names = string.Join(", ", away.Select(node => node.Description.Name).Order(StringComparer.Ordinal));
        return new NodeChoice([], $"{refusal} Try again when {(away.Length == 1 ? $"{names} is" : $"some of {names} are")} back; {chosen.Length} of {copies} could be had now.", true);
    }

    /// <param name="taken">Copies in each zone.</param>
    private static ImmutableArray<NodeDescription> Pick(int copies, ZoneSpread spread, IEnumerable<CandidateNode> from, IReadOnlyDictionary<string, int> taken)
    {
        var (fit, zones) = (from.ToList(), new Dictionary<string, int>(taken));
        var chosen = ImmutableArray.CreateBuilder<NodeDescription>();
        while (chosen.Count < copies && fit.Count > 0)
        {
            var best = fit.MinBy(node => (zones.GetValueOrDefault(Zone(node)), -Room(node), node.Description.Name))!;
            if (spread == ZoneSpread.Required && zones.GetValueOrDefault(Zone(best)) > 0) break;
            fit.Remove(best);
            chosen.Add(best.Description);
            zones[Zone(best)] = zones.GetValueOrDefault(Zone(best)) + 1;
        }
        return chosen.ToImmutable();
    }

    /// <summary>Down or restarting, and nobody's decision is in the way of its return. One whose name another one has by now was lost for good.</summary>
    private static bool IsAway(CandidateNode node, IReadOnlyList<CandidateNode> nodes) =>
        (!node.Up || node.Cordoned) && (!node.Cordoned || node.ForRestart) && !nodes.Any(other => other.Up && other != node && other.Description.Name == node.Description.Name);

    /// <summary>Why the node takes no copy, or null.</summary>
    private static string? Obstacle(CandidateNode node, ImmutableHashSet<NodeId> taken, ulong provisionBytes)
    {
        if (taken.Contains(node.Description.Id)) return "holds a copy already";
        if (!node.Up) return "is down";
        if (node.Cordoned) return "is cordoned";
        return node.Report is null ? "has not reported its space yet" : SpaceObstacle(node, provisionBytes);
    }

    /// <summary>Of a node without a report nothing is known that is in the way.</summary>
    private static string? SpaceObstacle(CandidateNode node, ulong provisionBytes)
    {
        if (node.Report is null) return null;
        return node.Report.AvailableBytes < FreeBytesMin ? $"has {node.Report.AvailableBytes >> 20} MiB free, less than {FreeBytesMin >> 20} MiB"
            : OverCommitted(node, provisionBytes);
    }

    /// <summary>Why the node can't promise so many bytes more, or null. It promises what it has no report of.</summary>
    public static string? OverCommitted(CandidateNode node, ulong moreBytes)
    {
        if (moreBytes == 0 || node.Report is not { OverCommitPercent: > 0 and var percent } report) return null;
        var limit = (UInt128)(ulong)Math.Max(0, report.CapacityBytes) * (uint)percent / 100;
        return (UInt128)node.ProvisionedBytes + moreBytes <= limit ? null
            : $"has promised {node.ProvisionedBytes >> 20} MiB, and {moreBytes >> 20} MiB more are beyond its limit of {limit >> 20} MiB ({percent} % of its {report.CapacityBytes >> 20} MiB)";
    }

    private static string Refuse(
        string subject, int copies, int found, ZoneSpread spread, Func<CandidateNode, string?> obstacle, IReadOnlyList<CandidateNode> nodes)
    {
        var each = nodes.OrderBy(node => node.Description.Name, StringComparer.Ordinal).Select(node =>
            $"{node.Description.Name} {obstacle(node) ?? Fit(node, spread)}");
        var zones = spread == ZoneSpread.Required ? " in zones of their own" : "";
        return $"{subject} needs {copies} {(copies == 1 ? "node" : "nodes")}{zones} and {found} can take a copy: "
            + $"{string.Join("; ", each.DefaultIfEmpty("no node is known"))}.";
    }

    private static string Fit(CandidateNode node, ZoneSpread spread) =>
        spread == ZoneSpread.Required ? $"can, in zone '{node.Description.Zone}'" : "can";

    private static double Room(CandidateNode node) => (double)(node.Report?.AvailableBytes ?? 0) / (node.Replicas + 1);

    /// <summary>Nodes that are not known are of one zone.</summary>
    internal static string ZoneOf(CandidateNode? node) => node is null ? "" : Zone(node);

    private static string Zone(CandidateNode node) =>
        node.Description.Zone.Length > 0 ? "zone " + node.Description.Zone : "node " + node.Description.Id;
}
