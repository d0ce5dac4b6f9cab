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
    /// sentence; nothing on the disk is changed.
    /// </summary>
    public static async Task<int> InspectAsync(string given, Printer printer, Func<StoreInspection, int> work)
    {
        if (Find(given, out var reason) is not { } directory)
        {
            printer.Error(reason);
            return ExitCode.NotFound;
        }
        // The store asks for a loop; offline nothing runs on it.
        await using var loop = new EpollLoop("inspection", NullLogger.Instance, _ => { });
        loop.Start();
        var (status, failure, inspection) = StoreInspection.Open(new FileDisk(directory), loop, NullLogger.Instance, FurtherOf(directory));
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
        if (!home.TryLock().IsOk)
        {
            printer.Error($"the store at {directory} is in use by another process: stop the node first.");
            return ExitCode.Conflict;
        }
        if (DiskRosterFile.Forget(home, disk) is { } refusal)
        {
            printer.Error($"{refusal}.");
            return ExitCode.Conflict;
        }
        printer.PrintDone(new JsonObject { ["disk"] = disk.ToString("N"), ["forgotten"] = true }, $"Disk {disk:N} is forgotten: its directory, or an empty one in its place, is taken into use if it is named in myrmidon.disks.");
        return ExitCode.Ok;
    }

    /// <summary>Where the store's other disks were last: what an open finds there, it judges itself.</summary>
    private static IDisk[] FurtherOf(string directory)
    {
        using var home = new FileDisk(directory);
        return DiskRosterFile.TryRead(home, out var roster, out _) == IoStatus.Ok ? [.. roster!.Entries.Select(entry => FileDisk.Further(entry.Path))] : [];
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
