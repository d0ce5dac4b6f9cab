using Cluster.Messages.Protocol;
using Cluster.Node.Api;
using Cluster.Node.Cli;
using Cluster.Node.Journal;
using Cluster.Node.Placement;
using Cluster.Node.Store;

namespace Cluster.Node.Hosting.Control;

public sealed partial class ControlPlane
{
    public static string Version { get; } = typeof(ControlPlane).Assembly.GetName().Version?.ToString(3) ?? "0.0.0";

    public async Task<ControlResult<IReadOnlyList<NodeResource>>> ListNodesAsync(CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotReady;
        var list = await AskPlacementAsync<PlacementProtocol.NodeList>(parts, new PlacementProtocol.ListNodes(), AskMax, cancellation);
        return list.IsOk ? list.Value!.Nodes.Select(Of).ToArray() : new ControlFailure(list.Status, list.Reason);
    }

    public async Task<ControlResult<NodeResource>> GetNodeAsync(string name, CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotReady;
        var found = await FindNodeAsync(parts, name, cancellation, needsState: true);
        return found.IsOk ? Of(found.Value!) : new ControlFailure(found.Status, found.Reason);
    }

    public async Task<ControlResult<NodeResource>> SetCordonedAsync(string name, bool cordoned, CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotReady;
        var list = await AskPlacementAsync<PlacementProtocol.NodeList>(
            parts, new PlacementProtocol.CordonNode(name, cordoned), AskMax, cancellation);
        return list.IsOk ? Of(list.Value!.Nodes[0]) : new ControlFailure(list.Status, list.Reason);
    }

    public async Task<ControlResult<DiskResource>> DrainDiskAsync(string name, string disk, bool drains, CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotReady;
        var node = await FindNodeAsync(parts, name, cancellation, needsState: true);
        if (!node.IsOk) return new ControlFailure(node.Status, node.Reason);
        if (!Guid.TryParse(disk, out var id)) return new ControlFailure(ControlStatus.Invalid, $"'{disk}' is not a disk's id: `myrmidon disk list` shows them.");
        if (node.Value!.State != "up") return new ControlFailure(ControlStatus.Unavailable, $"Node {name} is {node.Value!.State}: its disks can be told nothing now.");
        var answer = await AskAsync<DiskProtocol.Disk>(parts, parts.DisksAt(node.Value!.Description.AkkaAddress), new DiskProtocol.Drain(id, drains), $"Node {name}", AskMax, cancellation);
        return answer.IsOk ? Of(answer.Value!.Report) : new ControlFailure(answer.Status, answer.Reason);
    }

    public async Task<ControlResult<NodeResource>> RemoveNodeAsync(string name, CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotReady;
        var found = await AskPlacementAsync<PlacementProtocol.NodeList>(parts, new PlacementProtocol.RemoveNode(name, OnlyCheck: true), AskMax, cancellation);
        if (!found.IsOk) return new ControlFailure(found.Status, found.Reason);
        var id = found.Value!.Nodes[0].Description.Id;
        try
        {
            // Before the catalogue forgets the node, by which the same command again finds it and goes on.
            await new NodeDirectory(parts.Log).RemoveAsync(id.Value, cancellation);
        }
        catch (MetaLogUnavailableException e)
        {
            return new ControlFailure(ControlStatus.Unavailable, $"Node {name} is not removed yet: {e.Message.TrimEnd('.')}. Try again.");
        }
        var removed = await AskPlacementAsync<PlacementProtocol.NodeList>(parts, new PlacementProtocol.RemoveNode(id.ToString(), OnlyCheck: false), AskMax, cancellation);
        return removed.IsOk ? Of(removed.Value!.Nodes[0]) : new ControlFailure(removed.Status, removed.Reason);
    }

    public Task<ControlResult<NodeResource>> EndRestartAsync(string name, CancellationToken cancellation) => CordonForRestartAsync(name, false, cancellation);

    private async Task<ControlResult<NodeResource>> CordonForRestartAsync(string name, bool begins, CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotReady;
        var list = await AskPlacementAsync<PlacementProtocol.NodeList>(parts, new PlacementProtocol.CordonForRestart(name, begins), AskMax, cancellation);
        return list.IsOk ? Of(list.Value!.Nodes[0]) : new ControlFailure(list.Status, list.Reason);
    }

    public ControlResult<IReadOnlyList<OpenVolumeResource>> ListOpenVolumes()
    {
        if (_parts is not { } parts) return NotReady;
        // A mount outlives this process: until its device is connected again no front end has it open, and it is in use all the same.
        var (open, outside) = (parts.OpenVolumes().ToHashSet(StringComparer.Ordinal), parts.OutsideCsi());
        return open.Union(outside.Keys, StringComparer.Ordinal).Order(StringComparer.Ordinal)
            .Select(name => new OpenVolumeResource(name, outside.ContainsKey(name), outside.GetValueOrDefault(name), open.Contains(name))).ToArray();
    }

    public async Task<ControlResult<StatusResource>> GetStatusAsync(CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotReady;
        var nodes = await ListNodesAsync(cancellation);
        if (!nodes.IsOk) return new ControlFailure(nodes.Status, nodes.Reason);
        var volumes = await ListVolumesAsync(null, cancellation);
        if (!volumes.IsOk) return new ControlFailure(volumes.Status, volumes.Reason);
        List<string> reasons = [.. JournalText.WhyNoLeader(parts.Log.Status, parts.IsReachable) is { } why ? new[] { why } : [], .. Reasons(nodes.Value!, volumes.Value!)];
        return new StatusResource
        {
            ClusterId = parts.ClusterId.ToString("N"),
            State = volumes.Value!.Any(volume => volume.State is "held" or "starting") ? "unavailable" : reasons.Count > 0 ? "degraded"
                : "healthy",
            Reasons = reasons,
            Warnings = [.. nodes.Value!.Select(SpaceWarning).Concat(nodes.Value!.Select(CommitmentWarning)).Concat(nodes.Value!.SelectMany(DiskWarnings)).OfType<string>()],
            Version = Version,
            AnsweredBy = parts.NodeName,
            JournalLeader = parts.Log.Status.LeaderName,
            ControlNodes = [.. JournalText.ControlNodes(parts.Log.Status).Select(name => new ControlNodeResource(name, parts.IsReachable(name)))],
            PlacementHost = parts.PlacementHost(),
            NodesUp = nodes.Value!.Count(node => node.State == "up"),
            NodesTotal = nodes.Value!.Count,
            VolumesTotal = volumes.Value!.Count,
            Volumes = volumes.Value!.GroupBy(volume => volume.State, StringComparer.Ordinal)
                .ToDictionary(state => state.Key, state => state.Count(), StringComparer.Ordinal),
        };
    }

    private static List<string> Reasons(IReadOnlyList<NodeResource> nodes, IReadOnlyList<VolumeResource> volumes) =>
    [
        .. nodes.Any(node => node.State == NodeBoard.UnknownState) ? ["The placement service does not answer: how the nodes are is unknown."] : Array.Empty<string>(),
        .. nodes.Where(node => node.State is not ("up" or NodeBoard.UnknownState)).Select(node => node.State == "down"
            ? $"Node {node.Name} is down. If it is gone for good: `myrmidon node remove {node.Name}`." : $"Node {node.Name} is {node.State}."),
        // Its copies are in sync, and others may be the only ones that have these blocks good.
        .. nodes.Where(node => node.MissingBytes > 0).Select(node => $"Node {node.Name} misses blocks. {Unmended(node)}"),
        .. volumes.Where(volume => volume.State is not ("healthy" or "deleting"))
            .Select(volume => $"Volume {new VolumeName(volume.Namespace, volume.Name)} is {volume.State}{Because(volume.Reason)}"),
    ];

    private static string? SpaceWarning(NodeResource node)
    {
        var level = SpaceLevels.Of((long)node.UsedBytes, (long)node.CapacityBytes, SpaceLevel.Ample);
        if (level == SpaceLevel.Ample) return null;
        var how = level == SpaceLevel.Critical ? "is nearly full" : "runs low on space";
        return $"Node {node.Name} {how}: it holds {SizeText.Format(node.UsedBytes)} of data, of {SizeText.Format(node.CapacityBytes)}. Trim or delete data, or add disk space.";
    }

    /// <summary>Lost copies are made anew without regard to it, and the limit may have been lowered.</summary>
    private static string? CommitmentWarning(NodeResource node) =>
        node.OverCommitPercent is not { } percent || (UInt128)node.ProvisionedBytes * 100 <= (UInt128)node.CapacityBytes * (uint)percent ? null
            : $"Node {node.Name} has promised {SizeText.Format(node.ProvisionedBytes)}, beyond its limit of {percent} % of {SizeText.Format(node.CapacityBytes)}; no new volume goes there.";

    private static IEnumerable<string> DiskWarnings(NodeResource node) => node.Disks.Where(disk => disk.State != "in-use" || disk.Problem.Length > 0).Select(disk => disk.State switch
    {
        "failing" => $"Node {node.Name}: disk {disk.Id} at {disk.Path} is failing, no new data goes there. {disk.Problem}",
        "in-use" or "suspect" or "draining" or "drained" => $"Node {node.Name}: disk {disk.Id} at {disk.Path} is {disk.State}: {disk.Problem}",
        _ => $"Node {node.Name} goes on without disk {disk.Id}, last at {disk.Path}, which is {disk.State}: {disk.Problem} {Unmended(node)}",
    });

    private static string Unmended(NodeResource node) => node.MissingBytes == 0 ? "All blocks that were there have been mended or superseded."
        : $"{SizeText.Format(node.MissingBytes)} of blocks on missing disks are not mended from other copies yet: a read or a scrub does it.";

    private static string Because(string reason) => reason.Length == 0 ? "." : $": {reason}";

    /// <param name="needsState">Else only what the journal knows of the node too: that there is one, its id, whether it is cordoned.</param>
    private static async Task<ControlResult<NodeEntry>> FindNodeAsync(ControlParts parts, string name, CancellationToken cancellation, bool needsState = false)
    {
        var question = new PlacementProtocol.ListNodes();
        var answer = await parts.Catalogue.AskAsync(question, AskMax, cancellation, needsState);
        var list = AnswerOf<PlacementProtocol.NodeList>(answer, parts, question, PlacementSentence, AskMax);
        if (!list.IsOk) return new ControlFailure(list.Status, list.Reason);
        if (list.Value!.Nodes.FirstOrDefault(node => node.Description.Name == name) is { } found) return found;
        var names = string.Join(", ", list.Value!.Nodes.Select(node => node.Description.Name));
        return new ControlFailure(ControlStatus.NotFound, $"There is no node '{name}'; known are {names}.");
    }

    private static NodeResource Of(NodeEntry node) => new()
    {
        Name = node.Description.Name,
        Id = node.Description.Id.ToString(),
        State = node.State,
        Cordoned = node.Cordoned,
        CordonedForRestart = node.ForRestart,
        Zone = node.Description.Zone.Length > 0 ? node.Description.Zone : null,
        Api = "http://" + node.Description.ApiAddress,
        Nbd = "nbd://" + node.Description.NbdAddress,
        CapacityBytes = (ulong)node.Report.CapacityBytes,
        FreeBytes = (ulong)Math.Max(0, node.Report.AvailableBytes),
        UsedBytes = (ulong)node.Report.LiveBytes,
        ProvisionedBytes = node.ProvisionedBytes,
        OverCommitPercent = node.Report.OverCommitPercent > 0 ? node.Report.OverCommitPercent : null,
        Version = node.Report.Version.Length > 0 ? node.Report.Version : null,
        Disks = [.. node.Report.Disks.Select(Of)],
        MissingBytes = (ulong)node.Report.MissingBytes,
    };

    private static DiskResource Of(DiskReport disk) => new()
    {
        Id = disk.Id.ToString("N"),
        Path = disk.Path,
        State = disk.State,
        Problem = disk.Problem.Length > 0 ? $"{disk.Problem}." : "",
        FreeBytes = (ulong)disk.FreeBytes,
        UsedBytes = (ulong)disk.UsedBytes,
        WriteMs = Math.Round(disk.WriteMs, 3),
        SyncMs = Math.Round(disk.SyncMs, 3),
        Errors = disk.Errors,
    };
}
