using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Api;

/// <summary>The outermost layer: counts each request, and turns what the framework throws into problem details.</summary>
internal sealed class RequestGuard(RequestDelegate next, Metrics metrics, ILogger<RequestGuard> log)
{
    private readonly Histogram _seconds = metrics.AddHistogram(
        "myrmidon_api_request_seconds", "Time to answer a REST request.", [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10]);

    public async Task InvokeAsync(HttpContext http)
    {
        var started = TimeProvider.System.GetTimestamp();
        try
        {
            await next(http);
            if (http.Response is { HasStarted: false, StatusCode: >= 400, ContentType: null } bare)
            {
                // Routing and the reading of bodies answer some errors with a bare code.
                await WriteAsync(http, bare.StatusCode == StatusCodes.Status404NotFound ? ControlStatus.NotFound : ControlStatus.Invalid,
                    Sentence(http, bare.StatusCode), bare.StatusCode);
            }
        }
        catch (BadHttpRequestException bad)
        {
            await WriteAsync(http, ControlStatus.Invalid, Sentence(http, bad), bad.StatusCode);
        }
        catch (OperationCanceledException) when (http.RequestAborted.IsCancellationRequested)
        {
            // The client is gone; there is nobody to answer.
            http.Abort();
        }
        catch (Exception failure) when (!http.Response.HasStarted)
        {
            log.LogError(failure, "{Method} {Path} failed", http.Request.Method, http.Request.Path);
            await WriteAsync(http, ControlStatus.Unavailable, $"The node failed to answer ({failure.Message}): its log has the details.",
                StatusCodes.Status500InternalServerError);
        }
        finally
        {
            _seconds.Observe(TimeProvider.System.GetElapsedTime(started).TotalSeconds);
            metrics.AddCounter("myrmidon_api_requests_total", "REST requests answered, by status code.",
                ("code", http.Response.StatusCode.ToString(System.Globalization.CultureInfo.InvariantCulture))).Add();
        }
    }

    private static async Task WriteAsync(HttpContext http, ControlStatus status, string reason, int code)
    {
        if (http.Response.HasStarted) return;
        await Answers.Problem(status, reason, code).ExecuteAsync(http);
    }

    private static string Sentence(HttpContext http, BadHttpRequestException bad) => bad switch
    {
        { InnerException: JsonException json } => JsonSentence(json),
        { StatusCode: StatusCodes.Status400BadRequest } => bad.Message.EndsWith('.') ? bad.Message : bad.Message + ".",
        _ => Sentence(http, bad.StatusCode),
    };

    private static string Sentence(HttpContext http, int code) => code switch
    {
        StatusCodes.Status413PayloadTooLarge => $"The request's body is too large: send at most {ApiServer.RequestBytesMax} bytes.",
        StatusCodes.Status415UnsupportedMediaType => "The request's body is not JSON: send it with Content-Type application/json.",
        StatusCodes.Status405MethodNotAllowed =>
            $"{http.Request.Path} does not take {http.Request.Method}: /openapi/v1.json lists what each path takes.",
        StatusCodes.Status404NotFound => $"There is nothing at {http.Request.Path}: /openapi/v1.json lists all paths.",
        _ => $"The request was refused with {code}: /openapi/v1.json lists all paths and what they take.",
    };

    private static string JsonSentence(JsonException json)
    {
        var where = string.IsNullOrEmpty(json.Path) || json.Path == "$" ? "" : $" at {json.Path.TrimStart('$').TrimStart('.')}";
        var cut = json.Message.IndexOf(" Path: ", StringComparison.Ordinal);
        var what = (cut < 0 ? json.Message : json.Message[..cut]).TrimEnd('.')
            .Replace("'Cluster.Node.Api.", "'", StringComparison.Ordinal).Replace(" .NET member", " member", StringComparison.Ordinal);
        return $"The request's body is not the JSON that is expected{where}: {what}; see /openapi/v1.json.";
    }
}
