using System.Security.Cryptography;
using System.Text;
using Cluster.Messages.Model;
using Google.Protobuf.Collections;

namespace Cluster.Csi.Csi;

/// <summary>Checks of request fields, and the driver's ids. Each check answers null, or what is wrong.</summary>
internal static class CsiFields
{
    private const char SnapshotSeparator = '@';
    private const int HashDigits = 16;

    public static CsiError? Name(string value, string field) => Text(value, field, CsiLimits.StringBytesMax)
        ?? (value.Any(char.IsControl) ? CsiError.Invalid($"The field {field} has a control character; use printable ones.") : null);

    /// <summary>An id that we gave. That no such thing exists is the caller's business, not a malformed request.</summary>
    public static CsiError? Id(string value, string field) => Text(value, field, CsiLimits.StringBytesMax);

    public static CsiError? NodeId(string value) => Text(value, "node_id", CsiLimits.NodeIdBytesMax);

    public static CsiError? Path(string value, string field) => Text(value, field, CsiLimits.PathBytesMax)
        ?? (value[0] != '/' || value.Contains('\0', StringComparison.Ordinal) ? CsiError.Invalid($"The field {field} is no absolute path.") : null);

    public static CsiError? Map(MapField<string, string> map, string field)
    {
        var bytes = map.Sum(pair => Encoding.UTF8.GetByteCount(pair.Key) + Encoding.UTF8.GetByteCount(pair.Value));
        return bytes <= CsiLimits.MapBytesMax ? null
            : CsiError.Invalid($"The field {field} has {bytes} bytes; the specification allows {CsiLimits.MapBytesMax}.");
    }

    public static CsiError? MaxEntries(int value) =>
        value >= 0 ? null : CsiError.Invalid($"The field max_entries is {value}; give 0 (no bound) or more.");

    /// <summary>
    /// A name of ours for one of the orchestrator's, which may have 128 bytes of anything: itself if it fits, else what fits of it and a hash of all of it. The
    /// same name always gives the same one.
    /// </summary>
    public static string OwnName(string name, Func<string, bool> isReserved)
    {
        if (IsLabel(name) && !isReserved(name)) return name;
        var hash = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(name)))[..HashDigits];
        var fits = new string([.. name.ToLowerInvariant().Select(c => IsLabelCharacter(c) ? c : '-')]).Trim('-');
        var start = fits[..Math.Min(fits.Length, Limits.NameLengthMax - HashDigits - 1)].Trim('-');
        if (start.Length == 0 || isReserved(start)) start = "csi";
        return $"{start}-{hash}";
    }

    public static string SnapshotId(string volume, string snapshot) => volume + SnapshotSeparator + snapshot;

    /// <summary>False when it is none of ours, so that nothing has this id.</summary>
    public static bool TrySnapshot(string id, out string volume, out string snapshot)
    {
        var at = id.LastIndexOf(SnapshotSeparator);
        (volume, snapshot) = at < 0 ? ("", "") : (id[..at], id[(at + 1)..]);
        return at > 0 && IsLabel(snapshot) && IsVolumeId(volume);
    }

    /// <summary>Whether a group snapshot of ours can have this id.</summary>
    public static bool IsGroupId(string id) => IsLabel(id);

    public static bool IsVolumeId(string id)
    {
        var slash = id.IndexOf('/', StringComparison.Ordinal);
        return slash < 0 ? IsLabel(id) : IsLabel(id[..slash]) && IsLabel(id[(slash + 1)..]);
    }

    private static CsiError? Text(string value, string field, int bytesMax)
    {
        if (value.Length == 0) return CsiError.Invalid($"The field {field} is missing.");
        var bytes = Encoding.UTF8.GetByteCount(value);
        return bytes <= bytesMax ? null : CsiError.Invalid($"The field {field} has {bytes} bytes; the specification allows {bytesMax}.");
    }

    private static bool IsLabel(string text) =>
        text.Length is > 0 and <= Limits.NameLengthMax && text[0] != '-' && text[^1] != '-' && text.All(IsLabelCharacter);

    private static bool IsLabelCharacter(char c) => c is (>= 'a' and <= 'z') or (>= '0' and <= '9') or '-';
}
