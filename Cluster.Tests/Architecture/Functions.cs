using System.Text.RegularExpressions;

namespace Cluster.Tests.Architecture;

/// <summary>A function with a body in braces: where it starts and how many lines it takes, signature and braces included.</summary>
internal sealed record Function(string Header, int Line, int Lines);

/// <summary>Finds functions by counting braces in blanked source: a block with parameters, directly inside a type.</summary>
internal static partial class Functions
{
    public static IEnumerable<Function> In(string source)
    {
        var text = SourceText.Blank(source);
        var blocks = new Stack<(bool Type, bool Member, int Line, string Header)>();
        var (header, line, headerLine) = ("", 1, 1);
        foreach (var c in text)
        {
            if (c == '\n') line++;
            switch (c)
            {
                case '{':
                    var type = TypeWord().IsMatch(header);
                    var member = !type && header.Contains('(', StringComparison.Ordinal) && blocks.TryPeek(out var outer) && outer.Type;
                    blocks.Push((type, member, headerLine, header.Trim()));
                    header = "";
                    break;
                case '}':
                    if (blocks.TryPop(out var block) && block.Member)
                        yield return new Function(block.Header, block.Line, line - block.Line + 1);
                    header = "";
                    break;
                case ';':
                    header = "";
                    break;
                default:
                    if (header.Length == 0 && char.IsWhiteSpace(c)) break;
                    if (header.Length == 0) headerLine = line;
                    header += c;
                    break;
            }
        }
    }

    [GeneratedRegex(@"\b(class|struct|record|interface|enum|namespace)\b", RegexOptions.CultureInvariant)]
    private static partial Regex TypeWord();
}
