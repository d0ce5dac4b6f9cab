using System.Security.Cryptography;
using System.Text;

namespace Cluster.Csi.Docker;

/// <summary>
/// Docker's names of volumes are longer and freer (my_project_data, 64 hexadecimal digits) than ours, which are DNS labels. One that is a DNS label is the
/// volume's name; any other becomes "docker-" and the first 32 digits of its SHA-256, with the name as a label of the volume.
/// </summary>
internal static class DockerName
{
    private const string Prefix = "docker-";
    private const int HashDigits = 32;
    private const int LabelLengthMax = 63;
    private const int LengthMax = 253;

    /// <summary>The volume's name; null for what Docker would not take either.</summary>
    public static string? VolumeOf(string? name)
    {
        if (name is null || name.Length is 0 or > LengthMax || !name.All(c => char.IsAsciiLetterOrDigit(c) || c is '_' or '.' or '-')) return null;
        if (IsLabel(name) && !name.StartsWith(Prefix, StringComparison.Ordinal)) return name;
        return Prefix + Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(name)))[..HashDigits];
    }

    private static bool IsLabel(string name) =>
        name.Length <= LabelLengthMax && name[0] != '-' && name[^1] != '-' && name.All(c => c is (>= 'a' and <= 'z') or (>= '0' and <= '9') or '-');
}
