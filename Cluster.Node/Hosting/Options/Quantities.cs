using System.Globalization;

namespace Cluster.Node.Hosting.Options;

/// <summary>Durations ("500ms", "10m") and sizes ("64KiB", "10GiB") as settings and labels write them.</summary>
public static class Quantities
{
    public const string DurationForm = "a duration such as 500ms, 30s, 10m, 2h or 1d";
    public const string SizeForm = "a size such as 512B, 64KiB, 8MiB, 1GiB or 2TiB";

    private static readonly (string Unit, double Factor)[] DurationUnits =
        [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

    private static readonly (string Unit, double Factor)[] SizeUnits =
        [("KiB", 1L << 10), ("MiB", 1L << 20), ("GiB", 1L << 30), ("TiB", 1L << 40), ("PiB", 1L << 50), ("B", 1)];

    /// <summary>At most int.MaxValue milliseconds (24 days).</summary>
    public static bool TryDuration(string text, out TimeSpan value)
    {
        value = default;
        if (!TryScale(text, DurationUnits, int.MaxValue, out var milliseconds)) return false;
        value = TimeSpan.FromMilliseconds(milliseconds);
        return true;
    }

    public static bool TrySize(string text, out long bytes)
    {
        bytes = 0;
        if (!TryScale(text, SizeUnits, 1L << 60, out var value)) return false;
        bytes = (long)value;
        return true;
    }

    private static bool TryScale(string text, (string Unit, double Factor)[] units, double max, out double value)
    {
        value = 0;
        foreach (var (unit, factor) in units)
        {
            if (!text.EndsWith(unit, StringComparison.Ordinal)) continue;
            var number = text.AsSpan(0, text.Length - unit.Length).TrimEnd();
            if (!double.TryParse(number, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out value)) continue;
            value = Math.Round(value * factor);
            return value <= max;
        }
        return false;
    }
}
