using Cluster.Tests.Architecture;
using YamlDotNet.RepresentationModel;

namespace Cluster.Tests.Unit.Deployment;

/// <summary>What docker/kubernetes comes to, and where the rendered files lie.</summary>
internal static class Manifests
{
    public const string Folder = "docker/kubernetes";

    /// <summary>When set, rendered files are written anew instead of being compared.</summary>
    public const string UpdateVariable = "UPDATE_RENDERED";

    /// <summary>The example overlay has everything.</summary>
    public static IReadOnlyList<YamlMappingNode> All { get; } = Render("overlays/three-nodes");

    public static IEnumerable<YamlMappingNode> Of(string kind) => All.Where(one => one.Text("kind") == kind);

    public static IEnumerable<YamlMappingNode> Workloads => All.Where(one => one.PodSpec() is not null);

    public static YamlMappingNode Node => Of("DaemonSet").Single();

    /// <summary>A container of one of our workloads.</summary>
    public static YamlMappingNode Container(string name) => Workloads.SelectMany(one => one.Containers()).Single(container => container.Text("name") == name);

    public static List<YamlMappingNode> Render(string part) => Kustomize.Render(Path.Combine(Repository.Root, Folder, part));

    /// <summary>What is rendered, and the file that has it.</summary>
    public static IEnumerable<(string Part, string File)> Rendered =>
    [
        ("overlays/three-nodes", $"{Folder}/rendered/three-nodes.yaml"), ("overlays/kernel-nbd", $"{Folder}/rendered/kernel-nbd.yaml"), ("base", $"{Folder}/chart/files/base.yaml"), ("snapshots", $"{Folder}/chart/files/snapshots.yaml"),
        ("group-snapshots", $"{Folder}/chart/files/group-snapshots.yaml"), ("snapshot-metadata", $"{Folder}/chart/files/snapshot-metadata.yaml"), ("monitoring", $"{Folder}/chart/files/monitoring.yaml"),
    ];

    public static string Text(string part) =>
        Kustomize.Write(Render(part), $"# Rendered from {Folder}/{part}; do not edit. Anew: {UpdateVariable}=1 ./test --filter ManifestSpecs\n");
}
