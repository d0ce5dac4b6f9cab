using System.Collections;
using Akka.Configuration;
using Cluster.Node.Hosting.Memory;

namespace Cluster.Node.Hosting.Options;

/// <summary>The loaded settings, or the reason why not, in one sentence.</summary>
/// <param name="Akka">The operator's file, whose section "akka" is laid over the shipped akka.conf.</param>
public sealed record NodeSettingsResult(NodeOptions? Options, Config Akka, string Error)
{
    public static NodeSettingsResult Failed(string error) => new(null, Config.Empty, error);
}

/// <summary>Reads hocon/myrmidon.conf, then the operator's file, then environment variables, then flags; the later one wins.</summary>
public static class NodeSettings
{
    public const string FileVariable = "MYRMIDON_CONFIG";
    private const string DefaultsFile = "myrmidon.conf";
    private static readonly string[] SectionsOfAFile = [NodeSetting.Section, "akka"];

    /// <summary>Directory of the shipped files, beside the program.</summary>
    public static string ShippedDirectory => Path.Combine(AppContext.BaseDirectory, "hocon");

    /// <summary>All variables of this process.</summary>
    public static Dictionary<string, string> Variables() => Environment.GetEnvironmentVariables().Cast<DictionaryEntry>()
        .ToDictionary(variable => (string)variable.Key, variable => (string?)variable.Value ?? "", StringComparer.Ordinal);

    /// <param name="flags">Key without "myrmidon." to text.</param>
    /// <param name="environment">All variables of the process.</param>
    /// <param name="file">The operator's file, or null.</param>
    public static NodeSettingsResult Load(
        IReadOnlyDictionary<string, string> flags, IReadOnlyDictionary<string, string> environment, string? file)
    {
        var result = ReadFile(new NodeOptions(), Path.Combine(ShippedDirectory, DefaultsFile));
        if (result.Options is null) return result;
        file ??= environment.GetValueOrDefault(FileVariable);
        if (file is not null) result = ReadFile(result.Options, file);
        if (result.Options is null) return result;
        var akka = result.Akka;
        var fromVariables = ReadVariables(result.Options, environment);
        if (fromVariables.Options is null) return fromVariables;
        var fromFlags = ReadFlags(fromVariables.Options, flags);
        return fromFlags.Options is null ? fromFlags : Complete(fromFlags.Options, akka, environment);
    }

    private static NodeSettingsResult ReadFile(NodeOptions options, string file)
    {
        Config config;
        try
        {
            var text = File.ReadAllText(file);
            if (HoconSyntax.Check(text) is { } wrong) return NodeSettingsResult.Failed($"The settings file {file} is not HOCON: {wrong}.");
            config = ConfigurationFactory.ParseString(text, included => throw new FormatException($"it includes {included}; write the settings themselves here"));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return NodeSettingsResult.Failed($"The settings file {file} can't be read: {e.Message}");
        }
        catch (Exception e)
        {
            // The parser has no type of its own for what it can't read.
            return NodeSettingsResult.Failed($"The settings file {file} is not HOCON: {e.Message.Split('\n')[0].Trim().TrimEnd('.', ':')}.");
        }
        foreach (var section in HoconKeys.Top(config))
        {
            if (!SectionsOfAFile.Contains(section, StringComparer.Ordinal))
                return NodeSettingsResult.Failed(
                    $"{file} has an unknown section '{section}'; known are {string.Join(" and ", SectionsOfAFile)}.");
        }
        foreach (var (key, text) in HoconKeys.Leaves(config.GetConfig(NodeSetting.Section)))
        {
            var next = Set(options, NodeSetting.Section + "." + key, key, text, file);
            if (next.Options is null) return next;
            options = next.Options;
        }
        return new NodeSettingsResult(options, config, "");
    }

    private static NodeSettingsResult ReadVariables(NodeOptions options, IReadOnlyDictionary<string, string> environment)
    {
        var known = NodeSetting.All.Select(setting => setting.Variable).ToArray();
        foreach (var (name, value) in environment.OrderBy(variable => variable.Key, StringComparer.Ordinal))
        {
            if (!name.StartsWith("MYRMIDON_", StringComparison.Ordinal) || IsServiceLink(value)) continue;
            var setting = NodeSetting.All.FirstOrDefault(candidate => candidate.Variable == name);
            if (setting is null)
            {
                if (Nearest.Slip(name, known) is { } near)
                    return NodeSettingsResult.Failed($"The environment variable {name} is no setting; did you mean {near}?");
                continue;
            }
            var next = Set(options, name, setting.Key, value, "the environment");
            if (next.Options is null) return next;
            options = next.Options;
        }
        return new NodeSettingsResult(options, Config.Empty, "");
    }

    private static NodeSettingsResult ReadFlags(NodeOptions options, IReadOnlyDictionary<string, string> flags)
    {
        foreach (var (key, value) in flags)
        {
            var next = Set(options, "--" + key, key, value, "the command line");
            if (next.Options is null) return next;
            options = next.Options;
        }
        return new NodeSettingsResult(options, Config.Empty, "");
    }

    private static NodeSettingsResult Set(NodeOptions options, string shown, string key, string text, string where)
    {
        var setting = NodeSetting.All.FirstOrDefault(candidate => candidate.Key == key);
        if (setting is null)
        {
            var near = Nearest.Of(key, NodeSetting.All.Select(candidate => candidate.Key));
            return NodeSettingsResult.Failed($"{shown} in {where} is no setting; the nearest one is {NodeSetting.Section}.{near}.");
        }
        return setting.Apply(options, text) is { } next
            ? new NodeSettingsResult(next, Config.Empty, "")
            : NodeSettingsResult.Failed($"{shown} in {where} is '{text}'; it must be {setting.Expects}.");
    }

    private static NodeSettingsResult Complete(NodeOptions options, Config akka, IReadOnlyDictionary<string, string> environment)
    {
        var name = options.Name.Length > 0 ? options.Name : Environment.MachineName;
        if (!Names.IsNodeName(name))
            return NodeSettingsResult.Failed($"This host is called '{name}', which can't be a node's name; set myrmidon.name (--name).");
        var advertised = options.AdvertisedHost.Length > 0 ? options.AdvertisedHost : options.Host;
        if (advertised is "0.0.0.0" or "::")
            return NodeSettingsResult.Failed(
                $"myrmidon.host is {advertised}, by which no other node can reach this one; "
                + "set myrmidon.advertised-host to a name or address that can.");
        if (KubernetesApiAddress.Of(options, environment.GetValueOrDefault).Error is { Length: > 0 } error) return NodeSettingsResult.Failed(error);
        if (MemoryPlan.Of(options, ContainerMemory.LimitBytes()).Error is { Length: > 0 } tooSmall) return NodeSettingsResult.Failed(tooSmall);
        var data = Path.GetFullPath(options.DataDirectory);
        return new NodeSettingsResult(options with { Name = name, AdvertisedHost = advertised, DataDirectory = data }, akka, "");
    }

    /// <summary>Kubernetes gives each pod variables such as MYRMIDON_API_PORT=tcp://10.0.0.1:5705 for a service "myrmidon-api".</summary>
    private static bool IsServiceLink(string value) => ((string[])["tcp://", "udp://", "sctp://"]).Any(scheme => value.StartsWith(scheme, StringComparison.Ordinal));
}
