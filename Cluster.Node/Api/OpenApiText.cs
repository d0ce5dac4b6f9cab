using Microsoft.AspNetCore.OpenApi;

namespace Cluster.Node.Api;

/// <summary>The head of the OpenAPI document.</summary>
internal static class OpenApiText
{
    public static void Describe(OpenApiOptions options) =>
        options.AddDocumentTransformer((document, _, _) =>
        {
            document.Info.Title = "Myrmidon";
            document.Info.Version = "v1";
            document.Info.Description =
                "Replicated block storage for containers. Errors are problem details (RFC 9457) whose detail is one sentence. "
                + "A volume's ETag may be sent back in If-Match: the change is refused with 412 when the volume has changed meanwhile.";
            document.Info.License = new Microsoft.OpenApi.OpenApiLicense { Name = "Apache-2.0", Identifier = "Apache-2.0" };
            document.Servers?.Clear();
            return Task.CompletedTask;
        });
}
