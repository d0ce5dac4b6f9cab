using Cluster.Node.Api;
using Grpc.Core;

namespace Cluster.Node.Hosting.FrontEnds;

/// <summary>Counts the calls of the CSI driver. Any thread.</summary>
public sealed class CsiMetrics(Metrics metrics)
{
    public void Count(string method, StatusCode code) =>
        metrics.AddCounter("myrmidon_csi_calls_total", "Calls of the CSI driver that ended, by method and status code.", ("method", method), ("code", code.ToString()))
            .Add();
}
