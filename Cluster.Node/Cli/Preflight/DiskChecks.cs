using Cluster.Csi.Attach;
using Cluster.Node.Hosting.Options;
using Cluster.Node.Store;

namespace Cluster.Node.Cli.Preflight;

/// <summary>The further disks of the store, and where the node's sockets are to be.</summary>
internal static class DiskChecks
{
    /// <summary>Below this a disk is hardly worth its segments.</summary>
    private const long RoomWantedBytes = 1L << 30;

    /// <summary>One finding for each path, with what is worst about it.</summary>
    /// <param name="inUse">A node runs on the data directory.</param>
    public static IEnumerable<Finding> Disks(IPreflightHost host, NodeOptions options, bool inUse) =>
        options.Disks.Select(path => Disk(host, $"disk {path}", path, host.Exists(Path.Combine(options.DataDirectory, "store", SuperblockFile.Name)), inUse));

    public static IEnumerable<Finding> Sockets(IPreflightHost host, NodeOptions options, bool inUse)
    {
        foreach (var (key, set, name) in ((string, string, string)[])[("csi-socket", options.CsiSocket, "csi.sock"), ("docker-socket", options.DockerSocket, "docker.sock")])
        {
            var path = Path.GetFullPath(set.Length > 0 ? set : Path.Combine(options.DataDirectory, name));
            // The default is in the data directory, which has a finding of its own.
            if (set == "off") yield return Finding.Ok(key, "off");
            else if (set.Length == 0 && !host.Exists(options.DataDirectory)) yield return Finding.Ok(key, $"{path}, once the data directory is there");
            else yield return Socket(key, path, host.LookAtSocket(path), inUse);
        }
    }

    private static Finding Socket(string key, string path, SocketLook look, bool inUse) =>
        look.Error.Length == 0 ? Finding.Ok(key, path)
        : look.IsServed && inUse ? Finding.Ok(key, $"{path} is served, as it must be while the node runs")
        : Finding.Fail(key, look.Error, look.IsServed ? $"see who has it: ss -lxp src {path}; or give another --{key}" : $"make its directory (mkdir -p {Path.GetDirectoryName(path)}), or give another --{key}, or off");

    private static Finding Disk(IPreflightHost host, string check, string path, bool hasStore, bool inUse)
    {
        if (!host.Exists(path)) return Finding.Fail(check, $"there is no {path}", $"mkdir -p {path}, with a file system of its own mounted there; or name a device, or take it out of --disks");
        var look = host.LookAtDisk(path);
        var what = look.IsDevice ? "block device" : "directory";
        var mounts = MountTable.Parse(host.Read("/proc/self/mountinfo") ?? "");
        if (look.IsDevice && mounts.FirstOrDefault(mount => mount.Source == path) is { } mounted)
            return Finding.Fail(check, $"the device is mounted at {mounted.Path}", $"umount {mounted.Path}, if what is there is not needed; or name a directory in it");
        if (look.Error.Length > 0) return Finding.Fail(check, $"the {what} can't be used: {look.Error}", "run as its owner (a device: root), and see that it can be written");
        if (look.IsTaken && !inUse) return Finding.Fail(check, "the device is in use by another process, or is part of something else", $"see what has it: lsblk {path}; lsof {path}");
        if (look.Content == DiskContent.Other) return Finding.Fail(check, $"the {what} can't be taken into use: {look.What}",
            look.IsDevice ? $"another device; or blkdiscard -z {path}, and what it holds is gone" : "an empty directory, or one that was a disk of this store");
        // None is made beside disks of one.
        if (look.Content == DiskContent.Labelled && !hasStore) return Finding.Fail(check, $"the {what} is a disk of store {look.What}, and there is no store in the data directory", "the data directory of that store, or an empty disk");
        var found = $"{what}, {(look.Content == DiskContent.Labelled ? $"a disk of store {look.What}" : "empty")}, {SizeText.Format((ulong)Math.Max(0, look.FreeBytes))} free";
        if (!look.IsDevice && MountTable.Holding(mounts, path) is { Mount.Path: "/" })
            return Finding.Warn(check, $"{found}; it is on the root file system", $"mount the disk there, if it is one: mount DEVICE {path}");
        return look.FreeBytes < RoomWantedBytes && look.Content == DiskContent.Blank ? Finding.Warn(check, found, "a larger disk") : Finding.Ok(check, found);
    }
}
