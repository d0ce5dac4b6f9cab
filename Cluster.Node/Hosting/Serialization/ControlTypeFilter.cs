using System.Collections.Frozen;
using System.Text.RegularExpressions;
using Cluster.Messages;
using Hyperion;

namespace Cluster.Node.Hosting.Serialization;

/// <summary>
/// The allow-list: only what stands in <see cref="Manifests"/> is written or read. Hyperion names one type in several ways (with the
/// assembly's version when it writes, with a marker for the core library when it reads), so names are compared without those.
/// </summary>
internal sealed partial class ControlTypeFilter : ITypeFilter
{
    private static readonly FrozenSet<string> Allowed = Manifests.ControlMessages.Select(m => m.Value).Concat(Manifests.Nested)
        .Select(type => Plain(type.AssemblyQualifiedName!)).ToFrozenSet(StringComparer.Ordinal);

    public bool IsAllowed(string typeName) => Allowed.Contains(Plain(typeName));

    private static string Plain(string typeName) => Decoration().Replace(typeName, "");

    [GeneratedRegex(@",\s*Version=[^,\]]*|,\s*Culture=[^,\]]*|,\s*PublicKeyToken=[^,\]]*|,%core%", RegexOptions.CultureInvariant)]
    private static partial Regex Decoration();
}
