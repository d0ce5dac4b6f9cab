using System.Globalization;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace Cluster.Tests.Unit.Deployment;

/// <summary>
/// The fields of Kubernetes objects that docker/kubernetes may use: a field that is not here is a mistake or an addition to make here. "name!" is required, "[T]" a list, "{}" a map of
/// texts, "port" a number or a name. From the API references of the versions named in docs/kubernetes.md.
/// </summary>
internal static class ManifestSchema
{
    private static readonly Dictionary<string, string> Types = new(StringComparer.Ordinal)
    {
        ["v1 Namespace"] = "metadata!:Meta",
        ["v1 ServiceAccount"] = "metadata!:Namespaced automountServiceAccountToken:bool",
        ["v1 ConfigMap"] = "metadata!:Namespaced data!:{}",
        ["v1 Service"] = "metadata!:Namespaced spec!:ServiceSpec",
        ["apps/v1 DaemonSet"] = "metadata!:Namespaced spec!:DaemonSetSpec",
        ["apps/v1 Deployment"] = "metadata!:Namespaced spec!:DeploymentSpec",
        ["policy/v1 PodDisruptionBudget"] = "metadata!:Namespaced spec!:BudgetSpec",
        ["rbac.authorization.k8s.io/v1 ClusterRole"] = "metadata!:Meta rules!:[Rule]",
        ["rbac.authorization.k8s.io/v1 Role"] = "metadata!:Namespaced rules!:[Rule]",
        ["rbac.authorization.k8s.io/v1 ClusterRoleBinding"] = "metadata!:Meta roleRef!:RoleRef subjects!:[Subject]",
        ["rbac.authorization.k8s.io/v1 RoleBinding"] = "metadata!:Namespaced roleRef!:RoleRef subjects!:[Subject]",
        ["storage.k8s.io/v1 CSIDriver"] = "metadata!:Meta spec!:DriverSpec",
        ["storage.k8s.io/v1 StorageClass"] = "metadata!:Meta provisioner!:string parameters:{} allowVolumeExpansion:bool reclaimPolicy:Delete|Retain volumeBindingMode:Immediate|WaitForFirstConsumer mountOptions:[string]",
        ["storage.k8s.io/v1 VolumeAttributesClass"] = "metadata!:Meta driverName!:string parameters!:{}",
        ["snapshot.storage.k8s.io/v1 VolumeSnapshotClass"] = "metadata!:Meta driver!:string deletionPolicy!:Delete|Retain parameters:{}",
        ["groupsnapshot.storage.k8s.io/v1 VolumeGroupSnapshotClass"] = "metadata!:Meta driver!:string deletionPolicy!:Delete|Retain parameters:{}",
        ["cbt.storage.k8s.io/v1beta1 SnapshotMetadataService"] = "metadata!:Meta spec!:MetadataServiceSpec",
        ["monitoring.coreos.com/v1 ServiceMonitor"] = "metadata!:Namespaced spec!:MonitorSpec",
        ["monitoring.coreos.com/v1 PrometheusRule"] = "metadata!:Namespaced spec!:RulesSpec",
        ["Meta"] = "name!:string labels:{} annotations:{}",
        ["Namespaced"] = "name!:string namespace!:string labels:{} annotations:{}",
        ["Selector"] = "matchLabels!:{}",
        ["ServiceSpec"] = "clusterIP:None publishNotReadyAddresses:bool selector!:{} ports!:[ServicePort]",
        ["ServicePort"] = "name!:string port!:int targetPort!:string",
        ["DaemonSetSpec"] = "selector!:Selector updateStrategy!:UpdateStrategy template!:Template",
        ["UpdateStrategy"] = "type!:OnDelete|RollingUpdate",
        ["DeploymentSpec"] = "replicas!:int selector!:Selector template!:Template",
        ["Template"] = "metadata!:TemplateMeta spec!:Pod",
        ["TemplateMeta"] = "labels!:{}",
        ["Pod"] = "serviceAccountName:string automountServiceAccountToken:bool hostNetwork:bool hostPID:bool dnsPolicy:ClusterFirst|ClusterFirstWithHostNet enableServiceLinks:bool priorityClassName:string nodeSelector!:{} "
            + "tolerations:[Toleration] affinity:Affinity terminationGracePeriodSeconds:int securityContext:PodSecurity initContainers:[Container] containers!:[Container] volumes:[Volume]",
        ["Toleration"] = "operator:Exists|Equal key:string value:string effect:string",
        ["Affinity"] = "podAntiAffinity!:AntiAffinity",
        ["AntiAffinity"] = "requiredDuringSchedulingIgnoredDuringExecution!:[AffinityTerm]",
        ["AffinityTerm"] = "topologyKey!:string labelSelector!:Selector",
        ["PodSecurity"] = "runAsNonRoot:bool runAsUser:int runAsGroup:int seccompProfile:Seccomp",
        ["Seccomp"] = "type!:RuntimeDefault",
        ["Container"] = "name!:string image!:string command:[string] args:[string] env:[Env] ports:[Port] resources:Resources startupProbe:Probe livenessProbe:Probe readinessProbe:Probe lifecycle:Lifecycle "
            + "securityContext!:Security volumeMounts:[Mount]",
        ["Env"] = "name!:string value:string valueFrom:EnvSource",
        ["EnvSource"] = "fieldRef!:FieldRef",
        ["FieldRef"] = "fieldPath!:string",
        ["Port"] = "name!:string containerPort!:int",
        ["Resources"] = "requests!:Amounts limits:Amounts",
        ["Amounts"] = "cpu:string memory!:string",
        ["Probe"] = "httpGet:HttpGet exec:Exec periodSeconds!:int timeoutSeconds:int failureThreshold:int initialDelaySeconds:int",
        ["HttpGet"] = "path!:string port!:port",
        ["Exec"] = "command!:[string]",
        ["Lifecycle"] = "preStop!:Hook",
        ["Hook"] = "exec!:Exec",
        ["Security"] = "privileged:bool runAsUser:int runAsGroup:int allowPrivilegeEscalation:bool readOnlyRootFilesystem:bool capabilities:Capabilities",
        ["Capabilities"] = "drop!:[string]",
        ["Mount"] = "name!:string mountPath!:string mountPropagation:Bidirectional|HostToContainer readOnly:bool",
        ["BudgetSpec"] = "maxUnavailable!:int selector!:Selector",
        ["Rule"] = "apiGroups!:[text] resources!:[string] verbs!:[string]",
        ["RoleRef"] = "apiGroup!:string kind!:ClusterRole|Role name!:string",
        ["Subject"] = "kind!:ServiceAccount name!:string namespace!:string",
        ["DriverSpec"] = "attachRequired!:bool podInfoOnMount!:bool fsGroupPolicy!:File|ReadWriteOnceWithFSType|None storageCapacity!:bool requiresRepublish:bool volumeLifecycleModes!:[string]",
        ["MetadataServiceSpec"] = "address!:string audience!:string caCert!:base64",
        ["MonitorSpec"] = "selector!:Selector endpoints!:[Endpoint]",
        ["Endpoint"] = "port!:string path!:string interval!:string",
        ["RulesSpec"] = "groups!:[RuleGroup]",
        ["RuleGroup"] = "name!:string rules!:[Alert]",
        ["Alert"] = "alert!:string expr!:string for:string labels!:{} annotations!:Annotations",
        ["Annotations"] = "summary!:string description!:string",
    };

    private static readonly Dictionary<string, string> VolumeTypes = new(StringComparer.Ordinal)
    {
        ["Volume"] = "name!:string hostPath:HostPath projected:Projected secret:SecretSource",
        ["HostPath"] = "path!:string type!:Directory|DirectoryOrCreate",
        ["Projected"] = "sources!:[Source]",
        ["Source"] = "serviceAccountToken:TokenSource configMap:ConfigMapSource",
        ["SecretSource"] = "secretName!:string",
        ["TokenSource"] = "path!:string expirationSeconds!:int",
        ["ConfigMapSource"] = "name!:string items!:[KeyPath]",
        ["KeyPath"] = "key!:string path!:string",
    };

    /// <summary>Every mistake, with its place.</summary>
    public static IEnumerable<string> Check(YamlMappingNode one)
    {
        var type = $"{one.Text("apiVersion")} {one.Text("kind")}";
        if (!Types.TryGetValue(type, out var fields)) return [$"{one.Id()}: {type} is not known"];
        return CheckMap(one, "apiVersion!:string kind!:string " + fields, one.Id());
    }

    private static IEnumerable<string> CheckMap(YamlMappingNode map, string fields, string at)
    {
        var known = fields.Split(' ').Select(field => field.Split(':')).ToDictionary(parts => parts[0].TrimEnd('!'), parts => (Type: parts[1], Required: parts[0].EndsWith('!')), StringComparer.Ordinal);
        foreach (var missing in known.Where(field => field.Value.Required && !map.Has(field.Key))) yield return $"{at}: {missing.Key} is missing";
        foreach (var (key, value) in map.Children)
        {
            var name = key.ToString();
            if (!known.TryGetValue(name, out var field)) yield return $"{at}: {name} is not a field";
            else foreach (var mistake in CheckValue(value, field.Type, $"{at}.{name}")) yield return mistake;
        }
    }

    private static IEnumerable<string> CheckValue(YamlNode value, string type, string at)
    {
        if (type.StartsWith('['))
        {
            if (value is not YamlSequenceNode list) return [$"{at} is not a list"];
            return list.Children.Count == 0 ? [$"{at} is empty"] : list.Children.SelectMany((item, index) => CheckValue(item, type.Trim('[', ']'), string.Create(CultureInfo.InvariantCulture, $"{at}[{index}]")));
        }
        if (type == "{}") return value is YamlMappingNode texts ? texts.Children.SelectMany(child => CheckValue(child.Value, "string", $"{at}.{child.Key}")) : [$"{at} is not a map"];
        if (Types.TryGetValue(type, out var fields) || VolumeTypes.TryGetValue(type, out fields)) return value is YamlMappingNode map ? CheckMap(map, fields, at) : [$"{at} is not a map"];
        if (value is not YamlScalarNode scalar) return [$"{at} is not a plain value"];
        return Fits(scalar, type) ? [] : [$"{at} is {scalar.Value}, which is not {type}"];
    }

    private static bool Fits(YamlScalarNode scalar, string type)
    {
        var (text, isPlain) = (scalar.Value ?? "", scalar.Style is ScalarStyle.Plain or ScalarStyle.Any);
        var isNumber = isPlain && double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out _);
        // A plain yes, off or 3 is no text to the API server.
        var isWord = isPlain && text is "true" or "false" or "yes" or "no" or "on" or "off" or "null" or "~";
        return type switch
        {
            "int" => isNumber && int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out _),
            "bool" => isPlain && text is "true" or "false",
            // A number, or the name of one of the container's ports.
            "port" => isNumber ? int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var port) && port is > 0 and <= ushort.MaxValue : text.Length > 0 && !isWord,
            "base64" => text.Length > 0 && !isNumber && !isWord && Convert.TryFromBase64String(text, new byte[text.Length], out _),
            // The core group is the empty text.
            "text" => !isNumber && !isWord,
            "string" => text.Length > 0 && !isNumber && !isWord,
            _ => type.Split('|').Contains(text, StringComparer.Ordinal),
        };
    }
}
