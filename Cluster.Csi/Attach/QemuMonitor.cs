using System.Globalization;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Cluster.Csi.Attach;

/// <summary>The control connection of qemu-storage-daemon (QMP): one JSON object a line; events may come between a command and its answer.</summary>
internal sealed class QemuMonitor : IDisposable
{
    private readonly Socket _socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly byte[] _buffer = new byte[AttachLimits.MonitorLineBytes];
    private int _filled;

    private QemuMonitor()
    {
    }

    /// <summary>Throws IOException or SocketException if there is nobody.</summary>
    public static async Task<QemuMonitor> ConnectAsync(string path, CancellationToken cancellation)
    {
        var monitor = new QemuMonitor();
        try
        {
            await monitor._socket.ConnectAsync(new UnixDomainSocketEndPoint(path), cancellation).ConfigureAwait(false);
            if ((await monitor.ReadAsync(cancellation).ConfigureAwait(false))["QMP"] is null) throw new IOException("the daemon's monitor does not speak QMP");
            await monitor.RunAsync("qmp_capabilities", null, cancellation).ConfigureAwait(false);
            return monitor;
        }
        catch
        {
            monitor.Dispose();
            throw;
        }
    }

    /// <summary>What the command returned. Throws IOException with the daemon's own words when it refuses.</summary>
    public async Task<JsonNode?> RunAsync(string command, JsonObject? arguments, CancellationToken cancellation)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limit.CancelAfter(AttachLimits.MonitorMs);
        var request = new JsonObject { ["execute"] = command };
        if (arguments is not null) request["arguments"] = arguments;
        ReadOnlyMemory<byte> line = Encoding.UTF8.GetBytes(request.ToJsonString() + "\n");
        try
        {
            while (line.Length > 0) line = line[await _socket.SendAsync(line, limit.Token).ConfigureAwait(false)..];
            while (true)
            {
                var answer = await ReadAsync(limit.Token).ConfigureAwait(false);
                if (answer["error"] is { } error) throw new IOException($"the daemon refuses {command}: {error["desc"]}");
                if (answer.ContainsKey("return")) return answer["return"];
            }
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            throw new IOException($"the daemon did not answer {command} in {AttachLimits.MonitorMs / 1000} s");
        }
    }

    public void Dispose() => _socket.Dispose();

    private async Task<JsonObject> ReadAsync(CancellationToken cancellation)
    {
        while (true)
        {
            var end = _buffer.AsSpan(0, _filled).IndexOf((byte)'\n');
            if (end >= 0)
            {
                var text = Encoding.UTF8.GetString(_buffer, 0, end);
                _buffer.AsSpan((end + 1).._filled).CopyTo(_buffer);
                _filled -= end + 1;
                return Parse(text);
            }
            if (_filled == _buffer.Length) throw new IOException("the daemon's monitor sent a line that is too long");
            var count = await _socket.ReceiveAsync(_buffer.AsMemory(_filled), cancellation).ConfigureAwait(false);
            if (count == 0) throw new IOException("the daemon closed its monitor");
            _filled += count;
        }
    }

    private static JsonObject Parse(string text)
    {
        try
        {
            return JsonNode.Parse(text) as JsonObject ?? throw new IOException("the daemon's monitor sent something that is no object");
        }
        catch (JsonException failure)
        {
            throw new IOException(string.Create(CultureInfo.InvariantCulture, $"the daemon's monitor sent a line that is no JSON: {failure.Message}"), failure);
        }
    }
}
