using System.CommandLine;
using System.Globalization;
using System.Net;
using System.Text.Json;
using Cluster.Node.Api;
using Cluster.Node.Cli.Output;

namespace Cluster.Node.Cli;

/// <summary>`myrmidon snapshot …`.</summary>
internal static class SnapshotCommands
{
    public static Command Build() => new("snapshot", "Make, show, compare, restore and delete snapshots of volumes.")
    {
        Create(), List(), Show(), Delete(), Restore(), Diff(), SnapshotGroupCommands.Build(),
    };

    private static Command Create()
    {
        var (volume, name) = (Volume(), Name());
        var command = new VerbCommand("create",
            "Make a snapshot of a volume, while it is in use. It holds every write that was acknowledged before, like the disk of a machine that lost its power (crash-consistent).",
            "myrmidon snapshot create db before-upgrade", "myrmidon snapshot create shop/db monday")
        {
            volume, name,
        };
        Set(command, volume, name, (of, snapshot, client, cancellation) =>
            client.PostAsync(VolumeCommands.PathOf(of, "snapshots"), new CreateSnapshotRequest { Name = snapshot }, cancellation),
            (of, snapshot, answer, printer) =>
            {
                var made = answer.As<SnapshotResource>();
                if (answer.Status == (int)HttpStatusCode.Created)
                {
                    printer.PrintDone(answer.Body, $"Snapshot {snapshot} of volume {of} made.");
                    return ExitCode.Ok;
                }
                printer.Error($"Volume {of} has a snapshot \"{snapshot}\" already, made {Describe.Time(made.CreatedAt)}: choose another name, or delete that one first.");
                return ExitCode.Conflict;
            });
        return command;
    }

    private static Command List()
    {
        var volume = Volume();
        var command = new VerbCommand("list", "List a volume's snapshots, from the oldest to the newest. UNIQUE is what the deletion of just that one frees on each copy, SHARED what it holds besides.",
            "myrmidon snapshot list db", "myrmidon snapshot list db -o json")
        {
            volume,
        };
        command.Aliases.Add("ls");
        ClientOptions.Set(command, async (parsed, client, printer, cancellation) =>
        {
            var of = parsed.GetRequiredValue(volume);
            var answer = await client.GetAsync(VolumeCommands.PathOf(of, "snapshots"), cancellation);
            if (!answer.IsOk) return await VolumeCommands.FailAsync(client, printer, answer, of, cancellation);
            printer.Print(answer.Body, () => answer.As<SnapshotListResource>().Snapshots.Select(Describe.Row), Describe.SnapshotColumns);
            return ExitCode.Ok;
        });
        return command;
    }

    private static Command Show()
    {
        var (volume, name) = (Volume(), Name());
        var command = new VerbCommand("show", "Show a snapshot.", "myrmidon snapshot show db before-upgrade") { volume, name };
        Set(command, volume, name, (of, snapshot, client, cancellation) => client.GetAsync(PathOf(of, snapshot), cancellation), (_, _, answer, printer) =>
        {
            printer.PrintOne(answer.Body, () => Describe.Lines(answer.As<SnapshotResource>()));
            return ExitCode.Ok;
        });
        return command;
    }

    private static Command Delete()
    {
        var (volume, name) = (Volume(), Name());
        var command = new VerbCommand("delete", "Delete a snapshot, and free the space that only it needs. The volume and its other snapshots stay. This can't be undone.",
            "myrmidon snapshot delete db before-upgrade")
        {
            volume, name,
        };
        command.Aliases.Add("rm");
        Set(command, volume, name, (of, snapshot, client, cancellation) => client.SendAsync(HttpMethod.Delete, PathOf(of, snapshot), null, null, cancellation),
            (of, snapshot, answer, printer) =>
            {
                printer.PrintDone(answer.Body, $"Snapshot {snapshot} of volume {of} deleted.");
                return ExitCode.Ok;
            });
        return command;
    }

    private static Command Restore()
    {
        var (volume, name) = (Volume(), Name());
        var command = new VerbCommand("restore",
            "Put a volume back to what it was in a snapshot. Nobody may use it: disconnect its clients, and detach it, first. What was written since is lost unless another snapshot "
            + "has it; all snapshots stay. What takes longer than 25 s ends with exit code 5, and the restore goes on by itself: `myrmidon volume show` tells how far it is, and the same command again waits for its end.",
            "myrmidon snapshot create db before-restore", "myrmidon snapshot restore db before-upgrade")
        {
            volume, name,
        };
        Set(command, volume, name, (of, snapshot, client, cancellation) => client.PostAsync(PathOf(of, snapshot, "/restore"), null, cancellation),
            (of, snapshot, answer, printer) =>
            {
                printer.PrintDone(answer.Body, $"Volume {of} is what it was in snapshot {snapshot}.");
                return ExitCode.Ok;
            });
        return command;
    }

    private static Command Diff()
    {
        var volume = Volume();
        var from = SnapshotOption("--from", "The older snapshot; default: nothing, so that everything that holds data is listed");
        var to = SnapshotOption("--to", "The newer snapshot; default: the volume as it is now");
        var command = new VerbCommand("diff", "List where a volume changed between two snapshots, in bytes, for incremental backups. A run may hold blocks that have not changed.",
            "myrmidon snapshot diff db --from monday --to tuesday", "myrmidon snapshot diff db --to monday -o json")
        {
            volume, from, to,
        };
        ClientOptions.Set(command, async (parsed, client, printer, cancellation) =>
        {
            var (of, names) = (parsed.GetRequiredValue(volume), new[] { parsed.GetValue(from), parsed.GetValue(to) });
            var edges = string.Join('&', new[] { ("from", names[0]), ("to", names[1]) }.Where(edge => edge.Item2 is not null)
                .Select(edge => $"{edge.Item1}={Uri.EscapeDataString(edge.Item2!)}"));
            var runs = new List<ChangedRunResource>();
            for (ulong? first = 0; first is { } at;)
            {
                var query = string.Create(CultureInfo.InvariantCulture, $"{edges}{(edges.Length > 0 ? "&" : "")}first={at}");
                var answer = await client.GetAsync(VolumeCommands.PathOf(of, "changed-blocks", query), cancellation);
                if (!answer.IsOk) return await FailAsync(client, printer, answer, of, names, cancellation);
                var page = answer.As<ChangedBlocksResource>();
                foreach (var run in page.Runs) Add(runs, run);
                first = page.Next;
            }
            var all = JsonSerializer.SerializeToNode(new ChangedBlocksResource { Runs = runs }, ApiClient.Json);
            printer.Print(all, () => runs.Select(run => new[] { $"{run.Offset}", $"{run.Length}" }), "OFFSET", "LENGTH");
            return ExitCode.Ok;
        });
        return command;
    }

    /// <summary>Runs that a page's end has cut are put together again.</summary>
    private static void Add(List<ChangedRunResource> runs, ChangedRunResource run)
    {
        if (runs.Count > 0 && runs[^1].Offset + runs[^1].Length == run.Offset) runs[^1] = runs[^1] with { Length = runs[^1].Length + run.Length };
        else runs.Add(run);
    }

    private static void Set(
        Command command, Argument<VolumeName> volume, Argument<string> name, Func<VolumeName, string, ApiClient, CancellationToken, Task<ApiAnswer>> send,
        Func<VolumeName, string, ApiAnswer, Printer, int> print) =>
        ClientOptions.Set(command, async (parsed, client, printer, cancellation) =>
        {
            var (of, snapshot) = (parsed.GetRequiredValue(volume), parsed.GetRequiredValue(name));
            var answer = await send(of, snapshot, client, cancellation);
            return answer.IsOk ? print(of, snapshot, answer, printer) : await FailAsync(client, printer, answer, of, [snapshot], cancellation);
        });

    /// <summary>A name that was not found gets the nearest one that exists, of a snapshot if the volume is there.</summary>
    private static async Task<int> FailAsync(
        ApiClient client, Printer printer, ApiAnswer answer, VolumeName volume, IEnumerable<string?> snapshots, CancellationToken cancellation)
    {
        if (answer.ExitCode != ExitCode.NotFound) return VolumeCommands.Fail(printer, answer);
        var known = await client.GetAsync(VolumeCommands.PathOf(volume, "snapshots"), cancellation);
        if (!known.IsOk) return await VolumeCommands.FailAsync(client, printer, answer, volume, cancellation);
        VolumeCommands.Fail(printer, answer);
        var names = known.As<SnapshotListResource>().Snapshots.Select(snapshot => snapshot.Name).ToArray();
        foreach (var missing in snapshots.Where(snapshot => snapshot is not null && !names.Contains(snapshot)))
        {
            if (NearMiss.Of(missing!, names) is { } near) printer.Error($"Did you mean \"{near}\"?");
        }
        return answer.ExitCode;
    }

    private static string PathOf(VolumeName volume, string snapshot, string verb = "") => VolumeCommands.PathOf(volume, $"snapshots/{snapshot}{verb}");

    private static Argument<VolumeName> Volume() => VolumeCommands.Name("volume");

    private static Argument<string> Name() => new("name")
    {
        Description = "The snapshot's name: 1 to 63 of a-z, 0-9 and '-'",
        HelpName = "NAME",
        CustomParser = parse => ReadName(parse.Tokens[0].Value, parse.AddError),
    };

    private static Option<string?> SnapshotOption(string flag, string help) => new(flag)
    {
        Description = help,
        HelpName = "NAME",
        CustomParser = parse => ReadName(parse.Tokens[0].Value, parse.AddError),
    };

    private static string ReadName(string text, Action<string> refuse)
    {
        if (!VolumeName.IsLabel(text, "snapshot name", out var reason)) refuse(reason);
        return text;
    }
}
