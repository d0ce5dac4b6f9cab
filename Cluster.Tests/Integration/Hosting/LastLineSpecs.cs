using System.Net;
using System.Net.Sockets;
using Cluster.Node.Cli;
using Cluster.Node.Hosting;
using Cluster.Tests.Integration.EndToEnd;
using NodeProcess = Cluster.Node.Cli.Dev.NodeProcess;

namespace Cluster.Tests.Integration.Hosting;

/// <summary>What an operator finds who looks at the end of a log.</summary>
public sealed class LastLineSpecs
{
    [Fact(DisplayName = "The last line of a node that does not start says why, also after Akka has run and been stopped; every line has the log's format")]
    public async Task Reason_is_last()
    {
        var data = Directory.CreateTempSubdirectory("myrmidon-last-line");
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        var port = ((IPEndPoint)taken.LocalEndpoint).Port;
        var program = NodeProcess.Program();
        try
        {
            var node = await Tool.RunAsync(program[0], [.. program[1..], "node", "--name", "n1", "--data", data.FullName, "--host", "127.0.0.1", "--api-port", "0", "--mesh-port", "0",
                "--remote-port", "0", "--journal-port", "0", "--nbd-port", $"{port}"]);
            var lines = node.Error.TrimEnd().Split('\n');
            Assert.True((ExitCode.Failure, "") == (node.Exit, node.Output), $"{node}");
            Assert.StartsWith($"myrmidon: NBD can't listen on port {port} (myrmidon.nbd-port): ", lines[^1], StringComparison.Ordinal);
            Assert.Contains(lines, line => line.EndsWith(" INF n1 Node: stops", StringComparison.Ordinal));
            Assert.All(lines[..^1], line => Assert.Matches(@"^\d{4}-\d\d-\d\dT\S+Z (INF|WRN|ERR|CRT) n1 \w+: ", line));
        }
        finally
        {
            data.Delete(recursive: true);
        }
    }

    [Fact(DisplayName = "A node whose host is no address of this host does not start, and its last line names the setting")]
    public async Task Foreign_host()
    {
        var data = Directory.CreateTempSubdirectory("myrmidon-foreign-host");
        var program = NodeProcess.Program();
        try
        {
            var node = await Tool.RunAsync(program[0], [.. program[1..], "node", "--name", "n1", "--data", data.FullName, "--host", "192.0.2.1"]);
            Assert.True((ExitCode.Failure, "") == (node.Exit, node.Output), $"{node}");
            Assert.StartsWith("myrmidon: The address 192.0.2.1 (myrmidon.host) is none of this host's", node.Error.TrimEnd().Split('\n')[^1], StringComparison.Ordinal);
        }
        finally
        {
            data.Delete(recursive: true);
        }
    }

    [Fact(DisplayName = "A node that may open too few files does not start, and says how many it needs")]
    public async Task Open_files()
    {
        var data = Directory.CreateTempSubdirectory("myrmidon-open-files");
        var program = NodeProcess.Program();
        try
        {
            var node = await Tool.RunAsync("prlimit", ["--nofile=256:256", .. program, "node", "--name", "n1", "--data", data.FullName]);
            Assert.True((ExitCode.Failure, "") == (node.Exit, node.Output), $"{node}");
            Assert.Equal(OpenFiles.Refusal(256), node.Error.TrimEnd()["myrmidon: ".Length..]);
            Assert.Empty(data.GetFileSystemInfos());
        }
        finally
        {
            data.Delete(recursive: true);
        }
    }

    [Fact(DisplayName = "A data directory that can't be used is told with its own reason; that another node may run on it only if its lock is held")]
    public void Data_directory()
    {
        var root = Directory.CreateTempSubdirectory("myrmidon-data");
        try
        {
            var file = Path.Combine(root.FullName, "file");
            File.WriteAllText(file, "");
            Assert.Equal($"The data directory {file} can't be used: it is a file, not a directory. Give another --data.", DataDirectory.Open(file).Error);
            Assert.DoesNotContain("another node", DataDirectory.Open("/proc/myrmidon").Error, StringComparison.Ordinal);
            var data = Path.Combine(root.FullName, "data");
            using var held = DataDirectory.Open(data).Directory;
            Assert.NotNull(held);
            Assert.Equal($"The data directory {data} is in use: is another node running on it? Stop that one, or give another --data.", DataDirectory.Open(data).Error);
        }
        finally
        {
            root.Delete(recursive: true);
        }
    }
}
