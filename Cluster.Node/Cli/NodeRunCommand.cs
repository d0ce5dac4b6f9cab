using System.CommandLine;
using Cluster.Node.Hosting;
using Cluster.Node.Hosting.Options;

namespace Cluster.Node.Cli;

/// <summary>
/// `myrmidon node`: runs a node until SIGTERM or Ctrl-C. Each flag is a setting of hocon/myrmidon.conf, where its meaning stands.
/// </summary>
internal static class NodeRunCommand
{
    public static void AddTo(Command node)
    {
        var file = new Option<string?>("--config")
        { Description = "Settings file (HOCON) with what differs from hocon/myrmidon.conf", HelpName = "FILE" };
        node.Options.Add(file);
        var flags = NodeSetting.All.Where(setting => setting.Flag).Select(setting => (setting.Key, Option: OptionOf(setting))).ToArray();
        foreach (var (_, option) in flags) node.Options.Add(option);
        node.SetAction((parsed, cancellation) =>
        {
            var given = flags.Where(flag => parsed.GetValue(flag.Option) is not null)
                .ToDictionary(flag => flag.Key, flag => parsed.GetValue(flag.Option)!, StringComparer.Ordinal);
            return NodeProcess.RunAsync(given, parsed.GetValue(file), parsed.InvocationConfiguration.Error, cancellation);
        });
    }

    private static Option<string?> OptionOf(NodeSetting setting) =>
        new("--" + setting.Key) { Description = $"{setting.FullKey}: {setting.Expects}", HelpName = setting.Key.ToUpperInvariant() };
}
