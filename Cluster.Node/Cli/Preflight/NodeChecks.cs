using System.Net;
using Cluster.Csi.Attach;
using Cluster.Node.Hosting.Options;
using Cluster.Node.Store;
using static Cluster.Node.Cli.Preflight.HostChecks;

namespace Cluster.Node.Cli.Preflight;

/// <summary>What the node's settings name: its data directory, its ports, its seeds.</summary>
internal static class NodeChecks
{
    /// <summary>The least that `myrmidon.capacity` may be.</summary>
    private const long RoomMinBytes = NodeSetting.CapacityBytesMin;

    private const long RoomWantedBytes = 10L << 30;

    /// <summary>A flushed write waits for this, on the slowest of its copies.</summary>
    private const double SyncWantedMs = 20;

    /// <summary>What is on them is gone with the machine's memory or with the container.</summary>
    private static readonly string[] Fleeting = ["tmpfs", "ramfs", "overlay", "aufs"];

    /// <summary>What is on them comes over a network or through a process: flushes may lie, and stalls are not the disk's.</summary>
    private static readonly string[] Remote = ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "fuse"];

    /// <param name="probe">Null: the directory is not there.</param>
    public static IEnumerable<Finding> Data(IPreflightHost host, NodeOptions options, DirectoryProbe? probe)
    {
        var directory = options.DataDirectory;
        if (probe is null)
        {
            yield return Finding.Fail("data-dir", $"there is no {directory}", $"mkdir -p {directory}; or name another one with --data");
            yield break;
        }
        yield return probe.WriteError.Length > 0
            ? Finding.Fail("data-dir", $"{directory} can't be written: {probe.WriteError}", probe.WriteError.StartsWith("Read-only file system", StringComparison.Ordinal)
                ? $"see why in dmesg, check it (fsck), then: mount -o remount,rw $(df --output=target {directory} | tail -1)" : $"run as its owner, or: chown $(id -u) {directory}")
            : Finding.Ok("data-dir", $"{directory}{(probe.InUse ? ", a node runs on it" : "")}");
        yield return FileSystem(host, directory);
        yield return Room(host, options);
        if (probe.WriteError.Length > 0) yield break;
        yield return probe.PreallocateError.Length > 0
            ? Finding.Warn("data-fallocate", $"{probe.PreallocateError}: a full disk is noticed late, and flushes are slower", "use ext4 or xfs for the data directory")
            : Finding.Ok("data-fallocate", "space can be reserved");
        yield return probe.SyncMs > SyncWantedMs
            ? Finding.Warn("data-sync", Text($"a flush of 4 KiB takes {probe.SyncMs:0.0} ms: every flushed write waits for that"), "use a disk with power-loss protection, and nothing else busy on it")
            : Finding.Ok("data-sync", Text($"a flush of 4 KiB takes {probe.SyncMs:0.0} ms"));
    }

    public static IEnumerable<Finding> Ports(IPreflightHost host, NodeOptions options, bool inUse)
    {
        var bind = options.Host == "localhost" ? IPAddress.Loopback : IPAddress.Parse(options.Host);
        (string Key, int Port)[] ports =
            [("api-port", options.ApiPort), ("nbd-port", options.NbdPort), ("mesh-port", options.MeshPort), ("remote-port", options.RemotePort), ("journal-port", options.JournalPort)];
        foreach (var (key, port) in ports)
        {
            var error = host.ListenError(bind, port);
            if (error.Length == 0) yield return Finding.Ok(key, Text($"{bind}:{port} is free"));
            else if (inUse) yield return Finding.Ok(key, Text($"{bind}:{port} is taken, as it must be while the node runs"));
            else yield return Finding.Fail(key, Text($"nothing can listen on {bind}:{port}: {error}"), Text($"see who has it: ss -ltnp 'sport = :{port}'; or give another --{key} or --host"));
        }
    }

    public static async Task<Finding> SeedsAsync(IPreflightHost host, NodeOptions options, CancellationToken cancellation)
    {
        if (options.Seeds.IsEmpty) return Finding.Ok("seeds", "none: this node forms a cluster of one");
        var unknown = new List<string>();
        var addresses = 0;
        foreach (var seed in options.Seeds)
        {
            var name = NameOf(seed);
            var found = IPAddress.TryParse(name, out _) ? 1 : (await host.ResolveAsync(name, cancellation)).Count;
            addresses += found;
            if (found == 0) unknown.Add(name);
        }
        return unknown.Count == 0
            ? Finding.Ok("seeds", Text($"{options.Seeds.Length} seeds, {addresses} addresses"))
            : Finding.Warn("seeds", $"these names have no address now: {string.Join(", ", unknown)}; the node asks again until they have", "see the spelling of --seeds, and what `getent hosts NAME` says");
    }

    private static Finding FileSystem(IPreflightHost host, string directory)
    {
        if (MountTable.Holding(MountTable.Parse(host.Read("/proc/self/mountinfo") ?? ""), directory) is not { Mount: var mount })
            return Finding.Warn("data-fs", "its file system can't be told", "use ext4 or xfs on a disk of this host");
        var kind = mount.FileSystem;
        if (mount.IsReadOnly) return Finding.Fail("data-fs", $"{mount.Path} is mounted read-only", $"mount -o remount,rw {mount.Path}");
        if (Fleeting.Contains(kind, StringComparer.Ordinal)) return Finding.Fail("data-fs", $"{kind} at {mount.Path}: the copies are gone with the container or the host's memory", "put the data directory on a disk of this host (a container: a volume or hostPath)");
        return Remote.Contains(kind, StringComparer.Ordinal) || kind.StartsWith("fuse.", StringComparison.Ordinal)
            ? Finding.Warn("data-fs", $"{kind} at {mount.Path}: flushes may not reach a disk", "use ext4 or xfs on a disk of this host")
            : Finding.Ok("data-fs", $"{kind} at {mount.Path}");
    }

    private static Finding Room(IPreflightHost host, NodeOptions options)
    {
        if (host.Room(options.DataDirectory) is not { } room) return Finding.Warn("data-room", "the free space can't be told", "df " + options.DataDirectory);
        var (free, total) = (SizeText.Format((ulong)room.AvailableBytes), SizeText.Format((ulong)room.TotalBytes));
        var found = $"{free} of {total} are free";
        if (options.CapacityBytes > room.TotalBytes) return Finding.Fail("data-room", $"{found}, and myrmidon.capacity is {SizeText.Format((ulong)options.CapacityBytes)}", "a larger disk, or a smaller --capacity");
        // A node that is there starts with what room there is: that is when it is needed most.
        if (room.AvailableBytes < RoomMinBytes && host.Exists(Path.Combine(options.DataDirectory, "store", SuperblockFile.Name)))
            return Finding.Warn("data-room", $"{found}: the node that is here starts, and holds writes when its store is full", "trim or delete data, or make room");
        if (room.AvailableBytes < RoomMinBytes) return Finding.Fail("data-room", found, $"make room: a store needs {SizeText.Format((ulong)RoomMinBytes)}");
        return room.AvailableBytes < RoomWantedBytes ? Finding.Warn("data-room", found, "enough for a try; give a node a disk of its own") : Finding.Ok("data-room", found);
    }

    /// <summary>Of "host", "host:port" or "[v6]:port".</summary>
    private static string NameOf(string seed)
    {
        if (seed.StartsWith('[')) return seed[1..seed.IndexOf(']', StringComparison.Ordinal)];
        var colon = seed.IndexOf(':', StringComparison.Ordinal);
        return colon < 0 ? seed : seed[..colon];
    }
}
