using System.Text.Json.Nodes;
using Cluster.Messages.Model;
using Cluster.Node.Repair;

namespace Cluster.Node.Cli.Recover;

/// <summary>The plan for people: what was found, what would be done, what is lost.</summary>
internal static class RecoverText
{
    public static void Print(TextWriter output, RecoveryPlan plan)
    {
        output.WriteLine($"Cluster {plan.Nodes[0].Cluster:N}, {plan.Nodes.Length} nodes");
        foreach (var node in plan.Nodes) output.WriteLine($"  {node.Name}: {StateOf(node)}, {node.Copies.Length} copies in its store");
        output.WriteLine();
        foreach (var volume in plan.Volumes) Print(output, volume);
        foreach (var volume in plan.WithoutCopy)
        {
            output.WriteLine($"Volume {volume.Name} ({volume.Volume})");
            output.WriteLine($"  NO COPY on the nodes above; its copies were on {string.Join(" and ", volume.Nodes)}. Start {(volume.Nodes.Length == 1 ? "it" : "one of them")} and name its endpoint too; --skip {volume.Name} gives it up.");
            output.WriteLine();
        }
        foreach (var node in plan.Nodes.Where(node => node.CatalogueFailure.Length > 0))
            output.WriteLine($"Which volumes the journal's log on {node.Name} knows was not read: {node.CatalogueFailure}.");
        output.WriteLine($"A volume that is not listed has no copy on the nodes above{(plan.Known.Length > 0 ? ", and no log of the journal that is left there knows it" : "")}. If one is missing, start the nodes "
            + "that had its copies, and name them too, before anything is applied.");
        output.WriteLine();
        output.WriteLine("What is done");
        foreach (var node in plan.StandDown) output.WriteLine($"  Node {node.Name} puts its journal aside (it stays in its data directory) and starts anew.");
        output.WriteLine($"  A new journal in a new recovery era on {string.Join(", ", plan.ControlMembers.Select(member => member.Name))}.");
        output.WriteLine($"  {plan.Volumes.Count(volume => volume.IsRecovered)} of {plan.Volumes.Length} volumes are in its catalogue.");
        output.WriteLine("  Nodes of the old era are not let in any more; each joins after `myrmidon recover --stand-down --endpoint` it.");
        output.WriteLine("Not in the headers, and so lost: attachments, cordons, moves and replacements under way. A volume that was deleted while a node with a copy was away may be back:");
        output.WriteLine("delete it again.");
        output.WriteLine();
    }

    /// <summary>The same for programs.</summary>
    public static JsonObject ToJson(RecoveryPlan plan) => new()
    {
        ["cluster"] = plan.Nodes[0].Cluster.ToString("N"),
        ["nodes"] = new JsonArray([.. plan.Nodes.Select(node => new JsonObject
        {
            ["name"] = node.Name,
            ["standsDown"] = !node.Waits,
            ["copies"] = node.Copies.Length,
        })]),
        ["controlMembers"] = new JsonArray([.. plan.ControlMembers.Select(member => JsonValue.Create(member.Name))]),
        ["volumes"] = new JsonArray([.. plan.Volumes.Select(ToJson)]),
        ["withoutCopy"] = new JsonArray([.. plan.WithoutCopy.Select(volume => new JsonObject
        {
            ["name"] = volume.Name,
            ["id"] = volume.Volume.ToString(),
            ["nodes"] = new JsonArray([.. volume.Nodes.Select(node => JsonValue.Create(node))]),
        })]),
    };

    private static JsonObject ToJson(VolumeRecovery volume) => new()
    {
        ["name"] = volume.Name,
        ["id"] = volume.Volume.ToString(),
        ["recovered"] = volume.IsRecovered,
        ["forced"] = volume.Forced,
        ["reason"] = volume.Reason,
        ["copies"] = new JsonArray([.. volume.Copies.Select(copy => new JsonObject
        {
            ["copy"] = copy.Id.ToString(),
            ["node"] = copy.NodeName,
            ["epoch"] = copy.Header.InSyncEpoch,
            ["version"] = copy.Header.InSyncVersion,
            ["members"] = new JsonArray([.. copy.Header.Members.Select(member => JsonValue.Create(member.Id.ToString()))]),
            ["lastSequence"] = copy.LastSequence,
            ["lastRecordEpoch"] = copy.LastRecordEpoch,
            ["opened"] = copy.StoreOpens.Count,
            ["whole"] = copy.IsWhole,
            ["chosen"] = volume.Chosen.Contains(copy),
        })]),
        ["missing"] = new JsonArray([.. volume.Missing.Select(member => new JsonObject { ["copy"] = member.Id.ToString(), ["node"] = member.Copy.NodeName })]),
    };

    private static string StateOf(RecoveryNode node) => node.Waits ? "has no journal and waits"
        : node.HasLog ? $"has one of the journal's {node.ControlMembers.Length} logs, of era {node.Era:N}, and hears no leader"
        : $"is of era {node.Era:N} and hears no leader";

    private static void Print(TextWriter output, VolumeRecovery volume)
    {
        var spec = volume.Spec;
        output.WriteLine($"Volume {volume.Name} ({volume.Volume}){(spec is null ? "" : $", {SizeText.Format(spec.SizeBytes)}, {spec.Replicas} copies{LabelsOf(spec)}")}");
        foreach (var copy in volume.Copies) output.WriteLine($"  {Text(copy)}{(volume.Chosen.Contains(copy) ? ": CHOSEN" : "")}");
        foreach (var member in volume.Missing) output.WriteLine($"  copy {member.Id} on node {member.Copy.NodeName}: MISSING");
        if (!volume.IsRecovered) output.WriteLine($"  CAN'T BE RECOVERED: {volume.Reason}.");
        else if (volume.Forced) output.WriteLine($"  FORCED: goes on from sequence {volume.Chosen[0].LastSequence}; {volume.Reason}.");
        else output.WriteLine($"  Recovered with all that was acknowledged, up to sequence {volume.Chosen[0].LastSequence}; other copies are caught up.");
        output.WriteLine();
    }

    private static string Text(RecoveryCopy copy)
    {
        var names = string.Join(" ", copy.Header.Members.Select(member => member.IsJoining ? $"(+{member.Id})" : member.Id.ToString()));
        var state = copy.Damage is { } damage ? $", damaged: {damage}" : copy.Header.CatchingUp ? ", in the middle of a catch-up" : !copy.WasInSync ? ", never in sync" : "";
        return $"copy {copy.Id} on node {copy.NodeName}: epoch {copy.Header.InSyncEpoch}, in-sync version {copy.Header.InSyncVersion}{(names.Length > 0 ? $" of {names}" : "")}, "
            + $"last sequence {copy.LastSequence} of epoch {copy.LastRecordEpoch}, opened {copy.StoreOpens.Count} times{state}";
    }

    private static string LabelsOf(VolumeSpec spec) => spec.Labels.Count == 0 ? "" : $", {string.Join(" ", spec.Labels.Select(label => $"{label.Key}={label.Value}"))}";
}
