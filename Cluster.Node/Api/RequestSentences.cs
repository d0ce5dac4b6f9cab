using System.Text.Json;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Http;

namespace Cluster.Node.Api;

/// <summary>What to tell a client whose request the framework refused: one sentence, without the framework's own terms.</summary>
internal static partial class RequestSentences
{
    /// <summary>Types as the framework names them, and what a client may send for one.</summary>
    private static readonly (string Type, string Right)[] Types =
    [
        ("UInt64", "a whole number, 0 or more"), ("ulong", "a whole number, 0 or more"), ("Int64", "a whole number"), ("Int32", "a whole number"), ("int", "a whole number"),
        ("Double", "a number"), ("Boolean", "true or false"), ("bool", "true or false"), ("String", "text in quotes"),
    ];

    public static string Of(HttpContext http, BadHttpRequestException bad) => bad switch
    {
        { InnerException: JsonException json } => OfJson(json),
        { StatusCode: StatusCodes.Status400BadRequest } when bad.Message.StartsWith("Implicit body inferred", StringComparison.Ordinal) =>
            "The request has no body: send the JSON that /openapi/v1.json describes.",
        { StatusCode: StatusCodes.Status400BadRequest } when Unbound().Match(bad.Message) is { Success: true } match =>
            $"The query parameter {QueryParameters.NameOf(http, match.Groups["name"].Value)} is \"{match.Groups["value"].Value}\": use {Right(match.Groups["type"].Value) ?? "what /openapi/v1.json describes"}.",
        { StatusCode: StatusCodes.Status400BadRequest } => bad.Message.EndsWith('.') ? bad.Message : bad.Message + ".",
        _ => Of(http, bad.StatusCode),
    };

    public static string Of(HttpContext http, int code) => code switch
    {
        StatusCodes.Status413PayloadTooLarge => $"The request's body is too large: send at most {ApiServer.RequestBytesMax} bytes.",
        StatusCodes.Status415UnsupportedMediaType => "The request's body is not JSON: send it with Content-Type application/json.",
        StatusCodes.Status405MethodNotAllowed =>
            $"{http.Request.Path} does not take {http.Request.Method}: /openapi/v1.json lists what each path takes.",
        StatusCodes.Status404NotFound => $"There is nothing at {http.Request.Path}: /openapi/v1.json lists all paths.",
        _ => $"The request was refused with {code}: /openapi/v1.json lists all paths and what they take.",
    };

    private static string OfJson(JsonException json)
    {
        var where = string.IsNullOrEmpty(json.Path) || json.Path == "$" ? "" : $" at {json.Path.TrimStart('$').TrimStart('.')}";
        var cut = json.Message.IndexOf(" Path: ", StringComparison.Ordinal);
        var what = (cut < 0 ? json.Message : json.Message[..cut]).TrimEnd('.')
            .Replace("'Cluster.Node.Api.", "'", StringComparison.Ordinal).Replace(" .NET member", " member", StringComparison.Ordinal);
        if (Unconverted().Match(what) is { Success: true } match) what = $"use {Right(match.Groups["type"].Value) ?? "an object"}";
        return $"The request's body is not the JSON that is expected{where}: {what}; see /openapi/v1.json.";
    }

    private static string? Right(string type) => type.Contains("Dictionary`2", StringComparison.Ordinal) ? null
        : type.Contains("List`1", StringComparison.Ordinal) ? "a list"
        : Types.FirstOrDefault(known => type.TrimEnd(']', '?').Split('.')[^1].Split('[')[^1] == known.Type).Right;

    [GeneratedRegex("^Failed to bind parameter \"(?<type>\\S+) (?<name>\\S+)\" from \"(?<value>.*)\"", RegexOptions.Singleline)]
    private static partial Regex Unbound();

    [GeneratedRegex("^The JSON value could not be converted to (?<type>\\S+)$")]
    private static partial Regex Unconverted();
}
