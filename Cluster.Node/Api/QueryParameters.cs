using System.Reflection;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Metadata;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Routing;

namespace Cluster.Node.Api;

/// <summary>
/// Refuses query parameters that the path does not take. One that is misspelt must not be ignored: without its `namespace` a request is about another volume.
/// What is scraped and probed, /metrics and /v1/health, takes anything.
/// </summary>
internal static class QueryParameters
{
    private static readonly PathString[] TakeAnything = ["/metrics", "/v1/health", "/openapi"];

    public static async Task CheckAsync(HttpContext http, RequestDelegate next)
    {
        if (http.Request.Query.Count > 0 && http.GetEndpoint() is RouteEndpoint endpoint && !TakeAnything.Any(path => http.Request.Path.StartsWithSegments(path)))
        {
            var known = Known(endpoint).Select(parameter => parameter.Query).ToArray();
            if (http.Request.Query.Keys.FirstOrDefault(name => !known.Contains(name, StringComparer.OrdinalIgnoreCase)) is { } unknown)
            {
                var right = known.Length == 0 ? $"{http.Request.Path} takes none" : $"use {string.Join(", ", known)}";
                await Answers.Problem(ControlStatus.Invalid, $"The query parameter \"{unknown}\" is not known: {right}.").ExecuteAsync(http);
                return;
            }
        }
        await next(http);
    }

    /// <summary>The query parameter that a handler's parameter is read from.</summary>
    public static string NameOf(HttpContext http, string parameter) =>
        http.GetEndpoint() is { } endpoint ? Known(endpoint).FirstOrDefault(known => known.Parameter == parameter).Query ?? parameter : parameter;

    private static IEnumerable<(string? Parameter, string Query)> Known(Endpoint endpoint) => endpoint.Metadata.OfType<IParameterBindingMetadata>()
        .Select(bound => (bound.ParameterInfo.Name, bound.ParameterInfo.GetCustomAttribute<FromQueryAttribute>()?.Name))
        .Where(one => one.Item2 is not null).Select(one => (one.Item1, one.Item2!));
}
