using System.Collections.Immutable;
using System.Net;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text.Json;
using Akka.Configuration;
using Cluster.Node.Hosting;
using Cluster.Node.Hosting.Options;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Integration.Hosting;

/// <summary>Whole nodes in this process, on ports that were free, with their data in a directory of the test's own.</summary>
internal sealed class TestNodes(int count) : IAsyncDisposable
{
    /// <summary>Longest wait for anything; two cores may be shared by many tests.</summary>
    private static readonly TimeSpan WaitMax = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(50);

    private readonly string _data = Directory.CreateTempSubdirectory("myrmidon-nodes").FullName;
    private readonly ImmutableArray<int> _journalPorts = FreePorts(count);
    private readonly Dictionary<int, NodeHost> _running = [];
    private readonly HttpClient _http = new();

    /// <summary>Settings of all nodes beside those that every test has.</summary>
    public Dictionary<string, string> More { get; } = [];

    public Task StartAllAsync() => Task.WhenAll(Enumerable.Range(0, count).Select(StartAsync));

    public async Task StartAsync(int index)
    {
        var host = new NodeHost(Options(index), Config.Empty, NullLoggerFactory.Instance);
        lock (_running) _running.Add(index, host);
        using var limit = new CancellationTokenSource(WaitMax);
        await host.StartAsync(limit.Token);
    }

    /// <summary>Starts another node with the settings of one that runs, and stops it whatever comes of it.</summary>
    public async Task StartTwinAsync(int index)
    {
        var twin = new NodeHost(Options(index), Config.Empty, NullLoggerFactory.Instance);
        try
        {
            await twin.StartAsync(CancellationToken.None);
        }
        finally
        {
            await twin.StopAsync();
        }
    }

    /// <summary>Where a node has its data.</summary>
    public string DataOf(int index) => Path.Combine(_data, $"node-{index}");

    /// <summary>Starts a node that must refuse; what it says.</summary>
    /// <param name="change">Other settings than the node has.</param>
    public async Task<string> StartRefusedAsync(int index, Func<NodeOptions, NodeOptions>? change = null)
    {
        var host = new NodeHost(change?.Invoke(Options(index)) ?? Options(index), Config.Empty, NullLoggerFactory.Instance);
        try
        {
            using var limit = new CancellationTokenSource(WaitMax);
            var start = host.StartAsync(limit.Token);
            if (await Task.WhenAny(start, host.Ended) == start) return (await Assert.ThrowsAsync<NodeStartException>(() => start)).Message;
            await limit.CancelAsync();
            await ((Task)start).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            return (await host.Ended).Reason;
        }
        finally
        {
            await host.StopAsync();
        }
    }

    /// <summary>Starts a node that will wait, and stops it once that holds.</summary>
    public async Task StartUntilAsync(int index, Func<bool> holds)
    {
        var host = new NodeHost(Options(index), Config.Empty, NullLoggerFactory.Instance);
        using var limit = new CancellationTokenSource(WaitMax);
        var start = host.StartAsync(limit.Token);
        while (!holds())
        {
            Assert.False(start.IsCompleted || limit.IsCancellationRequested, "the node did not wait as it should");
            await Task.Delay(Pause);
        }
        await limit.CancelAsync();
        await ((Task)start).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await host.StopAsync();
    }

    public Task StopAsync(int index)
    {
        NodeHost? host;
        lock (_running) _running.Remove(index, out host);
        return host!.StopAsync();
    }

    public async Task<(HttpStatusCode Status, JsonElement Body)> GetAsync(int index, string path) =>
        await ReadAsync(await _http.GetAsync(Url(index, path)));

    public Task<string> TextAsync(int index, string path) => _http.GetStringAsync(Url(index, path));

    public async Task<(HttpStatusCode Status, JsonElement Body)> PostAsync(int index, string path, object body) =>
        await ReadAsync(await _http.PostAsJsonAsync(Url(index, path), body));

    public async Task<(HttpStatusCode Status, JsonElement Body)> DeleteAsync(int index, string path) =>
        await ReadAsync(await _http.DeleteAsync(Url(index, path)));

    /// <param name="ifMatch">An ETag as it came, or null.</param>
    public async Task<(HttpStatusCode Status, string? ETag, JsonElement Body)> SendAsync(
        int index, HttpMethod method, string path, object? body, string? ifMatch)
    {
        using var request = new HttpRequestMessage(method, Url(index, path));
        if (body is not null) request.Content = JsonContent.Create(body);
        if (ifMatch is not null) request.Headers.TryAddWithoutValidation("If-Match", ifMatch);
        using var answer = await _http.SendAsync(request);
        var (status, read) = await ReadAsync(answer);
        return (status, answer.Headers.ETag?.Tag, read);
    }

    /// <summary>Asks again until the answer is as wanted; the last answer is the message when it never is.</summary>
    public Task<JsonElement> EventuallyAsync(int index, string path, Func<JsonElement, bool> wanted) => EventuallyAsync(index, path, HttpStatusCode.OK, wanted);

    /// <param name="code">Null: any.</param>
    public async Task<JsonElement> EventuallyAsync(int index, string path, HttpStatusCode? code, Func<JsonElement, bool> wanted)
    {
        var started = TimeProvider.System.GetTimestamp();
        while (true)
        {
            var (status, body) = await GetAsync(index, path);
            if ((code is null || status == code) && wanted(body)) return body;
            Assert.True(TimeProvider.System.GetElapsedTime(started) < WaitMax, $"{path} is still {(int)status} {body}");
            await Task.Delay(Pause);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await Task.WhenAll(_running.Keys.ToArray().Select(StopAsync));
        _http.Dispose();
        Directory.Delete(_data, recursive: true);
    }

    private NodeOptions Options(int index)
    {
        var flags = new Dictionary<string, string>
        {
            ["name"] = $"node-{index}",
            ["data"] = Path.Combine(_data, $"node-{index}"),
            ["api-port"] = "0",
            ["nbd-port"] = "0",
            ["mesh-port"] = "0",
            ["remote-port"] = "0",
            ["journal-port"] = _journalPorts[index].ToString(System.Globalization.CultureInfo.InvariantCulture),
        };
        if (count > 1)
        {
            flags["seeds"] = string.Join(',', _journalPorts.Select(port => $"127.0.0.1:{port}"));
            flags["bootstrap-expect"] = count.ToString(System.Globalization.CultureInfo.InvariantCulture);
        }
        var settings = NodeSettings.Load(flags, More.ToDictionary(pair => NodeSetting.All.Single(setting => setting.Key == pair.Key).Variable, pair => pair.Value), null);
        Assert.Equal("", settings.Error);
        return settings.Options!;
    }

    public Uri Url(int index, string path) => new(_running[index].Api!, path);

    private static async Task<(HttpStatusCode, JsonElement)> ReadAsync(HttpResponseMessage answer)
    {
        var text = await answer.Content.ReadAsStringAsync();
        return (answer.StatusCode, text.Length > 0 ? JsonDocument.Parse(text).RootElement : default);
    }

    private static ImmutableArray<int> FreePorts(int count)
    {
        var listeners = Enumerable.Range(0, count).Select(_ => new TcpListener(IPAddress.Loopback, 0)).ToArray();
        foreach (var listener in listeners) listener.Start();
        ImmutableArray<int> ports = [.. listeners.Select(listener => ((IPEndPoint)listener.LocalEndpoint).Port)];
        foreach (var listener in listeners) listener.Stop();
        return ports;
    }
}
