using System.Text.RegularExpressions;
using Cluster.Tests.Architecture;

namespace Cluster.Tests.Unit.Deployment;

/// <summary>Who looks up at night what a message means finds the message in the page.</summary>
public sealed partial class DocumentedMessagesSpecs
{
    private static readonly string[] Commands = ["kubectl", "myrmidon", "explain", "logs", "curl", "GET"];

    /// <summary>What others print: sidecars, the kubelet, the C library.</summary>
    private static readonly string[] OfOthers = ["failed to list", "secret \"myrmidon-snapshot-metadata\" not found", "address already in use", "detected topology value collision"];

    [Fact(DisplayName = "Every message that the page for 3 a.m. quotes is one that the program prints, with ... for what differs")]
    public void Messages_are_printed()
    {
        var page = Repository.Read("docs/kubernetes.md");
        var from = page.IndexOf("## At 3 a.m.", StringComparison.Ordinal);
        var section = page[from..page.IndexOf("\n## ", from, StringComparison.Ordinal)];
        // Values in messages, be they interpolated or of a logger's template.
        var sources = string.Join('\n', Repository.Under("Cluster.Csi", "Cluster.Node").Select(file => Value().Replace(Repository.Read(file), "...")));
        var quoted = Code().Matches(section).Select(match => match.Groups[1].Value)
            .Where(text => text.Contains(' ', StringComparison.Ordinal) && !Commands.Contains(text.Split(' ')[0]) && !OfOthers.Contains(text)).ToList();
        Assert.True(quoted.Count >= 5, string.Join(", ", quoted));
        Assert.All(quoted, text => Assert.True(sources.Contains(text, StringComparison.Ordinal), $"nothing prints `{text}`"));
    }

    [GeneratedRegex(@"\{[^{}\n]*\}")]
    private static partial Regex Value();

    [GeneratedRegex("`([^`\\n]*)`")]
    private static partial Regex Code();
}
