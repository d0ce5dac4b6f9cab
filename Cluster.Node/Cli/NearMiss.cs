namespace Cluster.Node.Cli;

/// <summary>Finds the name that was probably meant.</summary>
internal static class NearMiss
{
    /// <summary>The closest candidate within a third of the text's length (at least one edit), or null.</summary>
    public static string? Of(string text, IEnumerable<string> candidates)
    {
        var bound = Math.Max(1, text.Length / 3);
        return candidates.Select(candidate => (Candidate: candidate, Edits: Distance(text, candidate)))
            .Where(found => found.Edits <= bound).OrderBy(found => found.Edits).ThenBy(found => found.Candidate, StringComparer.Ordinal)
            .Select(found => found.Candidate).FirstOrDefault();
    }

    private static int Distance(string left, string right)
    {
        var row = Enumerable.Range(0, right.Length + 1).ToArray();
        for (var i = 1; i <= left.Length; i++)
        {
            var diagonal = row[0];
            row[0] = i;
            for (var j = 1; j <= right.Length; j++)
            {
                var above = row[j];
                row[j] = Math.Min(Math.Min(row[j] + 1, row[j - 1] + 1), diagonal + (left[i - 1] == right[j - 1] ? 0 : 1));
                diagonal = above;
            }
        }
        return row[right.Length];
    }
}
