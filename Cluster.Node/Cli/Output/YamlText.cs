using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using YamlDotNet.Core;
using YamlDotNet.Serialization;
using YamlDotNet.Serialization.EventEmitters;

namespace Cluster.Node.Cli.Output;

/// <summary>
/// JSON as YAML that any parser reads back as the same JSON. Parsers of YAML 1.1 and 1.2 take different plain words for booleans, numbers, dates and nulls
/// ("on", "1:20", "0x1f", "2026-01-01"); so a string is plain only where none of them can take it for anything else, and in quotes otherwise.
/// </summary>
internal static partial class YamlText
{
    private static readonly ISerializer Serializer = new SerializerBuilder().WithEventEmitter(next => new QuotedStrings(next)).Build();

    public static string Of(JsonNode? node) => Serializer.Serialize(Plain(node)!);

    /// <summary>The same as dictionaries, lists and values, which the YAML writer knows.</summary>
    private static object? Plain(JsonNode? node) => node switch
    {
        null => null,
        JsonObject map => map.ToDictionary(member => member.Key, member => Plain(member.Value)),
        JsonArray list => list.Select(Plain).ToList(),
        JsonValue value when value.TryGetValue<bool>(out var flag) => flag,
        JsonValue value when value.TryGetValue<int>(out var number) => number,
        JsonValue value when value.TryGetValue<ulong>(out var number) => number,
        JsonValue value when value.TryGetValue<long>(out var number) => number,
        JsonValue value when value.TryGetValue<double>(out var number) => number,
        _ => node.GetValue<string>(),
    };

    /// <summary>Begins with a letter or '/', has no character that YAML gives a meaning, and ends with none that it drops.</summary>
    [GeneratedRegex(@"\A[A-Za-z/]([A-Za-z0-9 ./_()-]*[A-Za-z0-9./_)])?\z")]
    private static partial Regex Unambiguous();

    /// <summary>YAML 1.1's words for true, false and null, and those of floats without their point.</summary>
    [GeneratedRegex(@"\A(y|yes|n|no|true|false|on|off|null|nan|inf)\z", RegexOptions.IgnoreCase)]
    private static partial Regex Word();

    private sealed class QuotedStrings(IEventEmitter next) : ChainedEventEmitter(next)
    {
        public override void Emit(ScalarEventInfo eventInfo, IEmitter emitter)
        {
            if (eventInfo.Source.Value is string text && (!Unambiguous().IsMatch(text) || Word().IsMatch(text))) eventInfo.Style = ScalarStyle.DoubleQuoted;
            base.Emit(eventInfo, emitter);
        }
    }
}
