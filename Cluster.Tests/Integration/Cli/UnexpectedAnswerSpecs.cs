using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using Cluster.Node.Api;
using Cluster.Node.Cli;
using Cluster.Tests.Integration.Api;

namespace Cluster.Tests.Integration.Cli;

public sealed class UnexpectedAnswerSpecs
{
    [Theory(DisplayName = "An answer of another shape, from another service or version, is told in one sentence that says what was asked of whom")]
    [InlineData("200 OK", """{"hello":"world"}""", "volume", "list")]
    [InlineData("200 OK", """["hello"]""", "volume", "show", "db")]
    [InlineData("200 OK", "null", "node", "list")]
    [InlineData("200 OK", "3", "status")]
    public async Task Other_shapes(string status, string body, params string[] command)
    {
        var (exit, output, error, endpoint) = await RunAsync(status, body, command);
        Assert.Equal(ExitCode.Failure, exit);
        Assert.Equal("", output);
        Assert.StartsWith($"myrmidon: Asked {endpoint} to GET /v1/", error, StringComparison.Ordinal);
        Assert.Contains("is that the API of a Myrmidon node", error, StringComparison.Ordinal);
        Assert.Single(error.TrimEnd().Split('\n'));
    }

    [Theory(DisplayName = "An error whose body is no problem of this API is told with its status")]
    [InlineData("[1]")]
    [InlineData("""{"detail":{"a":1}}""")]
    [InlineData("7")]
    public async Task Other_errors(string body)
    {
        var (exit, _, error, endpoint) = await RunAsync("500 Internal Server Error", body, "volume", "list");
        Assert.Equal(ExitCode.Failure, exit);
        Assert.Equal($"myrmidon: {endpoint}/ answered 500 without a reason.", error.TrimEnd());
    }

    [Fact(DisplayName = "A failure that no verb foresaw is one sentence and exit code 1; its stack trace follows when MYRMIDON_DEBUG asks for it")]
    public async Task Unexpected_failures()
    {
        var (exit, _, error, _) = await RunAsync("200 OK", "[null]", "node", "list");
        Assert.Equal(ExitCode.Failure, exit);
        Assert.StartsWith("myrmidon: 'myrmidon node list' failed unexpectedly: ", error, StringComparison.Ordinal);
        Assert.Contains("With MYRMIDON_DEBUG=1 it says where.", error, StringComparison.Ordinal);
        Assert.Single(error.TrimEnd().Split('\n'));
        Environment.SetEnvironmentVariable(CommandLine.DebugVariable, "1");
        try
        {
            Assert.Contains("   at Cluster.Node.Cli.", (await RunAsync("200 OK", "[null]", "node", "list")).Error, StringComparison.Ordinal);
        }
        finally
        {
            Environment.SetEnvironmentVariable(CommandLine.DebugVariable, null);
        }
    }

    [Theory(DisplayName = "A device that failed is exit code 1, and one that the cluster can't make now is 5")]
    [InlineData(ControlStatus.Failed, 500, ExitCode.Failure)]
    [InlineData(ControlStatus.Unavailable, 503, ExitCode.Unreachable)]
    public async Task Devices(ControlStatus status, int code, int exit)
    {
        var devices = new FakeDevices { Failure = new ControlFailure(status, "Mount failed.") };
        await using var server = await ApiServer.StartAsync(new ApiOptions("node-0", IPAddress.Loopback, 0), new FakeControlPlane(), new FakeRecovery(), devices,
            new Health(TimeProvider.System), new Metrics());
        using var http = new HttpClient();
        var (output, error) = (new CapturedText(), new CapturedText());
        var got = await CommandLine.RunAsync(["volume", "devices", "--endpoint", $"{server.Address}"], output, error);
        // Devices answer only root.
        if (Environment.UserName != "root") return;
        Assert.Equal((exit, "myrmidon: Mount failed."), (got, error.ToString().TrimEnd()));
        Assert.Equal(code, (int)(await http.GetAsync(new Uri(server.Address, "/v1/devices"))).StatusCode);
    }

    [Theory(DisplayName = "What the API answers nothing to is something to parse in json and yaml all the same")]
    [InlineData("json", "{\n  \"done\": true,\n  \"message\": \"Volume db deleted.\"\n}\n")]
    [InlineData("yaml", "done: true\nmessage: Volume db deleted.\n")]
    public async Task Deletions(string format, string text)
    {
        await using var server = await ApiServer.StartAsync(new ApiOptions("node-0", IPAddress.Loopback, 0), new FakeControlPlane(), new FakeRecovery(), new FakeDevices(),
            new Health(TimeProvider.System), new Metrics());
        var (output, error) = (new CapturedText(), new CapturedText());
        foreach (var args in (string[][])[["volume", "create", "db", "--size", "1GiB"], ["volume", "delete", "db", "-o", format]])
        {
            output = new CapturedText();
            Assert.Equal(ExitCode.Ok, await CommandLine.RunAsync([.. args, "--endpoint", $"{server.Address}"], output, error));
        }
        Assert.Equal(text, output.ToString().ReplaceLineEndings("\n"));
        if (format == "json") Assert.True((bool)JsonNode.Parse(output.ToString())!["done"]!);
    }

    private static async Task<(int Exit, string Output, string Error, string Endpoint)> RunAsync(string status, string body, params string[] command)
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var endpoint = $"http://{listener.LocalEndpoint}";
        using var stop = new CancellationTokenSource();
        var serving = ServeAsync(listener, status, body, stop.Token);
        var (output, error) = (new CapturedText(), new CapturedText());
        var exit = await CommandLine.RunAsync([.. command, "--endpoint", endpoint], output, error);
        await stop.CancelAsync();
        await serving;
        return (exit, output.ToString(), error.ToString(), endpoint);
    }

    /// <summary>Answers every request with the same.</summary>
    private static async Task ServeAsync(TcpListener listener, string status, string body, CancellationToken cancellation)
    {
        try
        {
            while (true)
            {
                using var client = await listener.AcceptTcpClientAsync(cancellation);
                var stream = client.GetStream();
                var request = new byte[8192];
                var length = 0;
                while (!Encoding.ASCII.GetString(request, 0, length).Contains("\r\n\r\n", StringComparison.Ordinal)) length += await stream.ReadAsync(request.AsMemory(length), cancellation);
                await stream.WriteAsync(Encoding.UTF8.GetBytes($"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {body.Length}\r\nConnection: close\r\n\r\n{body}"), cancellation);
            }
        }
        catch (OperationCanceledException)
        {
        }
    }
}
