using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;

namespace Cluster.Tests.Chaos.Devices;

/// <summary>Calls of Docker's daemon, as it makes them, over a plug-in's socket.</summary>
internal static class DockerCalls
{
    public static Task<JsonNode> CallAsync(string socket, string call, object? body) =>
        SendAsync(socket, call, body is null ? "" : System.Text.Json.JsonSerializer.Serialize(body));

    /// <summary>As Docker does: the plug-in's own type of content, and no length of what is sent in pieces.</summary>
    public static async Task<JsonNode> SendAsync(string socket, string call, string body)
    {
        using var http = new HttpClient(new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancellation) =>
            {
                var connection = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                await connection.ConnectAsync(new UnixDomainSocketEndPoint(socket), cancellation);
                return new NetworkStream(connection, ownsSocket: true);
            },
        });
        using var request = new HttpRequestMessage(HttpMethod.Post, $"http://plugin/{call}") { Content = new StringContent(body, Encoding.UTF8) };
        request.Content.Headers.ContentType = MediaTypeHeaderValue.Parse("application/vnd.docker.plugins.v1.2+json");
        request.Headers.TransferEncodingChunked = true;
        using var answer = await http.SendAsync(request);
        Assert.True(answer.IsSuccessStatusCode);
        return JsonNode.Parse(await answer.Content.ReadAsStringAsync())!;
    }
}
