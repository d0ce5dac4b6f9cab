using System.Globalization;
using System.IO.Hashing;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Metadata;
using Microsoft.AspNetCore.Mvc;
using Microsoft.Net.Http.Headers;

namespace Cluster.Node.Api;

/// <summary>Turns control results into HTTP answers; errors are problem details (RFC 9457) with one sentence as their detail.</summary>
internal static class Answers
{
    /// <summary>Seconds after which a client may try again what is unavailable now.</summary>
    private const int RetryAfterSeconds = 1;

    /// <summary>Between the revision and the hash in the ETag of a GET.</summary>
    private const char HashMark = '.';

    public static IResult Of<T>(ControlResult<T> result)
        where T : class =>
        result.IsOk ? TypedResults.Ok(result.Value) : Failed(result);

    /// <summary>A volume with its ETag.</summary>
    public static IResult Of(HttpContext http, ControlResult<VolumeResource> result, string? createdAt = null)
    {
        if (!result.IsOk) return Failed(result);
        http.Response.Headers.ETag = Quote(result.Value!.Revision);
        return createdAt is null ? TypedResults.Ok(result.Value) : TypedResults.Created(createdAt, result.Value);
    }

    /// <summary>
    /// A volume as it is now. Its state, its copies and what it holds change without its revision, so the ETag has a hash of all that is answered behind the revision: who has that
    /// already (If-None-Match) gets 304 and no body.
    /// </summary>
    public static IResult OfGet(HttpContext http, ControlResult<VolumeResource> result)
    {
        if (!result.IsOk) return Failed(result);
        var hash = XxHash3.HashToUInt64(JsonSerializer.SerializeToUtf8Bytes(result.Value, ApiServer.Json));
        var tag = Quote($"{result.Value!.Revision}{HashMark}{hash.ToString("x16", CultureInfo.InvariantCulture)}");
        http.Response.Headers.ETag = tag;
        return IsKnown(http, tag) ? TypedResults.StatusCode(StatusCodes.Status304NotModified) : TypedResults.Ok(result.Value);
    }

    /// <summary>The problem; one that is Stale carries the volume's present ETag.</summary>
    public static IResult Failed<T>(ControlResult<T> result)
        where T : class => Problem(result.Status, result.Reason, null, result.Revision);

    public static IResult Problem(ControlStatus status, string reason, int? code = null, string? revision = null)
    {
        var (defaultCode, title) = Describe(status);
        var problem = new ProblemDetails
        {
            Type = $"urn:myrmidon:problem:{title.ToLower(CultureInfo.InvariantCulture).Replace(' ', '-')}",
            Title = title,
            Status = code ?? defaultCode,
            Detail = reason,
        };
        if (revision is not null) problem.Extensions["revision"] = revision;
        return new WithHeaders(TypedResults.Problem(problem), revision);
    }

    /// <summary>The revision that If-Match names; null without the header or for "*". False for what is not one strong ETag, and where a change can't depend on it.</summary>
    public static bool TryReadIfMatch(HttpContext http, out string? revision, out ControlFailure? failure)
    {
        (revision, failure) = (null, null);
        var text = http.Request.Headers.IfMatch.ToString().Trim();
        if (text is "" or "*") return true;
        if (text.Length >= 3 && text[0] == '"' && text[^1] == '"' && text.IndexOf('"', 1) == text.Length - 1)
        {
            revision = text[1..^1].Split(HashMark)[0];
            if (HttpMethods.IsGet(http.Request.Method) || TakesIfMatch(http)) return true;
            failure = new ControlFailure(ControlStatus.Invalid, $"{http.Request.Path} takes no If-Match: leave the header out, or send *.");
            return false;
        }
        failure = new ControlFailure(ControlStatus.Invalid,
            $"The If-Match header {text} is not one ETag: send the ETag of a GET as it came, in quotes.");
        return false;
    }

    /// <summary>What may be answered with 412 does, as in the OpenAPI document.</summary>
    private static bool TakesIfMatch(HttpContext http) => http.GetEndpoint()?.Metadata.OfType<IProducesResponseTypeMetadata>()
        .Any(answer => answer.StatusCode == StatusCodes.Status412PreconditionFailed) ?? false;

    /// <summary>Whether it is one of the ETags of If-None-Match, by the weak comparison of RFC 9110, or that is "*".</summary>
    private static bool IsKnown(HttpContext http, string current) => EntityTagHeaderValue.TryParseList([.. http.Request.Headers.IfNoneMatch.OfType<string>()], out var known)
        && known.Any(tag => tag.Equals(EntityTagHeaderValue.Any) || tag.Compare(new EntityTagHeaderValue(current), useStrongComparison: false));

    private static string Quote(string revision) => $"\"{revision}\"";

    private static (int Code, string Title) Describe(ControlStatus status) => status switch
    {
        ControlStatus.Invalid => (StatusCodes.Status400BadRequest, "Invalid request"),
        ControlStatus.NotFound => (StatusCodes.Status404NotFound, "Not found"),
        ControlStatus.Conflict or ControlStatus.Impossible => (StatusCodes.Status409Conflict, "Conflict"),
        ControlStatus.Stale => (StatusCodes.Status412PreconditionFailed, "Changed meanwhile"),
        ControlStatus.Failed => (StatusCodes.Status500InternalServerError, "Failed"),
        ControlStatus.TimedOut => (StatusCodes.Status504GatewayTimeout, "No answer in time"),
        _ => (StatusCodes.Status503ServiceUnavailable, "Unavailable"),
    };

    private sealed class WithHeaders(Microsoft.AspNetCore.Http.HttpResults.ProblemHttpResult problem, string? revision) : IResult
    {
        public Task ExecuteAsync(HttpContext httpContext)
        {
            if (revision is not null) httpContext.Response.Headers.ETag = Quote(revision);
            if (problem.StatusCode == StatusCodes.Status503ServiceUnavailable)
            {
                httpContext.Response.Headers.RetryAfter = RetryAfterSeconds.ToString(CultureInfo.InvariantCulture);
            }
            return problem.ExecuteAsync(httpContext);
        }
    }
}
