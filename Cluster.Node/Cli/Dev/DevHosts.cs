using System.Diagnostics;
using System.Globalization;
using System.Net.NetworkInformation;
using System.Net.Sockets;

namespace Cluster.Node.Cli.Dev;

/// <summary>
/// Makes each node of a local cluster look like a machine: a network namespace with an address of its own, and a small disk (an ext4 image)
/// as its data directory. Part of the cluster's shape, so that the same names are used at every start.
/// </summary>
/// <param name="Id">In the names of namespaces and links, which are the machine's.</param>
/// <param name="Subnet">The nodes' network is 10.231.Subnet.0/24; the machine itself is .254 in it.</param>
internal sealed record DevHosts(string Id, int Subnet, ulong DiskBytes)
{
    public const ulong DiskBytesUsual = 2UL << 30;

    /// <summary>A node's store has at least eight segments of 64 MiB.</summary>
    public const ulong DiskBytesMin = 768UL << 20;

    private const int SubnetsMax = 250;

    private static readonly (string Program, string Package)[] Programs =
    [
        ("ip", "iproute2"), ("nft", "nftables"), ("nsenter", "util-linux"), ("mkfs.ext4", "e2fsprogs"), ("mount", "mount"),
        ("fallocate", "util-linux"),
    ];

    private string Bridge => $"my{Id}";

    public static DevHosts Choose(ulong diskBytes)
    {
        Check();
        var taken = NetworkInterface.GetAllNetworkInterfaces().SelectMany(link => link.GetIPProperties().UnicastAddresses)
            .Where(address => address.Address.AddressFamily == AddressFamily.InterNetwork).Select(address => address.Address.ToString()).ToArray();
        var first = Random.Shared.Next(SubnetsMax);
        var subnet = Enumerable.Range(0, SubnetsMax).Select(step => (first + step) % SubnetsMax)
            .Where(number => !taken.Any(address => address.StartsWith($"10.231.{Number(number)}.", StringComparison.Ordinal))).ToArray();
        if (subnet.Length == 0) throw new DevException("No network 10.231.N.0/24 is free: stop other clusters with namespaces.");
        return new DevHosts(Random.Shared.Next(1 << 24).ToString("x6", CultureInfo.InvariantCulture), subnet[0], diskBytes);
    }

    public string AddressOf(int index) => $"10.231.{Number(Subnet)}.{Number(index + 1)}";

    /// <summary>What runs a program in the node's namespace; it keeps the pid.</summary>
    public IEnumerable<string> Enter(int index) => ["nsenter", $"--net=/run/netns/{Namespace(index)}"];

    /// <summary>Makes the network and mounts the disks. What a killed supervisor left of them goes first.</summary>
    public async Task UpAsync(ClusterFile file, int nodes)
    {
        Check();
        await DownAsync(file, nodes);
        await HostTool.RunAsync("ip", "link", "add", Bridge, "type", "bridge");
        await HostTool.RunAsync("ip", "addr", "add", $"10.231.{Number(Subnet)}.254/24", "dev", Bridge);
        await HostTool.RunAsync("ip", "link", "set", Bridge, "up");
        for (var index = 0; index < nodes; index++)
        {
            await ConnectAsync(index);
            await MountAsync(file, index);
        }
    }

    /// <summary>Takes away what is there of it. The images stay: they are the nodes' data.</summary>
    public async Task DownAsync(ClusterFile file, int nodes)
    {
        for (var index = 0; index < nodes; index++)
        {
            if (IsMounted(file.DataOf(index))) await HostTool.RunAsync("umount", file.DataOf(index));
            if (HasLink(Link(index))) await HostTool.RunAsync("ip", "link", "del", Link(index));
            if (File.Exists($"/run/netns/{Namespace(index)}")) await HostTool.RunAsync("ip", "netns", "del", Namespace(index));
        }
        if (HasLink(Bridge)) await HostTool.RunAsync("ip", "link", "del", Bridge);
    }

    /// <summary>From now on the node gets nothing from those nodes; from others, and from the machine itself, it does.</summary>
    public Task DropAsync(int index, IEnumerable<int> from)
    {
        var addresses = string.Join(", ", from.Select(AddressOf));
        return FilterAsync(index, $$"""
            table inet chaos {
              chain in {
                type filter hook input priority 0;
                ip saddr { {{addresses}} } drop;
              }
            }
            """);
    }

    /// <summary>The node gets everything again.</summary>
    public Task HealAsync(int index) => FilterAsync(index, "");

    private static bool IsMounted(string directory) =>
        File.ReadLines("/proc/self/mounts").Any(line => line.Split(' ')[1] == directory);

    private static bool HasLink(string name) => Directory.Exists($"/sys/class/net/{name}") || NetworkInterface.GetAllNetworkInterfaces()
        .Any(link => link.Name == name);

    private static string Number(int value) => value.ToString(CultureInfo.InvariantCulture);

    private static void Check()
    {
        if (!Environment.IsPrivilegedProcess) throw new DevException("Nodes in namespaces need root: run this as root.", ExitCode.Usage);
        foreach (var (program, package) in Programs)
        {
            if (HostTool.Find(program) is null) throw new DevException($"Nodes in namespaces need the program {program}: install {package}.");
        }
    }

    private async Task ConnectAsync(int index)
    {
        var (name, link) = (Namespace(index), Link(index));
        await HostTool.RunAsync("ip", "netns", "add", name);
        await HostTool.RunAsync("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name);
        await HostTool.RunAsync("ip", "link", "set", link, "master", Bridge, "up");
        await HostTool.RunAsync("ip", "-n", name, "addr", "add", $"{AddressOf(index)}/24", "dev", "eth0");
        await HostTool.RunAsync("ip", "-n", name, "link", "set", "eth0", "up");
        await HostTool.RunAsync("ip", "-n", name, "link", "set", "lo", "up");
    }

    private async Task MountAsync(ClusterFile file, int index)
    {
        var image = file.DataOf(index) + ".img";
        if (!File.Exists(image))
        {
            await using (var made = new FileStream(image, FileMode.CreateNew)) made.SetLength((long)DiskBytes);
            // No blocks kept back for root, which the node runs as: full is full.
            await HostTool.RunAsync("mkfs.ext4", "-q", "-F", "-m", "0", image);
        }
        Directory.CreateDirectory(file.DataOf(index));
        await HostTool.RunAsync("mount", "-o", "loop,noatime", image, file.DataOf(index));
    }

    /// <summary>Replaces the filter at once.</summary>
    private Task FilterAsync(int index, string table) => HostTool.RunWithAsync($"table inet chaos\ndelete table inet chaos\n{table}\n",
        "nsenter", $"--net=/run/netns/{Namespace(index)}", "nft", "-f", "-");

    private string Namespace(int index) => $"myrmidon-{Id}-{Number(index)}";

    private string Link(int index) => $"my{Id}-{Number(index)}";
}

/// <summary>Runs the machine's own programs; one that fails or hangs is a <see cref="DevException"/> with what it said.</summary>
internal static class HostTool
{
    private const string Path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    private static readonly TimeSpan TimeMax = TimeSpan.FromSeconds(60);

    /// <summary>The program's file, or null.</summary>
    public static string? Find(string program) =>
        Path.Split(':').Select(directory => System.IO.Path.Combine(directory, program)).FirstOrDefault(File.Exists);

    public static Task RunAsync(string program, params string[] arguments) => RunWithAsync("", program, arguments);

    public static async Task RunWithAsync(string input, string program, params string[] arguments)
    {
        if (await TryAsync(input, program, arguments) is { } error)
        {
            throw new DevException($"{program} {string.Join(' ', arguments)} failed: {error}");
        }
    }

    /// <summary>What it said on its way to a failure; null when it succeeded.</summary>
    public static async Task<string?> TryAsync(string input, string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(Find(program) ?? program, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["PATH"] = Path;
        using var process = Process.Start(start)!;
        var (output, error) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        await process.StandardInput.WriteAsync(input);
        process.StandardInput.Close();
        using var limit = new CancellationTokenSource(TimeMax);
        try
        {
            await process.WaitForExitAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            return $"it still ran after {TimeMax.TotalSeconds:0} s";
        }
        return process.ExitCode == 0 ? null : $"{await output}{await error}".Trim() is { Length: > 0 } said ? said : $"exit {process.ExitCode}";
    }
}
