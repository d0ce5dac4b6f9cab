using System.Globalization;

namespace Cluster.Messages.Model;

/// <summary>Reads sizes as people write them, on the command line and in Docker's options: 10GiB (1024-based), 10GB (1000-based), plain bytes.</summary>
public static class ByteSize
{
    private static readonly (string Suffix, decimal Factor)[] Units =
    [
        ("KiB", 1024m), ("MiB", 1048576m), ("GiB", 1073741824m), ("TiB", 1099511627776m), ("PiB", 1125899906842624m),
        ("KB", 1e3m), ("MB", 1e6m), ("GB", 1e9m), ("TB", 1e12m), ("PB", 1e15m), ("B", 1m),
    ];

    /// <summary>False with one sentence that names the text and says what would be right.</summary>
    public static bool TryParse(string text, out ulong bytes, out string reason)
    {
        bytes = 0;
        var trimmed = text.Trim();
        var digits = trimmed.Length - trimmed.TrimStart("0123456789.".ToCharArray()).Length;
        var suffix = trimmed[digits..].Trim();
        reason = "";
        if (!decimal.TryParse(trimmed[..digits], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var number))
        {
            reason = $"\"{text}\" is not a size: write a number and a unit, such as 10GiB, 500MB or 4096.";
            return false;
        }
        var factor = suffix.Length == 0 ? 1m
            : Units.FirstOrDefault(unit => unit.Suffix.Equals(suffix, StringComparison.OrdinalIgnoreCase)).Factor;
        if (factor == 0)
        {
            reason = $"\"{text}\" has the unknown unit \"{suffix}\": {Suggest(suffix)}";
            return false;
        }
        if (number > ulong.MaxValue / factor || number * factor % 1 != 0)
        {
            reason = $"\"{text}\" is not a whole number of bytes that a volume can have: use 512 bytes to 8PiB, such as 10GiB.";
            return false;
        }
        bytes = (ulong)(number * factor);
        return true;
    }

    private static string Suggest(string suffix)
    {
        var near = suffix.ToUpperInvariant() switch
        {
            "K" => "KiB (1024 bytes) or KB (1000 bytes)",
            "M" or "MI" => "MiB (1024-based) or MB (1000-based)",
            "G" or "GI" => "GiB (1024-based) or GB (1000-based)",
            "T" or "TI" => "TiB (1024-based) or TB (1000-based)",
            "P" or "PI" => "PiB (1024-based) or PB (1000-based)",
            _ => null,
        };
        return near is null ? "use KiB, MiB, GiB, TiB, PiB, KB, MB, GB, TB, PB, or no unit for bytes." : $"write {near}.";
    }
}
