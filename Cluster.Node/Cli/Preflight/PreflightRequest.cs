using Cluster.Node.Hosting.Options;

namespace Cluster.Node.Cli.Preflight;

/// <summary>What a node is to be on this host.</summary>
/// <param name="Options">Its settings, loaded as the node loads them.</param>
/// <param name="Kubernetes">It is to serve volumes to pods: devices and mounts must work.</param>
/// <param name="KubeletDirectory">Where the kubelet keeps pods and volumes; looked at with <paramref name="Kubernetes"/> only.</param>
internal sealed record PreflightRequest(NodeOptions Options, bool Kubernetes, string KubeletDirectory)
{
    public const string KubeletDirectoryDefault = "/var/lib/kubelet";
}
