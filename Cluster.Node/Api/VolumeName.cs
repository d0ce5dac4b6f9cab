using Cluster.Messages.Model;

namespace Cluster.Node.Api;

/// <summary>A volume's name within its namespace. Both are DNS labels: 1-63 of a-z, 0-9 and '-', first and last not '-'.</summary>
public readonly record struct VolumeName(string Namespace, string Name)
{
    public override string ToString() => Namespace == VolumeSpec.DefaultNamespace ? Name : $"{Namespace}/{Name}";

    /// <summary>Reads "NAME" or "NAMESPACE/NAME"; the reason is one sentence.</summary>
    public static bool TryParse(string text, out VolumeName name, out string reason)
    {
        var slash = text.IndexOf('/', StringComparison.Ordinal);
        name = slash < 0 ? new VolumeName(VolumeSpec.DefaultNamespace, text) : new VolumeName(text[..slash], text[(slash + 1)..]);
        return IsLabel(name.Namespace, "namespace", out reason) && IsLabel(name.Name, "volume name", out reason);
    }

    /// <summary>Whether the text is a DNS label; the reason names it and says what would be right.</summary>
    public static bool IsLabel(string text, string what, out string reason)
    {
        var good = text.Length is > 0 and <= Limits.NameLengthMax && text[0] != '-' && text[^1] != '-' && text.All(IsLabelCharacter);
        reason = good ? "" : $"The {what} \"{Shorten(text)}\" is not valid: use 1 to {Limits.NameLengthMax} of a-z, 0-9 and '-', "
            + "with a letter or digit at both ends.";
        return good;
    }

    private static bool IsLabelCharacter(char c) => c is (>= 'a' and <= 'z') or (>= '0' and <= '9') or '-';

    private static string Shorten(string text) => text.Length <= 80 ? text : string.Concat(text.AsSpan(0, 77), "...");
}
