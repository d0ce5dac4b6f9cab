using YamlDotNet.RepresentationModel;

namespace Cluster.Tests.Unit.Deployment;

/// <summary>Short ways through YAML. What is absent is null, an empty text or an empty list.</summary>
internal static class YamlExtensions
{
    public static YamlNode? At(this YamlMappingNode map, params ReadOnlySpan<string> path)
    {
        YamlNode? at = map;
        foreach (var key in path) at = at is YamlMappingNode inner && inner.Children.TryGetValue(new YamlScalarNode(key), out var found) ? found : null;
        return at;
    }

    public static bool Has(this YamlMappingNode map, params ReadOnlySpan<string> path) => map.At(path) is not null;

    public static string Text(this YamlMappingNode map, params ReadOnlySpan<string> path) => (map.At(path) as YamlScalarNode)?.Value ?? "";

    public static YamlMappingNode? Map(this YamlMappingNode map, params ReadOnlySpan<string> path) => map.At(path) as YamlMappingNode;

    public static IEnumerable<YamlMappingNode> Items(this YamlMappingNode map, params ReadOnlySpan<string> path) => (map.At(path) as YamlSequenceNode)?.OfType<YamlMappingNode>() ?? [];

    public static IEnumerable<string> Texts(this YamlMappingNode map, params ReadOnlySpan<string> path) =>
        (map.At(path) as YamlSequenceNode)?.OfType<YamlScalarNode>().Select(item => item.Value ?? "") ?? [];

    public static Dictionary<string, string> Pairs(this YamlMappingNode map, params ReadOnlySpan<string> path) =>
        map.Map(path)?.Children.ToDictionary(child => child.Key.ToString(), child => child.Value.ToString(), StringComparer.Ordinal) ?? [];

    /// <summary>Kind, namespace and name.</summary>
    public static string Id(this YamlMappingNode one) => $"{one.Text("kind")} {one.Text("metadata", "namespace")}/{one.Text("metadata", "name")}";

    public static YamlMappingNode? PodSpec(this YamlMappingNode one) => one.Map("spec", "template", "spec");

    /// <summary>Of a workload, the first ones too; none of anything else.</summary>
    public static IEnumerable<YamlMappingNode> Containers(this YamlMappingNode one) =>
        one.PodSpec() is { } pod ? pod.Items("initContainers").Concat(pod.Items("containers")) : [];
}
