using System.Collections.Immutable;
using System.Globalization;
using Cluster.Node.Api;
using Cluster.Node.Placement;

namespace Cluster.Node.Cli.Output;

/// <summary>Resources as rows and lines for people.</summary>
internal static class Describe
{
    public static readonly string[] VolumeColumns = ["NAMESPACE", "NAME", "SIZE", "USED", "STATE", "OWNER", "COPIES", "ATTACHED", "REASON"];

    public static readonly string[] SnapshotColumns = ["NAME", "CREATED", "SEQUENCE", "UNIQUE", "SHARED"];

    public static readonly string[] SnapshotGroupColumns = ["NAME", "STATE", "CREATED", "VOLUMES"];

    public static readonly string[] NodeColumns = ["NAME", "STATE", "ZONE", "FREE", "CAPACITY", "NBD", "API", "VERSION"];

    public static string[] Row(VolumeResource volume) =>
    [
        volume.Namespace, volume.Name, SizeText.Format(volume.SizeBytes), volume.UsedBytes is { } used ? SizeText.Format(used) : "-", volume.State, volume.Owner ?? "-", Copies(volume),
        volume.Attachment.Node ?? "-", volume.Reason,
    ];

    public static string[] Row(NodeResource node) =>
    [
        node.Name, node.State + (node.CordonedForRestart ? ", cordoned for restart" : node.Cordoned ? ", cordoned" : ""), Or(node.Zone), SizeText.Format(FreeBytes(node)),
        SizeText.Format(node.CapacityBytes), Or(node.Nbd), Or(node.Api), Or(node.Version),
    ];

    /// <summary>Its disks may have more free than the node may use of them.</summary>
    private static ulong FreeBytes(NodeResource node) => Math.Min(node.FreeBytes, node.CapacityBytes > node.UsedBytes ? node.CapacityBytes - node.UsedBytes : 0);

    public static IEnumerable<(string Name, string Value)> Lines(VolumeResource volume)
    {
        yield return ("Name", volume.Name);
        yield return ("Namespace", volume.Namespace);
        yield return ("Id", volume.Id);
        yield return ("Size", $"{SizeText.Format(volume.SizeBytes)} ({volume.SizeBytes} bytes)");
        if (volume is { UsedBytes: { } used, StoredBytes: { } stored, SnapshotBytes: { } kept })
            yield return ("Space", $"{SizeText.Format(used)} used, {SizeText.Format(stored)} on each copy{(volume.SharedBytes > 0 ? $", {SizeText.Format(volume.SharedBytes.Value)} shared with its origin" : "")}{(kept > 0 ? $", and {SizeText.Format(kept)} {KeptFor(volume)}" : "")}");
        if (volume.Source is { } source) yield return ("Cloned from", $"{TextOf(source)} ({source.Id}, sequence {source.Sequence})");
        yield return ("State", volume.Reason.Length > 0 ? $"{volume.State}: {volume.Reason}" : volume.State);
        yield return ("Owner", volume.Owner is null ? "-" : $"{volume.Owner} (epoch {volume.Epoch})");
        yield return ("Copies", $"{Copies(volume)}, acknowledges with at least {volume.InSyncMin}");
        foreach (var replica in volume.Replicas) yield return ($"  {replica.Node}", ReplicaLine(replica));
        yield return ("Attachment", volume.Attachment.Node is { } node ? $"{volume.Attachment.Mode}, on {node}" : volume.Attachment.Mode);
        if (volume.Usage.Length > 0) yield return ("Used", volume.Usage);
        if (LimitsOf(volume) is { Length: > 0 } limits) yield return ("Limits", limits);
        if (volume.Snapshots > 0) yield return ("Snapshots", string.Create(CultureInfo.InvariantCulture, $"{volume.Snapshots}"));
        foreach (var (key, value) in volume.Labels.OrderBy(label => label.Key, StringComparer.Ordinal)) yield return ("Label",
            $"{key}={value}");
    }

    /// <summary>What a clone of a deleted snapshot stands on is kept by the origin.</summary>
    private static string KeptFor(VolumeResource volume) =>
        volume.Snapshots > 0 ? "for snapshots and clones" : "for clones of deleted snapshots (myrmidon volume list -o json has their source)";

    private static string LimitsOf(VolumeResource volume)
    {
        if (VolumeLabels.Read(volume.Labels.ToImmutableSortedDictionary(StringComparer.Ordinal)).Policy is not { } policy) return "";
        List<string> limits = [];
        if (policy.IopsMax is { } ios) limits.Add(string.Create(CultureInfo.InvariantCulture, $"{ios} I/Os per second"));
        if (policy.BandwidthMax is { } bytes) limits.Add($"{SizeText.Format((ulong)bytes)} per second");
        if (limits.Count == 0) return "";
        if (policy.Burst is { } burst) limits.Add(string.Create(CultureInfo.InvariantCulture, $"bursts of what {burst.TotalSeconds} s save"));
        if (volume.Throttling is { } waited)
            limits.Add(string.Create(CultureInfo.InvariantCulture, $"{waited.Ios} requests have waited {waited.WaitedMilliseconds} ms in all, {waited.Waiting} wait"));
        return string.Join(", ", limits);
    }

    public static string TextOf(VolumeSourceResource source) => source.Snapshot is { } snapshot ? $"snapshot {source.Volume}/{snapshot}" : $"volume {source.Volume}";

    public static string[] Row(SnapshotResource snapshot) => [snapshot.Name, Time(snapshot.CreatedAt), $"{snapshot.Sequence}", SizeText.Format(snapshot.UniqueBytes), Shared(snapshot)];

    private static string Shared(SnapshotResource snapshot) => snapshot.SharedBytes is { } shared ? SizeText.Format(shared) : "unknown";

    public static IEnumerable<(string Name, string Value)> Lines(SnapshotResource snapshot)
    {
        yield return ("Name", snapshot.Name);
        yield return ("Volume", new VolumeName(snapshot.Namespace, snapshot.Volume).ToString());
        yield return ("Created", Time(snapshot.CreatedAt));
        yield return ("Sequence", $"{snapshot.Sequence}");
        yield return ("Unique", string.Create(CultureInfo.InvariantCulture, $"{SizeText.Format(snapshot.UniqueBytes)} on each copy, for {snapshot.UniqueBlocks} blocks"));
        yield return ("Shared", snapshot.SharedBytes is null ? Shared(snapshot) : $"{Shared(snapshot)} on each copy, with the volume, other snapshots or clones");
    }

    public static string[] Row(SnapshotGroupResource group) => [group.Name, group.State, Time(group.CreatedAt), string.Join(", ", group.Snapshots.Select(VolumeOf))];

    public static IEnumerable<(string Name, string Value)> Lines(SnapshotGroupResource group)
    {
        yield return ("Name", group.Name);
        yield return ("State", group.State);
        yield return ("Created", Time(group.CreatedAt));
        foreach (var snapshot in group.Snapshots) yield return ("Volume", $"{VolumeOf(snapshot)}: {(snapshot.Exists ? $"snapshot {snapshot.Name} at sequence {snapshot.Sequence}" : "no snapshot")}");
    }

    private static string VolumeOf(SnapshotGroupMemberResource snapshot) => new VolumeName(snapshot.Namespace, snapshot.Volume).ToString();

    public static string Time(DateTimeOffset at) => at.ToString("yyyy-MM-dd HH:mm:ss'Z'", CultureInfo.InvariantCulture);

    private static string WhyCordoned(NodeResource node) => node switch
    {
        { CordonedForRestart: true } => ", cordoned for its restart (no new copies are placed here until it has started anew)",
        { Cordoned: true } => ", cordoned (no new copies are placed here)",
        _ => "",
    };

    public static IEnumerable<(string Name, string Value)> Lines(NodeResource node)
    {
        yield return ("Name", node.Name);
        yield return ("Id", node.Id);
        yield return ("State", node.State + WhyCordoned(node));
        yield return ("Zone", Or(node.Zone));
        yield return ("Space", $"{SizeText.Format(node.UsedBytes)} of data, of {SizeText.Format(node.CapacityBytes)}; {SizeText.Format(FreeBytes(node))} free");
        yield return ("Promised", Promised(node));
        foreach (var disk in node.Disks) yield return ("Disk", DiskLine(disk));
        if (node.MissingBytes > 0) yield return ("Missing", $"{SizeText.Format(node.MissingBytes)} of blocks on disks that are missing, not mended from other copies yet");
        yield return ("API", Or(node.Api));
        yield return ("NBD", Or(node.Nbd));
        yield return ("Version", Or(node.Version));
    }

    private static string DiskLine(DiskResource disk) => disk.State is not ("missing" or "failed")
        ? string.Create(CultureInfo.InvariantCulture,
            $"{disk.Path}: {disk.State}, {SizeText.Format(disk.UsedBytes)} of segments, {SizeText.Format(disk.FreeBytes)} free, write {disk.WriteMs:0.0} ms, sync {disk.SyncMs:0.0} ms, {disk.Errors} errors ({disk.Id}){(disk.Problem.Length > 0 ? $": {disk.Problem}" : "")}")
        : $"{disk.Path}: {disk.State}, {disk.Problem} ({disk.Id})";

    private static string Promised(NodeResource node)
    {
        var share = node.CapacityBytes == 0 ? "" : string.Create(CultureInfo.InvariantCulture, $", {100.0 * node.ProvisionedBytes / node.CapacityBytes:0} % of the capacity");
        var limit = node.OverCommitPercent is { } percent ? string.Create(CultureInfo.InvariantCulture, $"at most {percent} %") : "no limit";
        return $"volumes of {SizeText.Format(node.ProvisionedBytes)}{share} ({limit})";
    }

    public static IEnumerable<(string Name, string Value)> Lines(StatusResource status)
    {
        yield return ("Cluster", status.ClusterId);
        yield return ("State", status.State);
        foreach (var reason in status.Reasons) yield return ("", reason);
        foreach (var warning in status.Warnings) yield return ("Warning", warning);
        yield return ("Nodes", string.Create(CultureInfo.InvariantCulture, $"{status.NodesUp} of {status.NodesTotal} up"));
        var byState = string.Join(", ", status.Volumes.OrderBy(state => state.Key, StringComparer.Ordinal)
            .Select(state => $"{state.Value} {state.Key}"));
        yield return ("Volumes", status.VolumesTotal == 0 ? "none" : $"{status.VolumesTotal} ({byState})");
        yield return ("Journal leader", Or(status.JournalLeader));
        yield return ("Control nodes", Or(string.Join(", ", status.ControlNodes.Select(node => node.Reachable ? node.Name : $"{node.Name} (unreachable)"))));
        yield return ("Placement on", Or(status.PlacementHost));
        yield return ("Version", $"{status.Version} (answered by {status.AnsweredBy})");
    }

    /// <summary>"2/3 in sync", or for one copy a warning that it is the only one.</summary>
    public static string Copies(VolumeResource volume)
    {
        var inSync = volume.Replicas.Count(replica => replica.State == "in-sync");
        return volume.SingleCopy ? $"{inSync}/1 in sync (single copy)" : $"{inSync}/{volume.ReplicaCount} in sync";
    }

    public static string FullName(VolumeResource volume) => new VolumeName(volume.Namespace, volume.Name).ToString();

    /// <summary>The copy's state; while it is caught up, how far that is.</summary>
    public static string ReplicaLine(ReplicaResource replica) => replica.State == "catching-up" && replica.CatchUpBytesTotal > 0
        ? $"{replica.State} ({SizeText.Format(replica.CatchUpBytesSent)} of about {SizeText.Format(replica.CatchUpBytesTotal)} sent{Pace(replica)})"
        : replica.State;

    private static string Pace(ReplicaResource replica) => replica is { CatchUpBytesPerSecond: > 0, CatchUpEtaSeconds: { } seconds }
        ? $", {SizeText.Format(replica.CatchUpBytesPerSecond)} per second, about {TimeSpan.FromSeconds(seconds):c} left" : "";

    private static string Or(string? text) => string.IsNullOrEmpty(text) ? "-" : text;
}
