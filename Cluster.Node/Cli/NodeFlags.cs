using System.CommandLine;
using Cluster.Node.Hosting.Options;

namespace Cluster.Node.Cli;

/// <summary>The flags that are a node's settings (hocon/myrmidon.conf, where their meaning stands), for the verbs that run a node or look whether one could.</summary>
internal sealed class NodeFlags
{
    private readonly Option<string?> _file = new("--config") { Description = "Settings file (HOCON) with what differs from hocon/myrmidon.conf", HelpName = "FILE" };

    private readonly (string Key, Option<string?> Option)[] _flags = [.. NodeSetting.All.Where(setting => setting.Flag).Select(setting => (setting.Key, OptionOf(setting)))];

    public static NodeFlags AddTo(Command command)
    {
        var flags = new NodeFlags();
        command.Options.Add(flags._file);
        foreach (var (_, option) in flags._flags) command.Options.Add(option);
        return flags;
    }

    /// <summary>The settings that these flags, the environment of this process and the settings file come to.</summary>
    public NodeSettingsResult Load(ParseResult parsed) => NodeSettings.Load(Given(parsed), NodeSettings.Variables(), File(parsed));

    /// <summary>The settings file, or null.</summary>
    public string? File(ParseResult parsed) => parsed.GetValue(_file);

    /// <summary>Keys of the settings that stand on the command line, with their text.</summary>
    public Dictionary<string, string> Given(ParseResult parsed) => _flags.Where(flag => parsed.GetValue(flag.Option) is not null)
        .ToDictionary(flag => flag.Key, flag => parsed.GetValue(flag.Option)!, StringComparer.Ordinal);

    private static Option<string?> OptionOf(NodeSetting setting) =>
        new("--" + setting.Key) { Description = $"{setting.FullKey}: {setting.Expects}", HelpName = setting.Key.ToUpperInvariant() };
}
