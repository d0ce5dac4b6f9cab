using System.Text.Json.Nodes;
using Cluster.Messages.Model;
using Cluster.Node.Cli.Output;
using Cluster.Node.Ingress;
using Cluster.Node.Store;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Node.Cli.Stores;

/// <summary>From what a user names to the store of a node that does not run.</summary>
internal static class StoreDirectory
{
    private const string StoreName = "store";

    /// <summary>
    /// Opens the store for a look and runs the work with it. A directory without one, one in use and one that can't be opened are told in one
    /// sentence; nothing on the disk is changed, and its file system may be read-only.
    /// </summary>
    /// <param name="disks">Where further disks of the store are now; what is not there is looked for where it was last.</param>
    public static async Task<int> InspectAsync(string given, IReadOnlyList<string> disks, Printer printer, Func<StoreInspection, int> work)
    {
        if (Find(given, out var reason) is not { } directory)
        {
            printer.Error(reason);
            return ExitCode.NotFound;
        }
        var further = FurtherOf(directory, disks, out var refusal);
        if (further is null)
        {
            printer.Error(refusal);
            return ExitCode.Usage;
        }
        // The store asks for a loop; offline nothing runs on it.
        await using var loop = new EpollLoop("inspection", NullLogger.Instance, _ => { });
        loop.Start();
        var (status, failure, inspection) = StoreInspection.Open(new FileDisk(directory, readOnly: true), loop, NullLogger.Instance, further);
        if (inspection is null)
        {
            printer.Error(status == IoStatus.Busy ? $"{failure}: stop the node first (a running one checks itself: myrmidon volume scrub)." : $"{failure}.");
            return status == IoStatus.Busy ? ExitCode.Conflict : ExitCode.Failure;
        }
        using (inspection) return work(inspection);
    }

    /// <summary>Takes a disk out of the list of a store that goes on without it.</summary>
    public static int Forget(string given, Guid disk, Printer printer)
    {
        if (Find(given, out var reason) is not { } directory)
        {
            printer.Error(reason);
            return ExitCode.NotFound;
        }
        using var home = new FileDisk(directory);
        var locked = home.TryLock();
        if (!locked.IsOk)
        {
            printer.Error(locked.Status == IoStatus.Busy ? $"the store at {directory} is in use by another process: stop the node first."
                : $"the store at {directory} can't be changed: {locked.Detail}.");
            return locked.Status == IoStatus.Busy ? ExitCode.Conflict : ExitCode.Failure;
        }
        if (DiskRosterFile.Forget(home, disk) is { } refusal)
        {
            printer.Error($"{refusal}.");
            return ExitCode.Conflict;
        }
        printer.PrintDone(new JsonObject { ["disk"] = disk.ToString("N"), ["forgotten"] = true }, $"Disk {disk:N} is forgotten: its directory, or an empty one in its place, is taken into use if it is named in myrmidon.disks.");
        return ExitCode.Ok;
    }

    /// <summary>
    /// The store's other disks: those that are named, which their labels say are its, and for the others of its list where they were last. What an open finds there, it
    /// judges itself. Null: a path is no disk of this store.
    /// </summary>
    private static IDisk[]? FurtherOf(string directory, IReadOnlyList<string> disks, out string refusal)
    {
        refusal = "";
        using var home = new FileDisk(directory, readOnly: true);
        // Without a list that can be read the open says what is wrong with it.
        if (DiskRosterFile.TryRead(home, out var roster, out _) != IoStatus.Ok) roster = null;
        var found = new HashSet<Guid>();
        foreach (var path in disks)
        {
            using var disk = FileDisk.Further(path, readOnly: true);
            var status = DiskLabel.TryRead(disk, out var label, out var reason);
            if (status != IoStatus.Ok) refusal = $"{path} (--disks) is no disk of a store: {(reason.Length > 0 ? reason.TrimEnd('.') : "it has no label")}.";
            else if (roster is not null && label.Store != roster.Store) refusal = $"{path} (--disks) is a disk of store {label.Store}, and the store in {directory} is {roster.Store}.";
            else if (!found.Add(label.Disk)) refusal = $"{path} (--disks) is a disk that was named already, by its label ({label.Disk}).";
            if (refusal.Length > 0) return null;
        }
        var last = roster?.Entries.Where(entry => !found.Contains(entry.Disk)).Select(entry => entry.Path).Except(disks, StringComparer.Ordinal) ?? [];
        return [.. disks.Concat(last).Select(path => FileDisk.Further(path, readOnly: true))];
    }

    private static string? Find(string given, out string reason)
    {
        reason = "";
        foreach (var directory in (string[])[Path.Combine(given, StoreName), given])
        {
            if (File.Exists(Path.Combine(directory, SuperblockFile.Name))) return directory;
        }
        var nodes = Directory.Exists(given)
            ? Directory.EnumerateDirectories(given).Where(child => File.Exists(Path.Combine(child, StoreName, SuperblockFile.Name))).Order(StringComparer.Ordinal).ToArray()
            : [];
        reason = nodes.Length > 0
            ? $"{given} holds several nodes: name the data directory of one, such as {nodes[0]}."
            : $"There is no store in {given}: name a node's data directory, as in 'myrmidon node --data'.";
        return null;
    }
}
