using System.Collections.Immutable;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Cluster.Csi.Csi;
using Cluster.Csi.Csi.V1;
using Cluster.Node.Api;
using Cluster.Node.Cli;
using Cluster.Node.Hosting.Control;
using Cluster.Node.Hosting.FrontEnds;
using Cluster.Node.Hosting.Options;
using Cluster.Tests.Architecture;
using Google.Protobuf.Collections;
using YamlDotNet.RepresentationModel;

namespace Cluster.Tests.Unit.Deployment;

/// <summary>The manifests beside the program: what they say of it is so.</summary>
public sealed partial class ManifestsAndProgramSpecs
{
    /// <summary>The flags of the sidecars that may be used, from the sources of the versions that the manifests name.</summary>
    private static readonly Dictionary<string, string> SidecarFlags = new(StringComparer.Ordinal)
    {
        ["csi-provisioner:v6.3.0"] = "csi-address leader-election extra-create-metadata default-fstype timeout v",
        ["csi-attacher:v4.12.0"] = "csi-address leader-election timeout v",
        ["csi-resizer:v2.2.1"] = "csi-address leader-election timeout handle-volume-inuse-error v",
        ["csi-snapshotter:v8.6.0"] = "csi-address leader-election extra-create-metadata feature-gates timeout v",
        ["csi-snapshot-metadata:v1.0.0"] = "csi-address port tls-cert tls-key http-endpoint timeout v",
        ["csi-node-driver-registrar:v2.17.0"] = "csi-address kubelet-registration-path v",
        ["livenessprobe:v2.19.0"] = "csi-address http-endpoint v",
    };

    [Fact(DisplayName = "Command lines are ones that the program takes")]
    public void Command_lines_parse()
    {
        var lines = Lines().ToArray();
        Assert.Contains(lines, line => line[0] == "preflight");
        Assert.Contains(lines, line => line is ["node", "drain", ..]);
        Assert.Contains(lines, line => line[0] == "status");
        Assert.All(lines, line => Assert.Empty(CommandLine.Build().Parse(line).Errors.Select(error => $"{string.Join(' ', line)}: {error.Message}")));
    }

    [Fact(DisplayName = "The node's environment is settings that the program takes, and no other variable")]
    public void Environment_is_settings()
    {
        foreach (var name in (string[])["preflight", "myrmidon"])
        {
            var environment = EnvironmentOf(Manifests.Container(name));
            Assert.Empty(environment.Keys.Except(NodeSetting.All.Select(setting => setting.Variable)).Except([ApiClient.EndpointVariable]));
            var settings = NodeSettings.Load(new Dictionary<string, string>(), environment, null);
            Assert.NotNull(settings.Options);
            Assert.Equal(("worker-1", "10.0.0.5", "myrmidon:5709"), (settings.Options.Name, settings.Options.AdvertisedHost, Assert.Single(settings.Options.Seeds)));
            Assert.Equal($"http://10.0.0.5:{settings.Options.ApiPort}", environment[ApiClient.EndpointVariable]);
        }
    }

    [Fact(DisplayName = "Ports are the program's, and the seeds are the headless service's journal port")]
    public void Ports_are_the_programs()
    {
        var options = NodeSettings.Load(new Dictionary<string, string>(), new Dictionary<string, string>(), null).Options!;
        var ports = Manifests.Container("myrmidon").Items("ports").ToDictionary(port => port.Text("name"), port => int.Parse(port.Text("containerPort")), StringComparer.Ordinal);
        Assert.Equal((options.ApiPort, options.NbdPort, options.MeshPort, options.RemotePort, options.JournalPort), (ports["api"], ports["nbd"], ports["mesh"], ports["remote"], ports["journal"]));
        var service = Manifests.Of("Service").Single(one => one.Text("metadata", "name") == "myrmidon");
        Assert.Equal(("None", "true"), (service.Text("spec", "clusterIP"), service.Text("spec", "publishNotReadyAddresses")));
        Assert.Equal(EnvironmentOf(Manifests.Container("myrmidon"))["MYRMIDON_SEEDS"], $"{service.Text("metadata", "name")}:{ports["journal"]}");
    }

    [Fact(DisplayName = "A drain before the stop and the stop itself end before the pod is killed")]
    public void The_stop_is_finite()
    {
        var drain = Lines().Single(line => line is ["node", "drain", ..]);
        Assert.True(Quantities.TryDuration(drain[Array.IndexOf(drain, "--timeout") + 1], out var atMost));
        var stop = NodeSettings.Load(new Dictionary<string, string>(), new Dictionary<string, string>(), null).Options!.StopTimeout;
        Assert.InRange(atMost + stop, TimeSpan.Zero, TimeSpan.FromSeconds(int.Parse(Manifests.Node.PodSpec()!.Text("terminationGracePeriodSeconds")) - 10));
        // Else a restart would leave the node cordoned, and apply would end devices in use.
        Assert.Contains("--for-restart", drain);
        Assert.Equal("OnDelete", Manifests.Node.Text("spec", "updateStrategy", "type"));
    }

    [Fact(DisplayName = "The socket of the driver is at one place for node, registrar, sidecars and kubelet, and what is mounted is shared")]
    public void The_socket_is_at_one_place()
    {
        var socket = EnvironmentOf(Manifests.Container("myrmidon"))["MYRMIDON_CSI_SOCKET"];
        foreach (var workload in Manifests.Workloads)
        {
            foreach (var container in workload.Containers().Where(container => container.Texts("args").Any(arg => arg.StartsWith("--csi-address=", StringComparison.Ordinal))))
            {
                Assert.Contains($"--csi-address={socket}", container.Texts("args"));
                Assert.Equal(Path.GetDirectoryName(socket), container.Items("volumeMounts").Single(mount => mount.Text("name") == "plugin").Text("mountPath"));
            }
        }
        var places = Manifests.Workloads.SelectMany(one => one.PodSpec()!.Items("volumes")).Where(volume => volume.Text("name") == "plugin").Select(volume => volume.Text("hostPath", "path")).Distinct();
        Assert.Contains($"--kubelet-registration-path={Assert.Single(places)}/{Path.GetFileName(socket)}", Manifests.Container("node-driver-registrar").Texts("args"));
        var kubelet = Manifests.Container("myrmidon").Items("volumeMounts").Single(mount => mount.Text("name") == "kubelet");
        Assert.Equal("Bidirectional", kubelet.Text("mountPropagation"));
        Assert.Equal(kubelet.Text("mountPath"), Manifests.Node.PodSpec()!.Items("volumes").Single(volume => volume.Text("name") == "kubelet").Text("hostPath", "path"));
        Assert.Contains(kubelet.Text("mountPath"), Manifests.Container("preflight").Texts("args"));
    }

    [Fact(DisplayName = "The driver's object says what the driver does")]
    public void Driver_object()
    {
        var driver = Manifests.Of("CSIDriver").Single();
        var names = Manifests.Of("StorageClass").Select(one => one.Text("provisioner")).Concat(Manifests.Of("VolumeAttributesClass").Select(one => one.Text("driverName")))
            .Concat(Manifests.Of("VolumeSnapshotClass").Concat(Manifests.Of("VolumeGroupSnapshotClass")).Select(one => one.Text("driver"))).Concat(Manifests.Of("SnapshotMetadataService").Select(one => one.Text("metadata", "name"))).Append(driver.Text("metadata", "name"));
        Assert.Equal(IdentityService.DriverName, Assert.Single(names.Distinct()));
        // PUBLISH_UNPUBLISH_VOLUME fences; GET_CAPACITY answers, but for thin volumes that every node reaches it is nothing to schedule by.
        Assert.Equal(("true", "false", "File", "false"),
            (driver.Text("spec", "attachRequired"), driver.Text("spec", "podInfoOnMount"), driver.Text("spec", "fsGroupPolicy"), driver.Text("spec", "storageCapacity")));
        Assert.Equal(["Persistent"], driver.Texts("spec", "volumeLifecycleModes"));
    }

    [Fact(DisplayName = "Parameters of StorageClasses and VolumeAttributesClasses are ones that the driver takes")]
    public void Parameters_are_known()
    {
        var control = new CsiVolumeControl("node-0", "", new ControlPlane(), new Health(TimeProvider.System), null);
        var classes = Manifests.Of("StorageClass").Concat(Manifests.Of("VolumeAttributesClass")).ToArray();
        Assert.True(classes.Length >= 2);
        foreach (var one in classes)
        {
            var parameters = new MapField<string, string> { one.Pairs("parameters") };
            Assert.Null(VolumeParameters.Read(parameters, "parameters", control, ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal)));
        }
        var wrong = new MapField<string, string> { ["replikas"] = "3" };
        Assert.NotNull(VolumeParameters.Read(wrong, "parameters", control, ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal)));
        Assert.Null(VolumeParameters.CheckSnapshot(new MapField<string, string> { Manifests.Of("VolumeSnapshotClass").Single().Pairs("parameters") }));
        Assert.Null(VolumeParameters.CheckGroup(new MapField<string, string> { Manifests.Of("VolumeGroupSnapshotClass").Single().Pairs("parameters") }));
    }

    [Fact(DisplayName = "Every capability that the driver advertises for a sidecar has that sidecar: groups have their gate and role, changed blocks their service, address, certificate and role")]
    public void Advertised_services_have_sidecars()
    {
        var advertised = IdentityService.Capabilities.Where(capability => capability.Service is not null).Select(capability => capability.Service.Type).ToArray();
        Assert.Contains(PluginCapability.Types.Service.Types.Type.GroupControllerService, advertised);
        Assert.Contains("--feature-gates=CSIVolumeGroupSnapshot=true", Manifests.Container("csi-snapshotter").Texts("args"));
        Assert.Contains("volumegroupsnapshotcontents/status patch", Granted("myrmidon-controller"));
        // With the gate and without the CRDs the sidecar waits for ever.
        Assert.DoesNotContain(Manifests.Render("snapshots").SelectMany(one => one.Containers()).SelectMany(container => container.Texts("args")), arg => arg.StartsWith("--feature-gates", StringComparison.Ordinal));

        Assert.Contains(PluginCapability.Types.Service.Types.Type.SnapshotMetadataService, advertised);
        var (sidecar, service, found) = (Manifests.Container("csi-snapshot-metadata"), Manifests.Of("Service").Single(one => one.Text("metadata", "name") == "myrmidon-snapshot-metadata"), Manifests.Of("SnapshotMetadataService").Single());
        var port = sidecar.Items("ports").Single(one => one.Text("name") == "grpc").Text("containerPort");
        Assert.Contains($"--port={port}", sidecar.Texts("args"));
        Assert.Equal($"{service.Text("metadata", "name")}.{service.Text("metadata", "namespace")}.svc:{port}", found.Text("spec", "address"));
        var mount = sidecar.Items("volumeMounts").Single(one => one.Text("name") == "certificate").Text("mountPath");
        Assert.Contains($"--tls-cert={mount}/tls.crt", sidecar.Texts("args"));
        Assert.Contains($"--tls-key={mount}/tls.key", sidecar.Texts("args"));
        Assert.Equal(["snapshotmetadataservices get", "subjectaccessreviews create", "tokenreviews create", "volumesnapshotcontents get", "volumesnapshots get"], Granted("myrmidon-snapshot-metadata").Order(StringComparer.Ordinal));
    }

    [Fact(DisplayName = "The driver's probe listens on a port of the host that is a setting, neither another driver's usual one nor one of the node's own")]
    public void Probe_port()
    {
        var probe = Manifests.Container("liveness-probe");
        var port = probe.Items("env").Single(variable => variable.Text("name") == "PROBE_PORT").Text("value");
        Assert.Contains("--http-endpoint=$(POD_IP):$(PROBE_PORT)", probe.Texts("args"));
        Assert.Equal(port, probe.Text("readinessProbe", "httpGet", "port"));
        Assert.DoesNotContain(port, Manifests.Container("myrmidon").Items("ports").Select(one => one.Text("containerPort")).Append("9808"));
        // Declared, it would keep the whole pod from a host where something else has it.
        Assert.False(probe.Has("ports"));
    }

    /// <summary>"resource verb" of what an account may do.</summary>
    private static IEnumerable<string> Granted(string account)
    {
        var roles = Manifests.All.Where(one => one.Items("subjects").Any(subject => subject.Text("name") == account)).Select(one => one.Text("roleRef", "name")).ToArray();
        return Manifests.All.Where(one => one.Text("kind") is "Role" or "ClusterRole" && roles.Contains(one.Text("metadata", "name"))).SelectMany(one => one.Items("rules"))
            .SelectMany(rule => rule.Texts("resources").SelectMany(resource => rule.Texts("verbs").Select(verb => $"{resource} {verb}")));
    }

    [Fact(DisplayName = "Sidecars are of the versions that were looked at, and their flags are theirs")]
    public void Sidecar_flags()
    {
        var sidecars = Manifests.Workloads.SelectMany(one => one.Containers()).Where(container => !IsOurs(container)).ToArray();
        Assert.Equal(SidecarFlags.Keys.Order(StringComparer.Ordinal), sidecars.Select(ImageOf).Order(StringComparer.Ordinal));
        Assert.All(sidecars, sidecar => Assert.Empty(sidecar.Texts("args").Select(arg => arg.TrimStart('-').Split('=')[0]).Except(SidecarFlags[ImageOf(sidecar)].Split(' '))));
    }

    [Fact(DisplayName = "Every metric of the alerts and the dashboard is one that the program has, buckets of histograms included")]
    public void Metrics_exist()
    {
        var known = Repository.Under("Cluster.Node", "Cluster.Csi")
            .SelectMany(file => Registration().Matches(Repository.Read(file)).Select(match => (Name: match.Groups["name"].Value, IsHistogram: match.Groups["kind"].Value == "Histogram")))
            .SelectMany(metric => metric.IsHistogram ? (string[])[metric.Name + "_bucket", metric.Name + "_sum", metric.Name + "_count"] : [metric.Name]).ToHashSet(StringComparer.Ordinal);
        var alerts = Manifests.Of("PrometheusRule").SelectMany(one => one.Items("spec", "groups")).SelectMany(group => group.Items("rules")).Select(rule => rule.Text("expr"));
        var used = alerts.Concat(DashboardQueries()).SelectMany(query => MetricName().Matches(query).Select(match => match.Value)).Distinct().ToArray();
        Assert.True(used.Length > 15, $"only {used.Length} metrics were found in alerts and dashboard");
        Assert.Empty(used.Except(known));
    }

    [Fact(DisplayName = "docs/metrics.md has the metrics that the program has, and no other")]
    public void Metrics_are_described() => Assert.Equal(
        Repository.Under("Cluster.Node", "Cluster.Csi").SelectMany(file => QuotedMetric().Matches(Repository.Read(file)).Select(match => match.Groups[1].Value)).Distinct().Order(StringComparer.Ordinal),
        DescribedMetrics.Select(metric => metric.Name));

    /// <summary>As docs/metrics.md has them.</summary>
    internal static IReadOnlyList<(string Name, string[] Labels, string Type, string Help)> DescribedMetrics =>
        [.. DescribedMetric().Matches(Repository.Read("docs/metrics.md")).Select(row => (row.Groups[1].Value, row.Groups[2].Value.Split(',', StringSplitOptions.RemoveEmptyEntries), row.Groups[3].Value, row.Groups[4].Value))];

    [GeneratedRegex("\"(myrmidon_[a-z0-9_]+)\"")]
    private static partial Regex QuotedMetric();

    [GeneratedRegex("^\\| `(myrmidon_[a-z0-9_]+)(?:{([a-z,]+)})?` \\| ([a-z]+) \\| (.+) \\|$", RegexOptions.Multiline)]
    private static partial Regex DescribedMetric();

    [Theory(DisplayName = "What an operator must hear of at once has an alert and a panel")]
    [InlineData("myrmidon_journal_has_leader")]
    [InlineData("myrmidon_health")]
    [InlineData("myrmidon_disk_state")]
    [InlineData("myrmidon_store_missing_bytes")]
    [InlineData("myrmidon_store_checkpoint_room_missing_bytes")]
    [InlineData("myrmidon_map_cache_lost_pages_total")]
    public void Alerts_cover(string metric)
    {
        var alerts = Manifests.Of("PrometheusRule").SelectMany(one => one.Items("spec", "groups")).SelectMany(group => group.Items("rules")).Select(rule => rule.Text("expr"));
        Assert.Contains(alerts, query => MetricName().Matches(query).Any(match => match.Value == metric));
        Assert.Contains(DashboardQueries(), query => MetricName().Matches(query).Any(match => match.Value == metric));
    }

    [Theory(DisplayName = "What is looked at first, how much is done and how quickly, has a panel")]
    [InlineData("myrmidon_volumes")]
    [InlineData("myrmidon_nbd_commands_total")]
    [InlineData("myrmidon_nbd_bytes_total")]
    [InlineData("myrmidon_nbd_errors_total")]
    [InlineData("myrmidon_volume_commands_total")]
    [InlineData("myrmidon_volume_bytes_total")]
    [InlineData("myrmidon_volume_wait_seconds_total")]
    [InlineData("myrmidon_volume_errors_total")]
    [InlineData("myrmidon_io_wait_seconds_total")]
    [InlineData("myrmidon_loop_busy_seconds_total")]
    [InlineData("myrmidon_process_cpu_seconds_total")]
    [InlineData("myrmidon_process_resident_bytes")]
    public void Dashboard_shows(string metric) =>
        Assert.Contains(DashboardQueries(), query => MetricName().Matches(query).Any(match => match.Value == metric));

    [Fact(DisplayName = "The alert of takeovers names reasons that there are")]
    public void Losses_exist()
    {
        var losses = Enum.GetNames<Cluster.Node.Owner.OwnerLoss>().Select(name => name.ToLowerInvariant());
        var named = Manifests.Of("PrometheusRule").SelectMany(one => one.Items("spec", "groups")).SelectMany(group => group.Items("rules"))
            .SelectMany(rule => Regex.Matches(rule.Text("expr"), "loss=~\"(?<names>[a-z|]+)\"").SelectMany(match => match.Groups["names"].Value.Split('|'))).ToArray();
        Assert.NotEmpty(named);
        Assert.Empty(named.Except(losses));
    }

    [Fact(DisplayName = "The dashboard is Grafana's: panels with ids of their own that do not lie on each other")]
    public void Dashboard()
    {
        var panels = JsonNode.Parse(Manifests.Of("ConfigMap").Single().Text("data", "dashboard.json"))!["panels"]!.AsArray();
        Assert.Equal(panels.Count, panels.Select(panel => panel!["id"]!.GetValue<int>()).Distinct().Count());
        Assert.Equal(panels.Count, panels.Select(panel => (panel!["gridPos"]!["x"]!.GetValue<int>(), panel["gridPos"]!["y"]!.GetValue<int>())).Distinct().Count());
        Assert.All(panels, panel => Assert.NotEmpty(panel!["title"]!.GetValue<string>()));
    }

    [Fact(DisplayName = "There are as many guards as the example has hosts, each is ready only while the cluster is healthy, and one may be missing")]
    public void Guards()
    {
        var guard = Manifests.Of("Deployment").Single(one => one.Text("metadata", "name") == "myrmidon-guard");
        Assert.Equal(EnvironmentOf(Manifests.Container("myrmidon"))["MYRMIDON_BOOTSTRAP_EXPECT"], guard.Text("spec", "replicas"));
        Assert.Equal(["myrmidon", "status", "--check"], Manifests.Container("guard").Texts("readinessProbe", "exec", "command"));
        Assert.Equal("1", Manifests.Of("PodDisruptionBudget").Single(one => one.Text("metadata", "name") == "myrmidon-guard").Text("spec", "maxUnavailable"));
        Assert.Equal(Manifests.Node.PodSpec()!.Pairs("nodeSelector"), guard.PodSpec()!.Pairs("nodeSelector"));
    }

    private static bool IsOurs(YamlMappingNode container) => container.Text("image").Contains("/myrmidon:", StringComparison.Ordinal);

    private static string ImageOf(YamlMappingNode container) => container.Text("image").Split('/')[^1];

    /// <summary>Every command line of ours in the manifests, without the program's name.</summary>
    private static IEnumerable<string[]> Lines()
    {
        foreach (var container in Manifests.Workloads.SelectMany(one => one.Containers()).Where(IsOurs))
        {
            if (!container.Has("command")) yield return [.. container.Texts("args")];
            foreach (var exec in (string[][])[["startupProbe", "exec", "command"], ["livenessProbe", "exec", "command"], ["readinessProbe", "exec", "command"], ["lifecycle", "preStop", "exec", "command"]])
            {
                var command = container.Texts(exec).ToArray();
                if (command is ["myrmidon", ..]) yield return command[1..];
                else if (command is ["/bin/sh", "-c", var script]) yield return script["exec myrmidon ".Length..].Replace("\"$MYRMIDON_NAME\"", "worker-1", StringComparison.Ordinal).Split(' ');
                else Assert.Empty(command);
            }
        }
    }

    /// <summary>As Kubernetes fills it in.</summary>
    private static Dictionary<string, string> EnvironmentOf(YamlMappingNode container)
    {
        var filled = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var variable in container.Items("env"))
        {
            filled[variable.Text("name")] = variable.Text("valueFrom", "fieldRef", "fieldPath") switch
            {
                "spec.nodeName" => "worker-1",
                "status.podIP" => "10.0.0.5",
                "metadata.labels['topology.kubernetes.io/zone']" => "",
                "" => Reference().Replace(variable.Text("value"), match => filled[match.Groups["name"].Value]),
                var other => throw new InvalidDataException($"the field {other} is not known here"),
            };
        }
        return filled;
    }

    private static IEnumerable<string> DashboardQueries() =>
        JsonNode.Parse(Manifests.Of("ConfigMap").Single().Text("data", "dashboard.json"))!["panels"]!.AsArray().SelectMany(panel => panel!["targets"]!.AsArray()).Select(target => target!["expr"]!.GetValue<string>());

    [GeneratedRegex("Add(?<kind>Counters?|Gauges?|Histogram)\\(\\s*\"(?<name>myrmidon_[a-z_]+)\"", RegexOptions.CultureInvariant)]
    private static partial Regex Registration();

    [GeneratedRegex("myrmidon_[a-z_]+", RegexOptions.CultureInvariant)]
    private static partial Regex MetricName();

    [GeneratedRegex(@"\$\((?<name>[A-Z_]+)\)", RegexOptions.CultureInvariant)]
    private static partial Regex Reference();
}
