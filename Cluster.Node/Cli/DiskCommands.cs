using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Cluster.Node.Api;

namespace Cluster.Node.Cli;

/// <summary>One disk and its node, as `myrmidon disk list` prints them.</summary>
internal sealed record NodeDiskResource(string Node, DiskResource Disk);

/// <summary>`myrmidon disk list/drain/undrain`.</summary>
internal static class DiskCommands
{
    /// <summary>An id may be cut to so many of its characters.</summary>
    private const int IdCharactersMin = 4;

    private static readonly string[] Columns = ["NODE", "DISK", "PATH", "STATE", "SEGMENTS", "FREE", "WRITE", "SYNC", "ERRORS", "PROBLEM"];

    public static Command Build() => new("disk", "List the disks of the nodes' stores; have one emptied, to take it away, or used again.") { List(), Drain(true), Drain(false) };

    private static VerbCommand List()
    {
        var node = new Option<string>("--node") { Description = "Only those of this node", HelpName = "NODE" };
        var command = new VerbCommand("list", "List the disks of all nodes, or of one: state, room, latencies of lately, errors.", "myrmidon disk list", "myrmidon disk list --node node-0 -o json") { node };
        command.Aliases.Add("ls");
        ClientOptions.Set(command, async (parsed, client, printer, cancellation) =>
        {
            var name = parsed.GetValue(node);
            var answer = await client.GetAsync(name is null ? "/v1/nodes" : $"/v1/nodes/{Uri.EscapeDataString(name)}", cancellation);
            if (!answer.IsOk) return await NodeCommands.FailAsync(client, printer, answer, name ?? "", cancellation);
            NodeResource[] nodes = name is null ? answer.As<NodeResource[]>() : [answer.As<NodeResource>()];
            var rows = nodes.SelectMany(each => each.Disks.Select(disk => new NodeDiskResource(each.Name, disk))).ToArray();
            printer.Print(JsonSerializer.SerializeToNode(rows, ApiClient.Json), () => rows.Select(Row), Columns);
            foreach (var silent in nodes.Where(IsSilent)) printer.Hint(Silent(silent));
            return ExitCode.Ok;
        });
        return command;
    }

    private static VerbCommand Drain(bool drains)
    {
        var node = new Argument<string>("node") { Description = "The node's name, as `myrmidon node list` shows it", HelpName = "NODE" };
        var disk = new Argument<string>("disk") { Description = "The disk's id, the beginning of it, or its path, as `myrmidon disk list` shows them", HelpName = "DISK" };
        var verb = drains ? "drain" : "undrain";
        var command = new VerbCommand(verb, drains
            ? "Empty a disk of a node's store, to take it away: nothing new goes there, and what is there is moved to the node's other disks in the background, as far as they have room. Answers at "
                + "once; `disk list` tells how far it is. It lasts through restarts, until `disk undrain`. The store's own directory can't be drained."
            : "Use a disk again that was to be drained, whether it is empty or not.",
            $"myrmidon disk {verb} node-0 /disks/2", $"myrmidon disk {verb} node-0 0f1e2d3c")
        {
            node, disk,
        };
        ClientOptions.Set(command, async (parsed, client, printer, cancellation) =>
        {
            var (name, given) = (parsed.GetRequiredValue(node), parsed.GetRequiredValue(disk));
            var path = $"/v1/nodes/{Uri.EscapeDataString(name)}";
            var found = await client.GetAsync(path, cancellation);
            if (!found.IsOk) return await NodeCommands.FailAsync(client, printer, found, name, cancellation);
            var resource = found.As<NodeResource>();
            if (IsSilent(resource))
            {
                printer.Error(Silent(resource));
                return ExitCode.Unreachable;
            }
            if (Find(resource, given, out var refusal) is not { } id)
            {
                printer.Error(refusal);
                return ExitCode.NotFound;
            }
            var answer = await client.PostAsync($"{path}/disks/{id}/{verb}", null, cancellation);
            if (!answer.IsOk)
            {
                printer.Error(answer.Error);
                return answer.ExitCode;
            }
            var now = answer.As<DiskResource>();
            printer.PrintDone(answer.Body, $"Disk {id} of node {name}, at {now.Path}, is {now.State}{(now.Problem.Length > 0 ? $": {now.Problem}" : ".")}");
            return ExitCode.Ok;
        });
        return command;
    }

    /// <summary>A node tells of its disks itself: of one that is away nothing is known.</summary>
    private static bool IsSilent(NodeResource node) => node.State != "up" && node.Disks.Count == 0;

    private static string Silent(NodeResource node) => $"Node {node.Name} is {node.State}: its disks are not known until it is up again.";

    /// <summary>Null, or the id of the one disk that is meant.</summary>
    internal static string? Find(NodeResource node, string given, out string refusal)
    {
        var found = node.Disks.Where(disk => disk.Path == given || disk.Path == given.TrimEnd('/')
            || (given.Length >= IdCharactersMin && disk.Id.StartsWith(given.Replace("-", "", StringComparison.Ordinal), StringComparison.OrdinalIgnoreCase))).ToArray();
        var known = string.Join(", ", node.Disks.Select(disk => $"{disk.Id} ({disk.Path})"));
        refusal = found.Length > 1 ? $"'{given}' is the beginning of several disks of node {node.Name}: write more of the id. It has {known}." : $"Node {node.Name} has no disk '{given}'; it has {known}.";
        return found.Length == 1 ? found[0].Id : null;
    }

    private static string[] Row(NodeDiskResource row) =>
    [
        row.Node, row.Disk.Id, row.Disk.Path, row.Disk.State, SizeText.Format(row.Disk.UsedBytes), SizeText.Format(row.Disk.FreeBytes),
        string.Create(CultureInfo.InvariantCulture, $"{row.Disk.WriteMs:0.0} ms"), string.Create(CultureInfo.InvariantCulture, $"{row.Disk.SyncMs:0.0} ms"),
        row.Disk.Errors.ToString(CultureInfo.InvariantCulture), row.Disk.Problem.Length > 0 ? row.Disk.Problem : "-",
    ];
}
