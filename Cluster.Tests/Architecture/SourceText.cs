namespace Cluster.Tests.Architecture;

/// <summary>C# source without what is said in comments, strings and characters: those are blanked, lines stay where they are.</summary>
internal static class SourceText
{
    public static string Blank(string source)
    {
        var text = source.ToCharArray();
        for (var at = 0; at < text.Length;)
        {
            var end = EndOfUncode(source, at);
            if (end == at)
            {
                at++;
                continue;
            }
            for (; at < end; at++)
            {
                if (text[at] != '\n') text[at] = ' ';
            }
        }
        return new string(text);
    }

    /// <summary>Where the comment, string or character ends that starts here; the same place if none does.</summary>
    private static int EndOfUncode(string source, int at)
    {
        if (Starts(source, at, "//")) return EndAfter(source, at, "\n") - 1;
        if (Starts(source, at, "/*")) return EndAfter(source, at + 2, "*/");
        if (source[at] == '\'') return EndOfCharacter(source, at);
        var quote = at;
        while (quote < source.Length && source[quote] is '$' or '@') quote++;
        if (quote >= source.Length || source[quote] != '"') return at;
        var prefix = source[at..quote];
        if (!prefix.Contains('@', StringComparison.Ordinal) && Starts(source, quote, "\"\"\"")) return EndOfRaw(source, quote);
        return EndOfString(source, quote + 1, prefix.Contains('@', StringComparison.Ordinal),
            prefix.Contains('$', StringComparison.Ordinal));
    }

    private static int EndOfCharacter(string source, int at)
    {
        var end = at + 1;
        while (end < source.Length && source[end] is not ('\'' or '\n')) end += source[end] == '\\' ? 2 : 1;
        return Math.Min(end + 1, source.Length);
    }

    private static int EndOfRaw(string source, int quote)
    {
        var quotes = 0;
        while (source[quote + quotes] == '"') quotes++;
        return EndAfter(source, quote + quotes, new string('"', quotes));
    }

    private static int EndOfString(string source, int at, bool verbatim, bool interpolated)
    {
        while (at < source.Length)
        {
            var c = source[at];
            if (c == '"' && verbatim && Starts(source, at, "\"\"")) at += 2;
            else if (c == '"') return at + 1;
            else if (c == '\\' && !verbatim) at += 2;
            else if (interpolated && c == '{' && !Starts(source, at, "{{")) at = EndOfHole(source, at + 1);
            else at += interpolated && Starts(source, at, "{{") ? 2 : 1;
        }
        return at;
    }

    private static int EndOfHole(string source, int at)
    {
        for (var depth = 1; at < source.Length;)
        {
            var end = EndOfUncode(source, at);
            if (end > at)
            {
                at = end;
                continue;
            }
            if (source[at] == '{') depth++;
            if (source[at] == '}' && --depth == 0) return at + 1;
            at++;
        }
        return at;
    }

    private static bool Starts(string source, int at, string what) => string.CompareOrdinal(source, at, what, 0, what.Length) == 0;

    private static int EndAfter(string source, int at, string what)
    {
        var end = source.IndexOf(what, at, StringComparison.Ordinal);
        return end < 0 ? source.Length : end + what.Length;
    }
}
