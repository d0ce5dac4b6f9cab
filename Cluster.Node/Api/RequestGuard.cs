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
        // What is got can be asked for its headers alone (RFC 9110): the server leaves the body out, since it has read the method before.
        if (HttpMethods.IsHead(http.Request.Method)) http.Request.Method = HttpMethods.Get;
        try
        {
            await next(http);
            if (http.Response is { HasStarted: false, StatusCode: >= 400, ContentType: null } bare)
            {
                // Routing and the reading of bodies answer some errors with a bare code.
                await WriteAsync(http, bare.StatusCode == StatusCodes.Status404NotFound ? ControlStatus.NotFound : ControlStatus.Invalid,
                    RequestSentences.Of(http, bare.StatusCode), bare.StatusCode);
            }
        }
        catch (BadHttpRequestException bad)
        {
            await WriteAsync(http, ControlStatus.Invalid, RequestSentences.Of(http, bad), bad.StatusCode);
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
}
