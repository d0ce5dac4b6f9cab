namespace Cluster.Node.Hosting.Options;

/// <summary>Finds what was probably meant by a misspelt name.</summary>
public static class Nearest
{
    /// <summary>A name further away than this is another name, not a slip.</summary>
    public const int SlipMax = 2;

    /// <summary>The closest of the known names, whatever its distance; null only when there are none.</summary>
    public static string? Of(string name, IEnumerable<string> known) =>
        known.MinBy(candidate => (Distance(name, candidate), candidate));

    /// <summary>The known name that differs by a slip of the finger, or null.</summary>
    public static string? Slip(string name, IEnumerable<string> known) =>
        Of(name, known) is { } near && Distance(name, near) is > 0 and <= SlipMax ? near : null;

    /// <summary>Letters to insert, delete or replace (Levenshtein).</summary>
    private static int Distance(string left, string right)
    {
        var row = new int[right.Length + 1];
        for (var column = 0; column <= right.Length; column++) row[column] = column;
        for (var at = 1; at <= left.Length; at++)
        {
            var diagonal = row[0];
            row[0] = at;
            for (var column = 1; column <= right.Length; column++)
            {
                var cost = left[at - 1] == right[column - 1] ? diagonal : diagonal + 1;
                diagonal = row[column];
                row[column] = Math.Min(cost, Math.Min(row[column - 1], diagonal) + 1);
            }
        }
        return row[right.Length];
    }
}
