using System.Collections.Immutable;
using System.Globalization;
using Cluster.Csi.Attach;
using Mode = Cluster.Csi.Csi.V1.VolumeCapability.Types.AccessMode.Types.Mode;

namespace Cluster.Csi.Csi;

/// <summary>
/// That a volume is published on a node, and how. Noted in the volume's label "csi.myrmidon.dev/published.NODE" as "GENERATION MODE ro|rw FILESYSTEM|block".
/// For one node alone the volume's attachment is the authority, and the note of another generation counts for nothing; those of MULTI_NODE_READER_ONLY
/// and MULTI_NODE_MULTI_WRITER share the shared attachment, and are the notes with these modes.
/// </summary>
/// <param name="Access">Null: attached, and nobody noted how (by hand, or the driver was killed between the two).</param>
internal sealed record Publication(string Node, ulong Generation, PublishedAs? Access)
{
    public static string LabelOf(string node) => Publications.LabelPrefix + node;
}

/// <summary>What must be the same for two publications to be the same one.</summary>
internal sealed record PublishedAs(Mode Mode, bool ReadOnly, string FileSystem)
{
    public static PublishedAs Of(Access access) => new(access.Mode, access.ReadOnly, access.FileSystem);

    public string Write(ulong generation) => string.Create(
        CultureInfo.InvariantCulture, $"{generation} {(int)Mode} {(ReadOnly ? "ro" : "rw")} {(FileSystem.Length == 0 ? "block" : FileSystem)}");

    public static bool TryRead(string text, out ulong generation, out PublishedAs access)
    {
        access = new PublishedAs(Mode.Unknown, false, "");
        generation = 0;
        if (text.Split(' ') is not [var first, var mode, "ro" or "rw", { Length: > 0 } fileSystem]) return false;
        if (!ulong.TryParse(first, NumberStyles.None, CultureInfo.InvariantCulture, out generation)) return false;
        if (!int.TryParse(mode, NumberStyles.None, CultureInfo.InvariantCulture, out var number) || !Enum.IsDefined((Mode)number)) return false;
        access = new PublishedAs((Mode)number, text.Contains(" ro ", StringComparison.Ordinal), fileSystem == "block" ? "" : fileSystem);
        return true;
    }
}

internal static class Publications
{
    public const string LabelPrefix = VolumeParameters.OwnPrefix + "published.";

    /// <summary>Where the volume is published now.</summary>
    public static ImmutableArray<Publication> Of(VolumeFacts volume) => Of(volume.Labels, volume.AttachedNode, volume.Generation);

    internal static ImmutableArray<Publication> Of(IEnumerable<KeyValuePair<string, string>> labels, string? attachedNode, ulong generation)
    {
        var noted = Noted(labels).ToArray();
        if (attachedNode is not { } node) return [.. noted.Where(publication => Capabilities.IsShared(publication.Access!.Mode))];
        return [noted.FirstOrDefault(publication => publication.Node == node && publication.Generation == generation)
            ?? new Publication(node, generation, null)];
    }

    /// <summary>Notes that count for nothing any more.</summary>
    public static IEnumerable<string> StaleLabels(VolumeFacts volume)
    {
        var live = Of(volume).Where(publication => publication.Access is not null).Select(publication => Publication.LabelOf(publication.Node));
        return volume.Labels.Keys.Where(key => key.StartsWith(LabelPrefix, StringComparison.Ordinal)).Except(live, StringComparer.Ordinal);
    }

    private static IEnumerable<Publication> Noted(IEnumerable<KeyValuePair<string, string>> labels)
    {
        foreach (var (key, value) in labels)
        {
            if (!key.StartsWith(LabelPrefix, StringComparison.Ordinal) || !PublishedAs.TryRead(value, out var generation, out var access)) continue;
            yield return new Publication(key[LabelPrefix.Length..], generation, access);
        }
    }
}

/// <summary>The driver's publications, as what else uses devices of a host needs to know them.</summary>
public static class HostPublications
{
    /// <summary>Only what is noted: an attachment that nobody noted a publication of may be anybody's.</summary>
    public static IReadOnlyList<HostPublication> Of(IReadOnlyDictionary<string, string> labels, string? attachedNode, ulong generation) =>
        [.. Publications.Of(labels, attachedNode, generation).Where(publication => publication.Access is not null).Select(publication => new HostPublication(
            publication.Node, publication.Access!.Mode.ToString(), Capabilities.IsShared(publication.Access.Mode), Capabilities.AllowsSeveralPaths(publication.Access.Mode)))];
}
