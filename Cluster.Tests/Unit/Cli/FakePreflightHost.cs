using System.Net;
using Cluster.Csi.Attach;
using Cluster.Node.Cli.Preflight;

namespace Cluster.Tests.Unit.Cli;

/// <summary>A host on which everything is as it should be, until a test takes something away.</summary>
internal sealed class FakePreflightHost : IPreflightHost
{
    public const string Data = "/var/lib/myrmidon";

    public string KernelRelease { get; set; } = "6.12.9-amd64";

    /// <summary>What can be read, by path.</summary>
    public Dictionary<string, string> Texts { get; } = new()
    {
        ["/proc/self/limits"] = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 524288               files\n",
        ["/proc/meminfo"] = "MemTotal:       16384000 kB\nMemFree: 1 kB\n",
        ["/proc/self/status"] = "Name:\tmyrmidon\nCapEff:\t000001ffffffffff\n",
        ["/proc/self/mountinfo"] = "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n",
    };

    public HashSet<string> Files { get; } = [Data, "/dev/fuse", "/dev/loop-control", "/var/lib/kubelet"];

    /// <summary>Why a file does not open, by path.</summary>
    public Dictionary<string, string> Locked { get; } = [];

    public HashSet<string> Programs { get; } = [.. HostPrograms.Packages.Keys];

    public string KernelNbdError { get; set; } = "the kernel has no NBD client: modprobe nbd";

    public FileSystemRoom? Space { get; set; } = new(1L << 40, 1L << 39);

    public DirectoryProbe Probe { get; set; } = new("", "", 0.4, InUse: false);

    /// <summary>Ports that are taken, with what the kernel says.</summary>
    public Dictionary<int, string> Taken { get; } = [];

    public ClockState? Time { get; set; } = new(true, 12);

    public Dictionary<string, IReadOnlyList<IPAddress>> Addresses { get; } = [];

    public string? Read(string path) => Texts.GetValueOrDefault(path);

    public bool Exists(string path) => Files.Contains(path);

    public string OpenError(string path) => Locked.GetValueOrDefault(path, "");

    public string? FindProgram(string name) => Programs.Contains(name) ? "/usr/sbin/" + name : null;

    public FileSystemRoom? Room(string path) => Space;

    public DirectoryProbe Try(string directory) => Probe;

    /// <summary>What is on a disk, by path; others are empty directories.</summary>
    public Dictionary<string, DiskLook> Disks { get; } = [];

    public Dictionary<string, SocketLook> Sockets { get; } = [];

    public DiskLook LookAtDisk(string path) => Disks.GetValueOrDefault(path, new DiskLook(false, "", false, DiskContent.Blank, "", 1L << 40));

    public SocketLook LookAtSocket(string path) => Sockets.GetValueOrDefault(path, new SocketLook("", false));

    public string ListenError(IPAddress address, int port) => Taken.GetValueOrDefault(port, "");

    public ClockState? Clock() => Time;

    public Task<IReadOnlyList<IPAddress>> ResolveAsync(string name, CancellationToken cancellation) =>
        Task.FromResult(Addresses.GetValueOrDefault(name, []));
}
