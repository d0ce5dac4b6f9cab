using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Cluster.Node.Cli;

/// <summary>The JSON that the API answered, or the exit code and the sentence for the user.</summary>
/// <param name="Status">HTTP's; 0: nobody answered.</param>
/// <param name="Question">What was asked of whom, such as "http://10.0.0.5:5705 to GET /v1/volumes"; "" where nobody was asked.</param>
internal sealed record ApiAnswer(JsonNode? Body, int ExitCode, string Error, int Status = 0, string Question = "")
{
    public bool IsOk => ExitCode == Cli.ExitCode.Ok;

    /// <summary>Throws AnswerException when the answer is JSON of another shape: of another service, or of a node of another version.</summary>
    public T As<T>()
    {
        try
        {
            return Body.Deserialize<T>(ApiClient.Json) ?? throw Other(typeof(T), "nothing");
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or NotSupportedException)
        {
            throw Other(typeof(T), $"JSON that is none ({e.Message.ReplaceLineEndings(" ").TrimEnd('.')})");
        }
    }

    private AnswerException Other(Type wanted, string got) => new(
        $"Asked {Question} for a {wanted.Name.Replace("Resource", "", StringComparison.Ordinal).Replace("[]", " list", StringComparison.Ordinal)}, got {got}: is that the API of a Myrmidon node, and is its version this one's (myrmidon status)?");
}

/// <summary>An answer of another shape than this program knows; the message is for the user.</summary>
internal sealed class AnswerException(string message) : Exception(message);

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
            return Read((int)response.StatusCode, text, $"{Endpoint.GetLeftPart(UriPartial.Authority)} to {method} {path}");
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

    private ApiAnswer Read(int status, string text, string question)
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
        if (status is >= 200 and < 300) return new ApiAnswer(body, ExitCode.Ok, "", status, question);
        var detail = DetailOf(body) ?? $"{Endpoint} answered {status} without a reason.";
        return new ApiAnswer(body, CodeOf(status), detail, status, question);
    }

    /// <summary>RFC 9457's; null where the answer is of another shape.</summary>
    private static string? DetailOf(JsonNode? body) =>
        body is JsonObject problem && problem["detail"] is JsonValue value && value.TryGetValue<string>(out var detail) ? detail : null;

    private static int CodeOf(int status) => status switch
    {
        400 or 413 or 415 => ExitCode.Usage,
        404 => ExitCode.NotFound,
        409 or 412 => ExitCode.Conflict,
        503 or 504 => ExitCode.Unreachable,
        _ => ExitCode.Failure,
    };
}
