using System.Net;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using Cluster.Node.Cli;

namespace Cluster.Tests.Integration.Cli;

public sealed class PreflightCommandSpecs : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-preflight").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact(DisplayName = "On this host the command looks at everything, leaves nothing behind, and its exit code is what it found")]
    public async Task A_real_run()
    {
        var (exit, output, error) = await RunAsync("-o", "json");
        Assert.Empty(error);
        var report = JsonNode.Parse(output)!;
        var findings = report["findings"]!.AsArray();
        Assert.Contains(findings, finding => finding!["check"]!.GetValue<string>() == "kernel" && finding["level"]!.GetValue<string>() == "ok");
        Assert.Contains(findings, finding => finding!["check"]!.GetValue<string>() == "data-dir" && finding["level"]!.GetValue<string>() == "ok");
        Assert.All(findings, finding => Assert.Equal(finding!["level"]!.GetValue<string>() == "ok", finding["fix"]!.GetValue<string>().Length == 0));
        Assert.Equal(report["ok"]!.GetValue<bool>() ? ExitCode.Ok : ExitCode.Failure, exit);
        Assert.Empty(Directory.EnumerateFileSystemEntries(_directory));
    }

    [Fact(DisplayName = "A port that somebody listens on fails the check, and the table says what to type")]
    public async Task A_taken_port()
    {
        using var taken = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        taken.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        taken.Listen();
        var port = ((IPEndPoint)taken.LocalEndPoint!).Port;
        var (exit, output, _) = await RunAsync("--nbd-port", $"{port}");
        Assert.Equal(ExitCode.Failure, exit);
        Assert.Contains($"nothing can listen on 127.0.0.1:{port}", output, StringComparison.Ordinal);
        Assert.Contains($"nbd-port: see who has it: ss -ltnp 'sport = :{port}'", output, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "Where a node runs on the data directory its ports may be taken")]
    public async Task A_running_node()
    {
        using var held = new FileStream(Path.Combine(_directory, "lock"), FileMode.Create, FileAccess.ReadWrite, FileShare.None);
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        var (_, output, _) = await RunAsync("--nbd-port", $"{((IPEndPoint)taken.LocalEndpoint).Port}");
        Assert.Contains("a node runs on it", output, StringComparison.Ordinal);
        Assert.Contains("as it must be while the node runs", output, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "A wrong setting is refused as the node refuses it")]
    public async Task Wrong_settings()
    {
        var (exit, _, error) = await RunAsync("--mesh-port", "many");
        Assert.Equal(ExitCode.Usage, exit);
        Assert.Contains("--mesh-port in the command line is 'many'", error, StringComparison.Ordinal);
    }

    private async Task<(int Exit, string Output, string Error)> RunAsync(params string[] more)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        // Free ports, whatever else runs on this machine.
        string[] ports = ["--api-port", "0", "--nbd-port", "0", "--mesh-port", "0", "--remote-port", "0", "--journal-port", "0"];
        var given = more.Length > 0 && Array.IndexOf(ports, more[0]) is >= 0 and var at ? [.. ports[..at], .. ports[(at + 2)..]] : ports;
        var exit = await CommandLine.RunAsync(["preflight", "--data", _directory, .. given, .. more], output, error);
        return (exit, output.ToString(), error.ToString());
    }
}
