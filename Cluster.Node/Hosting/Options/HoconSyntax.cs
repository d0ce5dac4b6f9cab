namespace Cluster.Node.Hosting.Options;

/// <summary>
/// Looks whether the quotes and brackets of a HOCON text are closed, before Akka's parser gets it: that takes a file which ends in the middle for a whole one, so that
/// settings were lost without a word, and never returns from a list that is not closed or has a character which must be in quotes.
/// </summary>
internal static class HoconSyntax
{
    private const string TripleQuote = "\"\"\"";

    /// <summary>Characters that a value without quotes can't have.</summary>
    private const string OnlyInQuotes = ":=+^`?!@*&\\$";

    /// <summary>Null: nothing was found. Else the end of a sentence, which names the line.</summary>
    public static string? Check(string text)
    {
        var open = new Stack<(char Bracket, int Line)>();
        var line = 1;
        for (var at = 0; at < text.Length; at++)
        {
            var c = text[at];
            var rest = text.AsSpan(at);
            if (c == '\n')
            {
                line++;
            }
            else if (c == '#' || rest.StartsWith("//", StringComparison.Ordinal))
            {
                var end = rest.IndexOf('\n');
                if (end < 0) break;
                at += end - 1;
            }
            else if (c == '"')
            {
                if (QuotedLength(rest) is not { } length) return $"the quote in line {line} is not closed";
                line += rest[..length].Count('\n');
                at += length - 1;
            }
            else if (c is '{' or '[')
            {
                open.Push((c, line));
            }
            else if (c is '}' or ']')
            {
                if (!open.TryPop(out var last)) return $"the '{c}' in line {line} closes nothing";
                if (last.Bracket != (c == '}' ? '{' : '[')) return $"the '{last.Bracket}' in line {last.Line} is not closed before the '{c}' in line {line}";
            }
            else if (OnlyInQuotes.Contains(c) && open.TryPeek(out var around) && around.Bracket == '[' && !rest.StartsWith("${", StringComparison.Ordinal))
            {
                return $"the '{c}' in the list in line {line} must be in quotes";
            }
        }
        return open.TryPeek(out var left) ? $"the '{left.Bracket}' in line {left.Line} is not closed" : null;
    }

    /// <summary>Characters of the quoted text that begins here, with its quotes; null: it does not end, or not in its line.</summary>
    private static int? QuotedLength(ReadOnlySpan<char> text)
    {
        if (text.StartsWith(TripleQuote, StringComparison.Ordinal))
        {
            var end = text[TripleQuote.Length..].IndexOf(TripleQuote, StringComparison.Ordinal);
            return end < 0 ? null : end + (2 * TripleQuote.Length);
        }
        for (var at = 1; at < text.Length && text[at] != '\n'; at++)
        {
            if (text[at] == '"') return at + 1;
            if (text[at] == '\\' && !text[(at + 1)..].StartsWith("\n", StringComparison.Ordinal)) at++;
        }
        return null;
    }
}
