using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;
using YamlDotNet.Serialization;

namespace Cluster.Tests.Unit.Deployment;

/// <summary>
/// What of kustomize docker/kubernetes uses, and nothing more: resources, patches that are merged, components of such patches, images, replicas, and ConfigMaps of files. An unknown key is an error, so that what is
/// rendered here and by `kubectl kustomize` is the same.
/// </summary>
internal static class Kustomize
{
    private static readonly string[] Keys = ["apiVersion", "kind", "resources", "patches", "components", "images", "replicas", "configMapGenerator"];

    /// <summary>The objects of a directory with a kustomization, in the order of its resources.</summary>
    public static List<YamlMappingNode> Render(string directory)
    {
        var plan = Load(Path.Combine(directory, "kustomization.yaml")).Single();
        Assert.Empty(plan.Children.Keys.Select(key => key.ToString()).Except(Keys));
        var objects = new List<YamlMappingNode>();
        foreach (var resource in plan.Texts("resources"))
        {
            var path = Path.GetFullPath(Path.Combine(directory, resource));
            objects.AddRange(Directory.Exists(path) ? Render(path) : Load(path));
        }
        objects.AddRange(plan.Items("configMapGenerator").Select(generator => ConfigMap(directory, generator)));
        // As kustomize has it: a component changes what the resources came to, and the overlay's own patches come after it.
        foreach (var component in plan.Texts("components")) Change(objects, Path.GetFullPath(Path.Combine(directory, component)));
        Patch(objects, directory, plan);
        foreach (var image in plan.Items("images")) SetImage(objects, image);
        foreach (var replicas in plan.Items("replicas"))
            objects.Single(one => one.Text("kind") == "Deployment" && one.Text("metadata", "name") == replicas.Text("name")).Map("spec")!.Children["replicas"] = replicas.Children["count"];
        return objects;
    }

    private static void Change(List<YamlMappingNode> objects, string directory)
    {
        var component = Load(Path.Combine(directory, "kustomization.yaml")).Single();
        Assert.Equal("Component", component.Text("kind"));
        Assert.Empty(component.Children.Keys.Select(key => key.ToString()).Except(["apiVersion", "kind", "patches"]));
        Patch(objects, directory, component);
    }

    private static void Patch(List<YamlMappingNode> objects, string directory, YamlMappingNode plan)
    {
        foreach (var patch in plan.Items("patches").SelectMany(patch => Load(Path.Combine(directory, patch.Text("path"))))) Merge(objects.Single(one => one.Id() == patch.Id()), patch);
    }

    public static string Write(IEnumerable<YamlMappingNode> objects, string header)
    {
        var serializer = new SerializerBuilder().DisableAliases().Build();
        return header + string.Join("---\n", objects.Select(one => serializer.Serialize(one).Replace("\r\n", "\n", StringComparison.Ordinal)));
    }

    public static List<YamlMappingNode> Load(string file) => Parse(File.ReadAllText(file));

    public static List<YamlMappingNode> Parse(string text)
    {
        var stream = new YamlStream();
        stream.Load(new StringReader(text));
        // Copies, without anchors: two places that share a node must not change together.
        return [.. stream.Documents.Select(document => (YamlMappingNode)Copy(document.RootNode))];
    }

    private static YamlNode Copy(YamlNode node) => node switch
    {
        YamlMappingNode map => new YamlMappingNode(map.Children.Select(child => KeyValuePair.Create(Copy(child.Key), Copy(child.Value)))),
        YamlSequenceNode list => new YamlSequenceNode(list.Children.Select(Copy)),
        YamlScalarNode scalar => new YamlScalarNode(scalar.Value) { Style = scalar.Style },
        _ => throw new InvalidDataException($"{node.NodeType} is not expected"),
    };

    private static YamlMappingNode ConfigMap(string directory, YamlMappingNode generator)
    {
        var data = new YamlMappingNode(generator.Texts("files").Select(file => KeyValuePair.Create<YamlNode, YamlNode>(
            new YamlScalarNode(file), new YamlScalarNode(File.ReadAllText(Path.Combine(directory, file))) { Style = ScalarStyle.Literal })));
        Assert.Equal("true", generator.Text("options", "disableNameSuffixHash"));
        var metadata = new YamlMappingNode("name", generator.Text("name"), "namespace", generator.Text("namespace"));
        metadata.Add("labels", generator.Map("options", "labels")!);
        var made = new YamlMappingNode("apiVersion", "v1", "kind", "ConfigMap");
        made.Add("metadata", metadata);
        made.Add("data", data);
        return made;
    }

    private static void SetImage(IEnumerable<YamlMappingNode> objects, YamlMappingNode image)
    {
        foreach (var container in objects.SelectMany(one => one.Containers()).Where(container => container.Text("image").Split(':')[0] == image.Text("name")))
            container.Children["image"] = new YamlScalarNode($"{image.Text("newName")}:{image.Text("newTag")}");
    }

    /// <summary>Maps are merged, lists of things with names by name; all else is replaced.</summary>
    private static void Merge(YamlMappingNode into, YamlMappingNode patch)
    {
        foreach (var (key, value) in patch.Children)
        {
            var present = into.Children.TryGetValue(key, out var found) ? found : null;
            if (present is YamlMappingNode map && value is YamlMappingNode changes) Merge(map, changes);
            else if (present is YamlSequenceNode list && value is YamlSequenceNode more && more.All(item => item is YamlMappingNode named && named.Has("name"))) MergeByName(list, more);
            else into.Children[key] = value;
        }
    }

    /// <summary>What the patch names comes first, in its order, as kustomize has it. It matters: a variable is only known to those behind it.</summary>
    private static void MergeByName(YamlSequenceNode into, YamlSequenceNode patch)
    {
        var first = new List<YamlNode>();
        foreach (var item in patch.Cast<YamlMappingNode>())
        {
            var same = into.Cast<YamlMappingNode>().FirstOrDefault(one => one.Text("name") == item.Text("name"));
            if (same is not null)
            {
                Merge(same, item);
                into.Children.Remove(same);
            }
            first.Add(same ?? item);
        }
        first.AddRange(into.Children);
        into.Children.Clear();
        foreach (var item in first) into.Children.Add(item);
    }
}
