using System.Text.RegularExpressions;

namespace Cluster.Node.Hosting.Options;

/// <summary>Shapes of names that people give.</summary>
public static partial class Names
{
    /// <summary>Also the shape of zones; capitals are allowed because host names carry them.</summary>
    public static bool IsNodeName(string text) => NodeName().IsMatch(text);

    /// <summary>"" counts: it means "as host".</summary>
    public static bool IsHost(string text) => text.Length <= 253 && Host().IsMatch(text);

    /// <summary>"host", "host:port" or "[v6]:port".</summary>
    public static bool IsEndpoint(string text) => text.Length <= 262 && Endpoint().IsMatch(text);

    [GeneratedRegex(@"\A(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?\z", RegexOptions.CultureInvariant)]
    private static partial Regex Endpoint();

    [GeneratedRegex(@"\A[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?\z", RegexOptions.CultureInvariant)]
    private static partial Regex NodeName();

    [GeneratedRegex(@"\A[A-Za-z0-9.:_-]*\z", RegexOptions.CultureInvariant)]
    private static partial Regex Host();
}
