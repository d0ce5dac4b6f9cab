using System.Globalization;

namespace Cluster.Node.Hosting.Options;

/// <summary>Where Kubernetes' API server is, from the settings and from what the kubelet tells a pod; or what is wrong there, in one sentence.</summary>
/// <param name="Api">Null: nobody is asked.</param>
public sealed record KubernetesApiAddress(Uri? Api, string Error)
{
    public const string HostVariable = "KUBERNETES_SERVICE_HOST";
    public const string PortVariable = "KUBERNETES_SERVICE_PORT";
    private const string OrOff = "or set myrmidon.kubernetes-api to off or to an https address";
    private static readonly KubernetesApiAddress Nobody = new(null, "");

    /// <summary>With "auto" nobody is asked unless the process runs in a pod that has a token.</summary>
    public static KubernetesApiAddress Of(NodeOptions options, Func<string, string?> variable)
    {
        if (options.KubernetesApi == "off") return Nobody;
        if (options.KubernetesApi != "auto")
        {
            return Directory.Exists(options.KubernetesCredentials) ? new(new Uri(options.KubernetesApi), "") : Wrong(
                $"myrmidon.kubernetes-credentials is '{options.KubernetesCredentials}', which is no directory; it must be the one with the service account's files token and ca.crt, or set myrmidon.kubernetes-api to off.");
        }
        if (variable(HostVariable) is not { Length: > 0 } host || !File.Exists(Path.Combine(options.KubernetesCredentials, "token"))) return Nobody;
        if (Uri.CheckHostName(host) is not (UriHostNameType.Dns or UriHostNameType.IPv4 or UriHostNameType.IPv6))
            return Wrong($"The environment variable {HostVariable} is '{host}'; it must be a host name or an address such as 10.96.0.1, {OrOff}.");
        var text = variable(PortVariable);
        if (string.IsNullOrEmpty(text)) text = "443";
        return int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var port) && port is >= 1 and <= ushort.MaxValue
            ? new(new UriBuilder("https", host, port).Uri, "")
            : Wrong($"The environment variable {PortVariable} is '{text}'; it must be a port from 1 to 65535, {OrOff}.");
    }

    private static KubernetesApiAddress Wrong(string error) => new(null, error);
}
