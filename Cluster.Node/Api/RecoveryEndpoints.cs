using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Metadata;
using Microsoft.AspNetCore.Routing;

namespace Cluster.Node.Api;

/// <summary>/v1/recovery: used by `myrmidon recover` on each node by itself.</summary>
internal static class RecoveryEndpoints
{
    /// <summary>The image of a journal, in base64 and JSON.</summary>
    private const long RequestBytesMax = 96L << 20;

    private sealed class Large : IRequestSizeLimitMetadata
    {
        public long? MaxRequestBodySize => RequestBytesMax;
    }

    public static void Map(IEndpointRouteBuilder routes)
    {
        var recovery = routes.MapGroup("/v1/recovery").WithTags("Recovery").ProducesProblem(503);
        recovery.MapGet("", async (IRecoveryControl control, CancellationToken cancellation) => Answers.Of(await control.LookAsync(cancellation)))
            .WithName("LookAtRecovery").WithSummary("What this node has when the journal is to be recovered").Produces<RecoveryResource>();
        recovery.MapPost("", async (IRecoveryControl control, RecoverRequest request, CancellationToken cancellation) =>
            Answers.Of(await control.RecoverAsync(request, cancellation)))
            .WithMetadata(new Large()).WithName("Recover").WithSummary("This node goes on in a new recovery era").Produces<RecoveryResource>()
            .ProducesProblem(400).ProducesProblem(409);
        recovery.MapPost("/stand-down", async (IRecoveryControl control, CancellationToken cancellation) =>
            Answers.Of(await control.StandDownAsync(cancellation)))
            .WithName("StandDown").WithSummary("This node puts its journal, one of a lost majority, aside").Produces<RecoveryResource>().ProducesProblem(409);
    }
}
