using System.Globalization;
using Cluster.Node.Cli.Dev;

namespace Cluster.Node.Cli.Chaos;

/// <summary>Namespaces and disks of a dev cluster. Filling and freeing one disk exclude each other by the caller.</summary>
internal sealed class DevChaosHosts(ClusterFile file, DevHosts hosts, IReadOnlyList<string> nodes) : IChaosHosts
{
    private const string Ballast = "ballast-";
    private const long BlockBytes = 4096;

    /// <summary>Pieces of the ballast, each at least half of what is free: a disk is full after few.</summary>
    private const int PiecesMax = 200;

    public Task DropAsync(string node, IEnumerable<string> from) => hosts.DropAsync(IndexOf(node), from.Select(IndexOf));

    public Task HealAsync(string node) => hosts.HealAsync(IndexOf(node));

    public async Task FillDiskAsync(string node)
    {
        var directory = file.DataOf(IndexOf(node));
        var drive = new DriveInfo(directory);
        var number = Directory.GetFiles(directory, Ballast + "*").Length;
        // The file system needs blocks for its own lists too: what does not fit is asked for by halves.
        for (var bytes = drive.AvailableFreeSpace; bytes >= BlockBytes && number < PiecesMax; bytes = Math.Min(bytes / 2, drive.AvailableFreeSpace))
        {
            var piece = Path.Combine(directory, Ballast + number.ToString(CultureInfo.InvariantCulture));
            var error = await HostTool.TryAsync("", "fallocate", "-l", bytes.ToString(CultureInfo.InvariantCulture), piece);
            if (error is null) number++;
            else File.Delete(piece);
        }
    }

    public Task FreeDiskAsync(string node)
    {
        foreach (var piece in Directory.GetFiles(file.DataOf(IndexOf(node)), Ballast + "*")) File.Delete(piece);
        return Task.CompletedTask;
    }

    private int IndexOf(string node) => nodes.Index().First(known => known.Item == node).Index;
}
