using Cluster.Node.Api;

namespace Cluster.Node.Hosting.FrontEnds;

/// <summary>Counts the calls of the Docker plug-in. Any thread.</summary>
public sealed class DockerMetrics(Metrics metrics)
{
    public void Count(string method, string outcome) =>
        metrics.AddCounter("myrmidon_docker_calls_total", "Calls of the Docker plug-in that ended, by method and outcome (done, refused, failed).", ("method", method), ("outcome", outcome))
            .Add();
}
