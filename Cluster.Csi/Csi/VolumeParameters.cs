using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using Cluster.Csi.Csi.V1;
using Google.Protobuf.Collections;

namespace Cluster.Csi.Csi;

/// <summary>
/// Parameters of StorageClasses and VolumeAttributesClasses are volume labels, with or without "myrmidon.dev/" before them. What the standard sidecars add
/// about the claim is kept as labels too. Anything else is refused: a misspelt parameter must not make another volume than was meant.
/// </summary>
internal static class VolumeParameters
{
    public const string Prefix = "myrmidon.dev/";

    /// <summary>What the driver itself notes on volumes.</summary>
    public const string OwnPrefix = "csi.myrmidon.dev/";

    /// <summary>A hash of the request that made the volume, so that only the same one finds it.</summary>
    public const string RequestLabel = OwnPrefix + "request";

    /// <summary>The orchestrator's name, where ours had to be another one.</summary>
    public const string NameLabel = OwnPrefix + "name";

    private const string FileSystemKey = "csi.storage.k8s.io/fstype";

    public const string ClaimKey = "csi.storage.k8s.io/pvc/name";

    public const string ClaimNamespaceKey = "csi.storage.k8s.io/pvc/namespace";

    private static readonly ImmutableSortedSet<string> OfClaims = ImmutableSortedSet.Create(StringComparer.Ordinal, ClaimKey, ClaimNamespaceKey, "csi.storage.k8s.io/pv/name");

    private static readonly ImmutableSortedSet<string> OfSnapshots = ImmutableSortedSet.Create(StringComparer.Ordinal,
        "csi.storage.k8s.io/volumesnapshot/name", "csi.storage.k8s.io/volumesnapshot/namespace", "csi.storage.k8s.io/volumesnapshotcontent/name");

    private static readonly ImmutableSortedSet<string> OfGroups = ImmutableSortedSet.Create(StringComparer.Ordinal,
        "csi.storage.k8s.io/volumegroupsnapshot/name", "csi.storage.k8s.io/volumegroupsnapshot/namespace", "csi.storage.k8s.io/volumegroupsnapshotcontent/name");

    /// <summary>Adds the parameters to the labels; null when all of them are known and none contradicts another.</summary>
    public static CsiError? Read(
        MapField<string, string> parameters, string field, IVolumeControl control, ImmutableSortedDictionary<string, string>.Builder labels)
    {
        if (CsiFields.Map(parameters, field) is { } tooLarge) return tooLarge;
        foreach (var (key, value) in parameters.OrderBy(parameter => parameter.Key, StringComparer.Ordinal))
        {
            // The file system is said by the capability; the sidecar that passes it on here too says the same.
            if (key == FileSystemKey) continue;
            if (LabelOf(key, control) is not { } label)
                return CsiError.Invalid($"The key '{Cut(key)}' of {field} is unknown; known are {string.Join(", ", Names(control))}.");
            if (value.Length == 0) return CsiError.Invalid($"The value of '{key}' in {field} is empty.");
            if (labels.TryGetValue(label, out var other) && other != value)
                return CsiError.Invalid($"The key '{key}' of {field} is given twice, as '{Cut(other)}' and '{Cut(value)}'.");
            labels[label] = value;
        }
        return control.CheckLabels(labels.ToImmutable()) is { } reason ? CsiError.Invalid(reason) : null;
    }

    /// <summary>
    /// Adds what the claim asks for; null when all of it is known and the classes say nothing else. What a class says holds: who may make claims must not be able to lift the limits
    /// that whoever made the class has set.
    /// </summary>
    public static CsiError? AddClaim(ImmutableSortedDictionary<string, string> claim, string name, IVolumeControl control, ImmutableSortedDictionary<string, string>.Builder labels)
    {
        foreach (var (key, value) in claim)
        {
            if (!control.KnownLabels.Contains(key))
                return CsiError.Invalid($"The claim {name} has '{Cut(key)}', which is unknown; known are {string.Join(", ", control.HonouredLabels)}.");
            if (labels.TryGetValue(key, out var other) && other != value)
                return CsiError.Invalid($"The claim {name} asks for {key} '{Cut(value)}', its class for '{Cut(other)}'; a claim can't change what its class says.");
            labels[key] = value;
        }
        return control.CheckLabels(labels.ToImmutable()) is { } reason ? CsiError.Invalid($"The claim {name}: {reason}") : null;
    }

    /// <summary>Null when a snapshot can be made with them: there are none of its own.</summary>
    public static CsiError? CheckSnapshot(MapField<string, string> parameters) => CheckKnown(parameters, OfSnapshots);

    /// <summary>The same of a group snapshot.</summary>
    public static CsiError? CheckGroup(MapField<string, string> parameters) => CheckKnown(parameters, OfGroups);

    private static CsiError? CheckKnown(MapField<string, string> parameters, ImmutableSortedSet<string> known)
    {
        if (CsiFields.Map(parameters, "parameters") is { } tooLarge) return tooLarge;
        return parameters.Keys.Order(StringComparer.Ordinal).FirstOrDefault(key => !known.Contains(key)) is { } unknown
            ? CsiError.Invalid($"The key '{Cut(unknown)}' of parameters is unknown; snapshots have none.")
            : null;
    }

    /// <summary>The same for the same request, whatever was done to the volume since.</summary>
    public static string RequestHash(string name, ImmutableSortedDictionary<string, string> labels, VolumeContentSource? source)
    {
        var text = new StringBuilder();
        Append(text, name);
        foreach (var (key, value) in labels)
        {
            Append(text, key);
            Append(text, value);
        }
        Append(text, source?.Snapshot?.SnapshotId ?? "");
        Append(text, source?.Volume?.VolumeId ?? "");
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text.ToString())))[..32];
    }

    private static void Append(StringBuilder text, string part) => text.Append(part.Length).Append(':').Append(part);

    private static string? LabelOf(string key, IVolumeControl control)
    {
        if (OfClaims.Contains(key)) return key;
        var label = key.StartsWith(Prefix, StringComparison.Ordinal) ? key : Prefix + key;
        return control.KnownLabels.Contains(label) ? label : null;
    }

    private static IEnumerable<string> Names(IVolumeControl control) => control.HonouredLabels.Select(label => label[Prefix.Length..]);

    private static string Cut(string text) => text.Length <= 80 ? text : text[..80] + "...";
}
