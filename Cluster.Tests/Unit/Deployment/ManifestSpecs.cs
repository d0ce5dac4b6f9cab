using Cluster.Tests.Architecture;
using YamlDotNet.RepresentationModel;

namespace Cluster.Tests.Unit.Deployment;

/// <summary>The manifests by themselves: rendered, well formed, and all that one object says of another is so.</summary>
public sealed class ManifestSpecs
{
    [Fact(DisplayName = "What is checked in as rendered is what the manifests come to")]
    public void Rendered_files_are_current()
    {
        var update = Environment.GetEnvironmentVariable(Manifests.UpdateVariable) is { Length: > 0 };
        foreach (var (part, file) in Manifests.Rendered)
        {
            var text = Manifests.Text(part);
            if (update) File.WriteAllText(Path.Combine(Repository.Root, file), text);
            else Assert.True(Repository.Read(file) == text, $"{file} is not what {part} comes to: run {Manifests.UpdateVariable}=1 ./test --filter ManifestSpecs");
        }
    }

    [Fact(DisplayName = "What was rendered reads back as the same objects, texts that look like numbers and a whole dashboard included")]
    public void Rendered_text_reads_back()
    {
        foreach (var (part, _) in Manifests.Rendered)
            Assert.Equal(Manifests.Render(part).Select(one => one.ToString()), Kustomize.Parse(Manifests.Text(part)).Select(one => one.ToString()));
        Assert.Empty(Kustomize.Parse(Manifests.Text("base")).SelectMany(ManifestSchema.Check));
    }

    [Fact(DisplayName = "Every object has the fields of its kind, of the right sort, and no others")]
    public void Objects_are_well_formed() => Assert.Empty(Manifests.All.Concat(Manifests.Render("overlays/kernel-nbd")).SelectMany(ManifestSchema.Check));

    [Fact(DisplayName = "With the kernel's NBD client only the node differs: its attacher, and the host's process namespace; what else that needs every node has")]
    public void Kernel_nbd()
    {
        var with = Manifests.Render("overlays/kernel-nbd");
        var node = with.Single(one => one.Text("kind") == "DaemonSet");
        Assert.Equal(Manifests.All.Where(one => one.Text("kind") != "DaemonSet").Select(one => one.ToString()), with.Where(one => one != node).Select(one => one.ToString()));
        foreach (var (pods, hostPid, attacher) in ((YamlMappingNode, string, string)[])[(node, "true", "kernel-nbd"), (Manifests.Node, "false", "fuse-loop")])
        {
            Assert.Equal((hostPid, "true"), (pods.PodSpec()!.Text("hostPID"), pods.PodSpec()!.Text("hostNetwork")));
            foreach (var container in pods.Containers().Where(container => container.Text("name") is "preflight" or "myrmidon"))
            {
                Assert.Equal(attacher, container.Items("env").Single(variable => variable.Text("name") == "MYRMIDON_ATTACHER").Text("value"));
                Assert.Equal("true", container.Text("securityContext", "privileged"));
                Assert.Contains(container.Items("volumeMounts"), mount => mount.Text("mountPath") == "/dev");
            }
        }
        // Nothing else of the node differs.
        var (theirs, ours) = (node.ToString(), Manifests.Node.ToString());
        Assert.Equal(ours.Length - "fuse-loop".Length * 2 - "false".Length, theirs.Length - "kernel-nbd".Length * 2 - "true".Length);
    }

    [Theory(DisplayName = "A mistake is found: the schema can fail")]
    [InlineData("replicas: 3", "replicas: three", "replicas")]
    [InlineData("readinessProbe:", "readynessProbe:", "readynessProbe is not a field")]
    [InlineData("maxUnavailable: 1", "maxUnavailable: \"1\"", "maxUnavailable")]
    [InlineData("name: guard\n", "nome: guard\n", "name is missing")]
    public void Mistakes_are_found(string right, string wrong, string mistake)
    {
        var text = Repository.Read($"{Manifests.Folder}/base/guard.yaml");
        Assert.Contains(right, text, StringComparison.Ordinal);
        Assert.Contains(Kustomize.Parse(text.Replace(right, wrong, StringComparison.Ordinal)).SelectMany(ManifestSchema.Check), found => found.Contains(mistake, StringComparison.Ordinal));
    }

    [Fact(DisplayName = "No two objects have one name, and each lies in the namespace that the overlay makes")]
    public void Names_are_unique()
    {
        Assert.Equal(Manifests.All.Count, Manifests.All.DistinctBy(one => one.Id()).Count());
        var made = Manifests.Of("Namespace").Single().Text("metadata", "name");
        Assert.All(Manifests.All.Where(one => one.Has("metadata", "namespace")), one => Assert.Equal(made, one.Text("metadata", "namespace")));
        Assert.Equal("privileged", Manifests.Of("Namespace").Single().Text("metadata", "labels", "pod-security.kubernetes.io/enforce"));
    }

    [Fact(DisplayName = "Selectors meet what they are for: workloads their pods, services and budgets a workload, the monitor a service")]
    public void Selectors_meet()
    {
        Assert.All(Manifests.Workloads, one => Assert.True(Meets(one.Pairs("spec", "selector", "matchLabels"), LabelsOf(one)), one.Id()));
        Assert.All(Manifests.Of("Service"), one => Assert.Single(Manifests.Workloads, workload => Meets(one.Pairs("spec", "selector"), LabelsOf(workload))));
        Assert.All(Manifests.Of("PodDisruptionBudget"), one => Assert.Single(Manifests.Workloads, workload => Meets(one.Pairs("spec", "selector", "matchLabels"), LabelsOf(workload))));
        foreach (var workload in Manifests.Workloads.Where(one => one.Has("spec", "template", "spec", "affinity")))
        {
            var term = workload.PodSpec()!.Items("affinity", "podAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution").Single();
            Assert.True(Meets(term.Pairs("labelSelector", "matchLabels"), LabelsOf(workload)), workload.Id());
        }
        foreach (var monitor in Manifests.Of("ServiceMonitor"))
        {
            var service = Assert.Single(Manifests.Of("Service"), one => Meets(monitor.Pairs("spec", "selector", "matchLabels"), one.Pairs("metadata", "labels")));
            Assert.All(monitor.Items("spec", "endpoints"), endpoint => Assert.Contains(service.Items("spec", "ports"), port => port.Text("name") == endpoint.Text("port")));
        }
    }

    [Fact(DisplayName = "No two workloads share a pod")]
    public void Selectors_are_apart() => Assert.All(Manifests.Workloads, one =>
        Assert.Single(Manifests.Workloads, other => Meets(one.Pairs("spec", "selector", "matchLabels"), LabelsOf(other))));

    [Fact(DisplayName = "Accounts and roles that are named exist, and none is left over")]
    public void Accounts_and_roles()
    {
        var accounts = Manifests.Of("ServiceAccount").Select(one => one.Text("metadata", "name")).ToArray();
        var used = Manifests.Workloads.Select(one => one.PodSpec()!.Text("serviceAccountName")).Where(name => name.Length > 0).Distinct();
        Assert.Equal(accounts.Order(StringComparer.Ordinal), used.Order(StringComparer.Ordinal));
        var bindings = Manifests.All.Where(one => one.Text("kind").EndsWith("RoleBinding", StringComparison.Ordinal)).ToArray();
        Assert.All(bindings.SelectMany(one => one.Items("subjects")), subject => Assert.Contains(subject.Text("name"), accounts));
        var roles = Manifests.All.Where(one => one.Text("kind") is "Role" or "ClusterRole").Select(one => $"{one.Text("kind")} {one.Text("metadata", "name")}");
        Assert.Equal(roles.Order(StringComparer.Ordinal), bindings.Select(one => $"{one.Text("roleRef", "kind")} {one.Text("roleRef", "name")}").Order(StringComparer.Ordinal));
    }

    [Fact(DisplayName = "No role may do everything; nodes may read claims at the API server and nothing else, with a token that one container has")]
    public void Roles_are_small()
    {
        var rules = Manifests.All.SelectMany(one => one.Items("rules")).ToArray();
        Assert.NotEmpty(rules);
        Assert.DoesNotContain(rules, rule => rule.Texts("verbs").Concat(rule.Texts("resources")).Contains("*") || rule.Texts("resources").Contains("secrets"));
        Assert.Equal("false", Manifests.Node.PodSpec()!.Text("automountServiceAccountToken"));
        var account = Manifests.Node.PodSpec()!.Text("serviceAccountName");
        var binding = Assert.Single(Manifests.All, one => one.Items("subjects").Any(subject => subject.Text("name") == account));
        var role = Assert.Single(Manifests.All, one => one.Text("kind") == "ClusterRole" && one.Map("metadata")!.Text("name") == binding.Map("roleRef")!.Text("name"));
        var rule = Assert.Single(role.Items("rules"));
        Assert.Equal(["persistentvolumeclaims", "get"], rule.Texts("resources").Concat(rule.Texts("verbs")));
        var with = Manifests.Node.PodSpec()!.Items("containers").Concat(Manifests.Node.PodSpec()!.Items("initContainers")).Where(container => container.Items("volumeMounts").Any(mount => mount.Text("name") == "claims"));
        Assert.Equal("myrmidon", Assert.Single(with).Text("name"));
        // The files that the node looks for.
        var sources = Manifests.Node.PodSpec()!.Items("volumes").Single(volume => volume.Text("name") == "claims").Items("projected", "sources").ToArray();
        Assert.Equal("token", sources[0].Text("serviceAccountToken", "path"));
        Assert.Equal(("kube-root-ca.crt", "ca.crt"), (sources[1].Text("configMap", "name"), Assert.Single(sources[1].Items("configMap", "items")).Text("path")));
    }

    [Fact(DisplayName = "Mounts name volumes of their pod and ports of probes and services exist; every volume is mounted")]
    public void Mounts_and_ports()
    {
        foreach (var workload in Manifests.Workloads)
        {
            var containers = workload.Containers().ToArray();
            var volumes = workload.PodSpec()!.Items("volumes").Select(volume => volume.Text("name")).Order(StringComparer.Ordinal);
            Assert.Equal(volumes, containers.SelectMany(container => container.Items("volumeMounts")).Select(mount => mount.Text("name")).Distinct().Order(StringComparer.Ordinal));
            foreach (var container in containers)
            {
                var ports = container.Items("ports").Select(port => port.Text("name")).ToArray();
                foreach (var probe in (string[])["startupProbe", "livenessProbe", "readinessProbe"])
                    if (container.Has(probe, "httpGet")) Assert.Contains(container.Text(probe, "httpGet", "port"), ports.Concat(container.Items("env").Where(variable => variable.Text("name") == "PROBE_PORT").Select(variable => variable.Text("value"))));
            }
        }
        foreach (var service in Manifests.Of("Service"))
        {
            var pods = Manifests.Workloads.Single(workload => Meets(service.Pairs("spec", "selector"), LabelsOf(workload)));
            var ports = pods.Containers().SelectMany(container => container.Items("ports")).ToDictionary(port => port.Text("name"), port => port.Text("containerPort"), StringComparer.Ordinal);
            // Headless, who resolves the name reaches the pod's port itself; the other one keeps to the same rule.
            Assert.All(service.Items("spec", "ports"), port => Assert.Equal(port.Text("port"), ports[port.Text("targetPort")]));
        }
    }

    [Fact(DisplayName = "Only the node's own containers are privileged; every other drops all capabilities")]
    public void Privileges_are_few()
    {
        foreach (var container in Manifests.Workloads.SelectMany(one => one.Containers()))
        {
            var isNode = container.Text("name") is "preflight" or "myrmidon";
            Assert.Equal(isNode ? "true" : "", container.Text("securityContext", "privileged"));
            if (isNode) continue;
            Assert.Equal("false", container.Text("securityContext", "allowPrivilegeEscalation"));
            Assert.Equal(["ALL"], container.Texts("securityContext", "capabilities", "drop"));
        }
    }

    private static Dictionary<string, string> LabelsOf(YamlMappingNode workload) => workload.Pairs("spec", "template", "metadata", "labels");

    private static bool Meets(Dictionary<string, string> selector, Dictionary<string, string> labels) =>
        selector.Count > 0 && selector.All(wanted => labels.GetValueOrDefault(wanted.Key) == wanted.Value);
}
