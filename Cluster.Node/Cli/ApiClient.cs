using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Cluster.Node.Cli;

/// <summary>The JSON that the API answered, or the exit code and the sentence for the user.</summary>
/// <param name="Status">HTTP's; 0: nobody answered.</param>
internal sealed record ApiAnswer(JsonNode? Body, int ExitCode, string Error, int Status = 0)
{
    public bool IsOk => ExitCode == Cli.ExitCode.Ok;

    public T As<T>() => Body.Deserialize<T>(ApiClient.Json) ?? throw new JsonException($"the API answered no {typeof(T).Name}");
}

/// <summary>The CLI's way to a node's REST API.</summary>
internal sealed class ApiClient : IDisposable
{
    public const string DefaultEndpoint = "http://127.0.0.1:5705";

    public const string EndpointVariable = "MYRMIDON_ENDPOINT";

    /// <summary>How long the CLI waits for an answer, in seconds; the server's own waits are shorter.</summary>
    public const int TimeoutSeconds = 60;

    private const int ErrorTextMax = 200;

    public static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web) { WriteIndented = true };

    private readonly HttpClient _http;

    public ApiClient(Uri endpoint, TimeSpan? timeout = null)
    {
        Endpoint = endpoint;
        _http = new HttpClient { BaseAddress = endpoint, Timeout = timeout ?? TimeSpan.FromSeconds(TimeoutSeconds) };
        _http.DefaultRequestHeaders.Accept.Add(new MediaTypeWithQualityHeaderValue("application/json"));
    }

    public Uri Endpoint { get; }

    public Task<ApiAnswer> GetAsync(string path, CancellationToken cancellation) =>
        SendAsync(HttpMethod.Get, path, null, null, cancellation);

    public Task<ApiAnswer> PostAsync(string path, object? body, CancellationToken cancellation) =>
        SendAsync(HttpMethod.Post, path, body, null, cancellation);

    public async Task<ApiAnswer> SendAsync(HttpMethod method, string path, object? body, string? ifMatch, CancellationToken cancellation)
    {
        using var request = new HttpRequestMessage(method, path);
        if (body is not null) request.Content = JsonContent.Create(body, body.GetType(), options: Json);
        if (ifMatch is not null) request.Headers.TryAddWithoutValidation("If-Match", $"\"{ifMatch}\"");
        try
        {
            using var response = await _http.SendAsync(request, cancellation);
            var text = await response.Content.ReadAsStringAsync(cancellation);
            return Read((int)response.StatusCode, text);
        }
        catch (HttpRequestException failure)
        {
            return new ApiAnswer(null, ExitCode.Unreachable,
                $"No node answers at {Endpoint} ({failure.Message}): start one, or name another with --endpoint or {EndpointVariable}.");
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            return new ApiAnswer(null, ExitCode.Unreachable,
                $"The node at {Endpoint} did not answer within {_http.Timeout.TotalSeconds:0} s: "
                + $"ask another one with --endpoint, or look at its log.");
        }
    }

    public void Dispose() => _http.Dispose();

    private ApiAnswer Read(int status, string text)
    {
        JsonNode? body = null;
        if (text.Length > 0)
        {
            try
            {
                body = JsonNode.Parse(text);
            }
            catch (JsonException)
            {
                var shown = text.Length <= ErrorTextMax ? text : text[..ErrorTextMax];
                return new ApiAnswer(null, ExitCode.Failure,
                    $"{Endpoint} answered {status} with no JSON ({shown}): is it a Myrmidon node?");
            }
        }
        if (status is >= 200 and < 300) return new ApiAnswer(body, ExitCode.Ok, "", status);
        var detail = (string?)body?["detail"] ?? $"{Endpoint} answered {status} without a reason.";
        return new ApiAnswer(body, CodeOf(status), detail, status);
    }

    private static int CodeOf(int status) => status switch
    {
        400 or 413 or 415 => ExitCode.Usage,
        404 => ExitCode.NotFound,
        409 or 412 => ExitCode.Conflict,
        503 or 504 => ExitCode.Unreachable,
        _ => ExitCode.Failure,
    };
}
