using Akka.Configuration;
using Akka.Configuration.Hocon;

namespace Cluster.Node.Hosting.Options;

/// <summary>What stands in a HOCON text, key by key; Akka's own reader only answers for keys that one knows already.</summary>
internal static class HoconKeys
{
    public static IEnumerable<string> Top(Config config) => config.Root.IsObject() ? config.Root.GetObject().Items.Keys : [];

    /// <summary>Every value with its dotted key. An array is its elements with commas between them.</summary>
    public static IEnumerable<(string Key, string Text)> Leaves(Config? config) =>
        config is null || config.IsEmpty ? [] : Leaves(config.Root, "");

    private static IEnumerable<(string Key, string Text)> Leaves(HoconValue value, string path)
    {
        if (value.IsObject())
        {
            foreach (var (key, inner) in value.GetObject().Items)
            {
                foreach (var leaf in Leaves(inner, path.Length == 0 ? key : $"{path}.{key}")) yield return leaf;
            }
            yield break;
        }
        yield return (path, value.IsArray() ? string.Join(',', value.GetArray().Select(item => item.GetString())) : value.GetString()
            ?? "");
    }
}
