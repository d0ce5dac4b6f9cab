using System.CommandLine;
using System.Net;
using Cluster.Node.Api;
using Cluster.Node.Cli.Output;

namespace Cluster.Node.Cli;

/// <summary>`myrmidon snapshot group …`.</summary>
internal static class SnapshotGroupCommands
{
    public static Command Build() => new("group", "Make, show and delete snapshots of several volumes at one point.")
    {
        Create(), List(), Show(), Delete(),
    };

    private static Command Create()
    {
        var name = Name();
        var volumes = new Argument<VolumeName[]>("volumes")
        {
            Description = "The volumes: VOLUME, or NAMESPACE/VOLUME outside the namespace \"default\"",
            HelpName = "VOLUME",
            Arity = ArgumentArity.OneOrMore,
            CustomParser = parse => [.. parse.Tokens.Select(token => VolumeOf(token.Value, parse.AddError))],
        };
        var command = new VerbCommand("create",
            "Make snapshots of several volumes at one point, while they are in use: as of machines that all lost their power at once. Each volume gets a snapshot of that name. Their writes are "
            + "held for a moment.",
            "myrmidon snapshot group create nightly db db-log", "myrmidon snapshot group create before-upgrade db shop/db")
        {
            name, volumes,
        };
        ClientOptions.Set(command, async (parsed, client, printer, cancellation) =>
        {
            var (group, of) = (parsed.GetRequiredValue(name), parsed.GetRequiredValue(volumes));
            var body = new CreateSnapshotGroupRequest { Name = group, Volumes = [.. of.Select(volume => volume.ToString())] };
            var answer = await client.PostAsync("/v1/snapshot-groups", body, cancellation);
            if (!answer.IsOk) return VolumeCommands.Fail(printer, answer);
            var made = answer.As<SnapshotGroupResource>();
            if (answer.Status == (int)HttpStatusCode.Created)
            {
                printer.PrintDone(answer.Body, $"Snapshot {group} of the volumes {string.Join(", ", of)} made, at one point.");
                return ExitCode.Ok;
            }
            printer.Error($"There is a snapshot group \"{group}\" of these volumes already, made {Describe.Time(made.CreatedAt)}: choose another name, or delete that one first.");
            return ExitCode.Conflict;
        });
        return command;
    }

    private static Command List()
    {
        var command = new VerbCommand("list", "List the snapshots of several volumes. One that was given up half-way is unfinished: make it again, or delete it.", "myrmidon snapshot group list");
        command.Aliases.Add("ls");
        ClientOptions.Set(command, async (_, client, printer, cancellation) =>
        {
            var answer = await client.GetAsync("/v1/snapshot-groups", cancellation);
            if (!answer.IsOk) return VolumeCommands.Fail(printer, answer);
            printer.Print(answer.Body, () => answer.As<SnapshotGroupResource[]>().Select(Describe.Row), Describe.SnapshotGroupColumns);
            return ExitCode.Ok;
        });
        return command;
    }

    private static Command Show()
    {
        var name = Name();
        var command = new VerbCommand("show", "Show a snapshot of several volumes.", "myrmidon snapshot group show nightly") { name };
        ClientOptions.Set(command, async (parsed, client, printer, cancellation) =>
        {
            var answer = await client.GetAsync(PathOf(parsed.GetRequiredValue(name)), cancellation);
            if (!answer.IsOk) return await FailAsync(client, printer, answer, parsed.GetRequiredValue(name), cancellation);
            printer.PrintOne(answer.Body, () => Describe.Lines(answer.As<SnapshotGroupResource>()));
            return ExitCode.Ok;
        });
        return command;
    }

    private static Command Delete()
    {
        var name = Name();
        var forget = new Option<bool>("--forget-record") { Description = "Only of a group that is unreadable: take away its record; the snapshots of its volumes stay, as single ones" };
        var command = new VerbCommand("delete", "Delete a snapshot of several volumes: the snapshot of each of them. The volumes stay. This can't be undone.",
            "myrmidon snapshot group delete nightly", "myrmidon snapshot group delete nightly --forget-record")
        {
            name, forget,
        };
        command.Aliases.Add("rm");
        ClientOptions.Set(command, async (parsed, client, printer, cancellation) =>
        {
            var group = parsed.GetRequiredValue(name);
            var forgets = parsed.GetValue(forget);
            var answer = await client.SendAsync(HttpMethod.Delete, PathOf(group) + (forgets ? "?forget-record=true" : ""), null, null, cancellation);
            if (!answer.IsOk) return await FailAsync(client, printer, answer, group, cancellation);
            printer.PrintDone(answer.Body, forgets ? $"The record of snapshot group {group} is gone; the snapshots of its volumes stay." : $"Snapshot group {group} deleted.");
            return ExitCode.Ok;
        });
        return command;
    }

    /// <summary>A name that was not found gets the nearest one that exists.</summary>
    private static async Task<int> FailAsync(ApiClient client, Printer printer, ApiAnswer answer, string group, CancellationToken cancellation)
    {
        VolumeCommands.Fail(printer, answer);
        if (answer.ExitCode != ExitCode.NotFound) return answer.ExitCode;
        var all = await client.GetAsync("/v1/snapshot-groups", cancellation);
        if (all.IsOk && NearMiss.Of(group, all.As<SnapshotGroupResource[]>().Select(known => known.Name)) is { } near) printer.Error($"Did you mean \"{near}\"?");
        return answer.ExitCode;
    }

    private static string PathOf(string group) => $"/v1/snapshot-groups/{group}";

    private static Argument<string> Name() => new("name")
    {
        Description = "The group's name, and that of the snapshot on each volume: 1 to 63 of a-z, 0-9 and '-'",
        HelpName = "NAME",
        CustomParser = parse =>
        {
            var text = parse.Tokens[0].Value;
            if (!VolumeName.IsLabel(text, "name of a snapshot group", out var reason)) parse.AddError(reason);
            return text;
        },
    };

    private static VolumeName VolumeOf(string text, Action<string> refuse)
    {
        if (!VolumeName.TryParse(text, out var name, out var reason)) refuse(reason);
        return name;
    }
}
