using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using Cluster.Tests.Architecture;

namespace Cluster.Tests.Unit.Deployment;

/// <summary>The chart is the rendered manifests with words replaced: each word must be there, and each value used. Helm itself is not run here (docs/kubernetes.md says what it made of the chart).</summary>
public sealed partial class ChartSpecs
{
    private const string Chart = "docker/kubernetes/chart";

    [Fact(DisplayName = "Every word that the chart replaces stands in the manifests, and what comes of it is well formed")]
    public void Words_are_there()
    {
        var text = string.Join("---\n", ((string[])["base", "group-snapshots", "snapshot-metadata", "monitoring"]).Select(part => Repository.Read($"{Chart}/files/{part}.yaml")));
        var words = Words().Matches(Repository.Read($"{Chart}/templates/objects.yaml"));
        Assert.Equal(14, words.Count);
        foreach (Match match in words)
        {
            var word = Regex.Unescape(match.Groups["word"].Value);
            Assert.Contains(word, text, StringComparison.Ordinal);
            var value = match.Groups["name"].Value;
            text = text.Replace(word, match.Groups["format"].Success ? Regex.Unescape(match.Groups["format"].Value).Replace("%s", Sample(value), StringComparison.Ordinal).Replace("%v", Sample(value), StringComparison.Ordinal) : Sample(value),
                StringComparison.Ordinal);
        }
        var objects = Kustomize.Parse(text);
        Assert.Empty(objects.SelectMany(ManifestSchema.Check));
        var node = objects.Single(one => one.Text("kind") == "DaemonSet");
        Assert.All(objects.Where(one => one.Has("metadata", "namespace")), one => Assert.Equal("storage", one.Text("metadata", "namespace")));
        Assert.All(objects.SelectMany(one => one.Items("subjects")), subject => Assert.Equal("storage", subject.Text("namespace")));
        Assert.Contains("example/myrmidon:1", node.Containers().Select(container => container.Text("image")));
        Assert.Equal(2, node.Containers().SelectMany(container => container.Items("env")).Count(variable => variable.Text("name") == "MYRMIDON_BOOTSTRAP_EXPECT" && variable.Text("value") == "5"));
        Assert.Equal(2, node.Containers().SelectMany(container => container.Items("env")).Count(variable => variable.Text("name") == "MYRMIDON_MEMORY_LIMIT" && variable.Text("value") == "768MiB"));
        Assert.Equal(2, node.Containers().SelectMany(container => container.Items("env")).Count(variable => variable.Text("name") == "MYRMIDON_ATTACHER" && variable.Text("value") == "kernel-nbd"));
        Assert.Equal("true", node.PodSpec()!.Text("hostPID"));
        Assert.Equal(["/srv/data", "/dev", "/kubelet/plugins/csi.myrmidon.dev", "/kubelet/plugins_registry", "/kubelet"], node.PodSpec()!.Items("volumes").Where(volume => volume.Has("hostPath")).Select(volume => volume.Text("hostPath", "path")));
        var probe = node.Containers().Single(container => container.Text("name") == "liveness-probe");
        Assert.Equal(("6001", "6001"), (probe.Items("env").Single(variable => variable.Text("name") == "PROBE_PORT").Text("value"), probe.Text("readinessProbe", "httpGet", "port")));
        var metadata = objects.Single(one => one.Text("kind") == "SnapshotMetadataService");
        Assert.Equal(("myrmidon-snapshot-metadata.storage.svc:50051", "QUJD"), (metadata.Text("spec", "address"), metadata.Text("spec", "caCert")));
        Assert.Equal("2", objects.Single(one => one.Text("kind") == "StorageClass").Text("parameters", "replicas"));
        Assert.Equal("9", objects.Single(one => one.Text("metadata", "name") == "myrmidon-guard" && one.Text("kind") == "Deployment").Text("spec", "replicas"));
        Assert.Equal("2", objects.Single(one => one.Text("metadata", "name") == "myrmidon-controller" && one.Text("kind") == "Deployment").Text("spec", "replicas"));
    }

    [Fact(DisplayName = "Every value of the chart is used, and each that is used has a default")]
    public void Values_are_used()
    {
        var values = Kustomize.Load(Path.Combine(Repository.Root, Chart, "values.yaml")).Single().Children.Keys.Select(key => key.ToString()).Order(StringComparer.Ordinal);
        var used = Regex.Matches(Repository.Read($"{Chart}/templates/objects.yaml"), @"\.Values\.([A-Za-z]+)").Select(match => match.Groups[1].Value).Distinct().Order(StringComparer.Ordinal);
        Assert.Equal(values, used);
    }

    [Fact(DisplayName = "Every value of the chart has a rule, which the default keeps, and too few nodes for a majority of the hosts are refused")]
    public void Values_have_rules()
    {
        using var schema = JsonDocument.Parse(Repository.Read($"{Chart}/values.schema.json"));
        // A value that the chart does not know is a mistake; "global" is Helm's, in every chart that another one includes.
        Assert.False(schema.RootElement.GetProperty("additionalProperties").GetBoolean());
        var rules = schema.RootElement.GetProperty("properties").EnumerateObject().Where(rule => rule.Name != "global").ToArray();
        var values = Kustomize.Load(Path.Combine(Repository.Root, Chart, "values.yaml")).Single().Children.ToDictionary(pair => pair.Key.ToString(), pair => pair.Value.ToString());
        Assert.Equal(values.Keys.Order(StringComparer.Ordinal), rules.Select(rule => rule.Name).Order(StringComparer.Ordinal));
        Assert.Equal(values.Keys.Order(StringComparer.Ordinal), schema.RootElement.GetProperty("required").EnumerateArray().Select(name => name.GetString()!).Order(StringComparer.Ordinal));
        foreach (var rule in rules)
        {
            var value = values[rule.Name];
            Assert.True(rule.Value.GetProperty("type").GetString() switch
            {
                "integer" => int.TryParse(value, out var number) && number >= rule.Value.GetProperty("minimum").GetInt32() && (!rule.Value.TryGetProperty("maximum", out var most) || number <= most.GetInt32()),
                "boolean" => value is "true" or "false",
                _ => !rule.Value.TryGetProperty("pattern", out var pattern) || Regex.IsMatch(value, pattern.GetString()!),
            }, $"{rule.Name}: {value}");
        }
        Assert.True(int.Parse(values["hosts"], CultureInfo.InvariantCulture) < 2 * int.Parse(values["bootstrapExpect"], CultureInfo.InvariantCulture));
        Assert.True(int.Parse(values["replicas"], CultureInfo.InvariantCulture) <= int.Parse(values["hosts"], CultureInfo.InvariantCulture));
        Assert.Contains("{{- if gt (int .Values.replicas) (int .Values.hosts) }}\n{{- fail ", Repository.Read($"{Chart}/templates/objects.yaml"), StringComparison.Ordinal);
        Assert.True(int.Parse(values["bootstrapExpect"], CultureInfo.InvariantCulture) <= int.Parse(values["hosts"], CultureInfo.InvariantCulture));
        // Only the first start looks at bootstrapExpect: an upgrade may have hosts beyond 13, which are labelled later, or fewer than there were.
        Assert.StartsWith("{{- if and .Release.IsInstall (le (mul 2 (int .Values.bootstrapExpect)) (int .Values.hosts)) }}\n{{- fail ", Repository.Read($"{Chart}/templates/objects.yaml"), StringComparison.Ordinal);
        Assert.Contains("\n{{- if and .Release.IsInstall (gt (int .Values.bootstrapExpect) (int .Values.hosts)) }}\n{{- fail ", Repository.Read($"{Chart}/templates/objects.yaml"), StringComparison.Ordinal);
    }

    [Fact(DisplayName = "The attacher of the chart goes with its value kernelNbd")]
    public void Attacher() => Assert.Contains("{{- $attacher := ternary \"kernel-nbd\" \"fuse-loop\" .Values.kernelNbd }}\n", Repository.Read($"{Chart}/templates/objects.yaml"), StringComparison.Ordinal);

    private static string Sample(string value) => value switch
    {
        "Release.Namespace" => "storage",
        "Values.image" => "example/myrmidon:1",
        "Values.hosts" => "9",
        "Values.replicas" => "2",
        "Values.bootstrapExpect" => "5",
        "Values.memoryLimit" => "768MiB",
        "Values.dataDirectory" => "/srv/data",
        "Values.kubeletDirectory" => "/kubelet",
        "Values.probePort" => "6001",
        "Values.kernelNbd" => "true",
        "attacher" => "kernel-nbd",
        "Values.snapshotMetadataCaCert" => "QUJD",
        _ => throw new InvalidDataException($"{value} has no sample"),
    };

    [GeneratedRegex("\\| replace \"(?<word>(\\\\.|[^\"\\\\])+)\" (\\(printf \"(?<format>(\\\\.|[^\"\\\\])+)\" \\$\\.?(?<name>[A-Za-z.]+)\\)|\\$\\.(?<name>[A-Za-z.]+))", RegexOptions.CultureInvariant)]
    private static partial Regex Words();
}
