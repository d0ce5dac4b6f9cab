using Cluster.Messages.Model;

namespace Cluster.Node.Placement;

/// <summary>Names of volumes and namespaces: DNS labels, so that they fit Kubernetes, NBD exports and URLs alike.</summary>
public static class VolumeNames
{
    public const string Form = "1 to 63 lower-case letters, digits and dashes, starting and ending with a letter or digit";

    public static bool IsValid(string name)
    {
        if (name.Length is 0 or > Limits.NameLengthMax || name[0] == '-' || name[^1] == '-') return false;
        foreach (var c in name)
        {
            if (c is not ((>= 'a' and <= 'z') or (>= '0' and <= '9') or '-')) return false;
        }
        return true;
    }

    /// <summary>The catalogue's key of "NAME" or "NAMESPACE/NAME": the default namespace is left out.</summary>
    public static string Key(string fullName) =>
        fullName.StartsWith(VolumeSpec.DefaultNamespace + "/", StringComparison.Ordinal)
            ? fullName[(VolumeSpec.DefaultNamespace.Length + 1)..] : fullName;
}
