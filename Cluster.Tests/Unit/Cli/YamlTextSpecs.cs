using System.Text.Json.Nodes;
using Cluster.Node.Cli.Output;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;
using YamlDotNet.Serialization;

namespace Cluster.Tests.Unit.Cli;

public sealed class YamlTextSpecs
{
    private static readonly string[] Treacherous =
    [
        "3", "-1", "0x1f", "0o17", "017", "1e3", "1_000", ".5", "1:20", "190:20:30", "on", "Off", "yes", "NO", "y", "n", "true", "False", "null", "~", "", " ", ".inf", ".NaN", "=", "<<",
        "2026-11-30", "2026-11-30T07:07:39Z", "00112233445566778899aabbccddeeff", "12345678901234567890123456789012", "1234567e1234567812345678", "a: b", "a #b", "- a", "? a", "*a", "&a",
        "!a", "%a", "@a", "`a", "{a", "[a", "'a'", "\"a\"", "a\nb", " a", "a ", "a\tb", "---", "ä", "a:", "http://127.0.0.1:5705",
    ];

    [Fact(DisplayName = "What is a string in JSON is one in YAML, and read back it is the same JSON")]
    public void Round_trip()
    {
        var node = new JsonObject { ["strings"] = new JsonArray([.. Treacherous.Select(text => JsonValue.Create(text))]), ["on"] = true, ["3"] = new JsonObject { ["n"] = 3, ["x"] = -1.5 } };
        foreach (var (text, at) in Treacherous.Select((text, at) => (text, at))) ((JsonObject)node["3"]!)[$"{at} of {text}"] = text;
        var yaml = YamlText.Of(node);
        Assert.Equal(node.ToJsonString(), Read(yaml).ToJsonString());
        // Words that another version of YAML takes for something else are told from strings by their quotes only.
        var parser = new Parser(new StringReader(yaml));
        var plain = new List<string>();
        while (parser.MoveNext())
        {
            if (parser.Current is Scalar { Style: ScalarStyle.Plain } scalar) plain.Add(scalar.Value);
        }
        Assert.Empty(plain.Except(["strings", "x", "true", "3", "-1.5"]));
    }

    [Theory(DisplayName = "Strings that nobody can take for anything else are plain")]
    [InlineData("healthy")]
    [InlineData("/var/lib/myrmidon")]
    [InlineData("node-0")]
    [InlineData("a sentence (with a remark)")]
    public void Plain(string text) => Assert.Equal($"a: {text}\n", YamlText.Of(new JsonObject { ["a"] = text }).ReplaceLineEndings("\n"));

    /// <summary>With types by YAML's own rules: quoted is a string, plain may be a number or a boolean.</summary>
    private static JsonNode Read(string yaml)
    {
        var read = new DeserializerBuilder().WithAttemptingUnquotedStringTypeDeserialization().Build().Deserialize<object>(yaml);
        return Node(read)!;
    }

    private static JsonNode? Node(object? value) => value switch
    {
        null => null,
        IDictionary<object, object> map => new JsonObject(map.Select(member => KeyValuePair.Create($"{member.Key}", Node(member.Value)))),
        IEnumerable<object> list => new JsonArray([.. list.Select(Node)]),
        bool flag => flag,
        string text => text,
        float or double => Convert.ToDouble(value, System.Globalization.CultureInfo.InvariantCulture),
        _ => Convert.ToInt64(value, System.Globalization.CultureInfo.InvariantCulture),
    };
}
