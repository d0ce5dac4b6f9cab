using System.Globalization;
using Cluster.Messages.Model;

namespace Cluster.Node.Cli;

/// <summary>Sizes as people write them: 10GiB (1024-based), 10GB (1000-based), plain bytes.</summary>
public static class SizeText
{
    private static readonly (string Suffix, decimal Factor)[] Units =
        [("KiB", 1024m), ("MiB", 1048576m), ("GiB", 1073741824m), ("TiB", 1099511627776m), ("PiB", 1125899906842624m)];

    /// <summary>False with one sentence that names the text and says what would be right.</summary>
    public static bool TryParse(string text, out ulong bytes, out string reason) => ByteSize.TryParse(text, out bytes, out reason);

    /// <summary>Exact when it can be: 10GiB; else two decimals: 1.50GiB.</summary>
    public static string Format(ulong bytes)
    {
        for (var index = Units.Length - 1; index >= 0; index--)
        {
            var (suffix, factor) = Units[index];
            if (bytes < factor) continue;
            var number = bytes / factor;
            return (number % 1 == 0 ? number.ToString("0", CultureInfo.InvariantCulture)
                : number.ToString("0.00", CultureInfo.InvariantCulture)) + suffix;
        }
        return $"{bytes}B";
    }
}
