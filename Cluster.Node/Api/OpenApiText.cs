using System.Globalization;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.OpenApi;

namespace Cluster.Node.Api;

/// <summary>The head of the OpenAPI document, and the headers of its operations.</summary>
internal static class OpenApiText
{
    private const string ETag = "ETag";
    private const string Stale = "412";
    private const string Known = "304";

    public static void Describe(OpenApiOptions options)
    {
        options.AddDocumentTransformer((document, _, _) =>
        {
            document.Info.Title = "Myrmidon";
            document.Info.Version = "v1";
            document.Info.Description =
                "Replicated block storage for containers. Errors are problem details (RFC 9457) whose detail is one sentence. "
                + "A volume's ETag may be sent back in If-Match: the change is refused with 412 when the volume has changed meanwhile.";
            document.Info.License = new OpenApiLicense { Name = "Apache-2.0", Identifier = "Apache-2.0" };
            document.Servers?.Clear();
            return Task.CompletedTask;
        });
        options.AddOperationTransformer((operation, context, _) =>
        {
            AddHeaders(operation, context);
            return Task.CompletedTask;
        });
    }

    /// <summary>What answers a volume answers its ETag, what may be answered with 412 takes If-Match, and with 304 If-None-Match.</summary>
    private static void AddHeaders(OpenApiOperation operation, OpenApiOperationTransformerContext context)
    {
        foreach (var type in context.Description.SupportedResponseTypes)
        {
            if (type.Type == typeof(VolumeResource)) AddETag(operation, type.StatusCode.ToString(CultureInfo.InvariantCulture), "The volume's revision.");
        }
        AddCondition(operation, Known, "Of what is answered.", "If-None-Match", "A volume's ETag as it came, in quotes: the answer is 304, and has no body, if nothing of it has changed.");
        AddCondition(operation, Stale, "The volume's present revision, where it is known.",
            "If-Match", "A volume's ETag as it came, in quotes: the change is made only if the volume is still at that revision.");
    }

    private static void AddCondition(OpenApiOperation operation, string code, string what, string header, string means)
    {
        if (operation.Responses?.ContainsKey(code) != true) return;
        AddETag(operation, code, what);
        operation.Parameters ??= [];
        operation.Parameters.Add(new OpenApiParameter { Name = header, In = ParameterLocation.Header, Description = means, Schema = Text() });
    }

    private static void AddETag(OpenApiOperation operation, string code, string what)
    {
        if (operation.Responses?[code] is not OpenApiResponse response) return;
        response.Headers ??= new Dictionary<string, IOpenApiHeader>();
        response.Headers[ETag] = new OpenApiHeader { Description = what, Schema = Text() };
    }

    private static OpenApiSchema Text() => new() { Type = JsonSchemaType.String };
}
