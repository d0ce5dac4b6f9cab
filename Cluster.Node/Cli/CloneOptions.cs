using System.CommandLine;
using System.CommandLine.Parsing;
using Cluster.Node.Api;

namespace Cluster.Node.Cli;

/// <summary>What a new volume is cloned from.</summary>
internal static class CloneOptions
{
    public static Option<CloneSourceRequest?> FromSnapshot() => new("--from-snapshot")
    {
        Description = "Clone this snapshot: at once, whatever its size; blocks are shared until they are overwritten",
        HelpName = "VOLUME/SNAPSHOT",
        CustomParser = parse =>
        {
            var text = parse.Tokens[0].Value;
            var slash = text.LastIndexOf('/');
            if (slash < 0) parse.AddError($"The snapshot '{text}' has no volume: write VOLUME/SNAPSHOT, or NAMESPACE/VOLUME/SNAPSHOT.");
            return slash < 0 ? null : Source(parse, text[..slash], text[(slash + 1)..]);
        },
    };

    public static Option<CloneSourceRequest?> FromVolume() => new("--from-volume")
    {
        Description = "Clone this volume as it is now, likewise; it may be in use",
        HelpName = "VOLUME",
        CustomParser = parse => Source(parse, parse.Tokens[0].Value, null),
    };

    public static void Check(CommandResult result, Option<ulong> size, Option<CloneSourceRequest?> fromSnapshot, Option<CloneSourceRequest?> fromVolume)
    {
        var (isSnapshot, isVolume) = (result.GetResult(fromSnapshot) is not null, result.GetResult(fromVolume) is not null);
        if (isSnapshot && isVolume) result.AddError("A volume is cloned from one thing: give --from-snapshot or --from-volume.");
        else if (!isSnapshot && !isVolume && result.GetResult(size) is null) result.AddError("Option '--size' is required. Only a clone has one without it.");
    }

    private static CloneSourceRequest? Source(ArgumentResult parse, string volume, string? snapshot)
    {
        var reason = "";
        if (VolumeName.TryParse(volume, out _, out reason) && (snapshot is null || VolumeName.IsLabel(snapshot, "snapshot name", out reason)))
            return new CloneSourceRequest { Volume = volume, Snapshot = snapshot };
        parse.AddError(reason);
        return null;
    }
}
