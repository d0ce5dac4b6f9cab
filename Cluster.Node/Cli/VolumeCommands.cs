using System.CommandLine;
using System.CommandLine.Parsing;
using System.Text.Json.Nodes;
using Cluster.Messages.Model;
using Cluster.Node.Api;
using Cluster.Node.Cli.Output;

namespace Cluster.Node.Cli;

/// <summary>`myrmidon volume …`.</summary>
internal static class VolumeCommands
{
    public static Command Build() => new("volume", "Create, show, change and delete volumes.")
    {
        Create(), List(), Show(), Delete(), Resize(), Label(), VolumeDeviceCommands.Attach(Name()), VolumeDeviceCommands.Detach(Name()), VolumeDeviceCommands.List(), Move(), Explain(), VolumeScrubCommand.Build(Name()), VolumeWaitCommand.Build(Name()),
    };

    private static Command Create()
    {
        var name = Name();
        var size = Size("--size", "Size, such as 10GiB (1024-based), 10GB (1000-based) or bytes; thin, so it costs nothing until written. Default of a clone: that of its origin", required: false);
        var (fromSnapshot, fromVolume) = (CloneOptions.FromSnapshot(), CloneOptions.FromVolume());
        var replicas = Replicas("Copies in all, 1-5; default: as many as there are nodes, 3 at most");
        var labels = Labels("--label", "A label, such as myrmidon.dev/failure-mode=hard; may be given many times");
        var command = new VerbCommand("create", "Create a volume. It can be used as soon as this returns.",
            "myrmidon volume create db --size 10GiB --replicas 3",
            "myrmidon volume create shop/db --size 500GB --label myrmidon.dev/failure-mode=hard",
            "myrmidon volume create db-test --from-snapshot db/monday")
        {
            name, size, replicas, labels, fromSnapshot, fromVolume,
        };
        command.Validators.Add(result => CloneOptions.Check(result, size, fromSnapshot, fromVolume));
        ClientOptions.Set(command, async (parsed, client, printer, cancellation) =>
        {
            var volume = parsed.GetRequiredValue(name);
            var body = new CreateVolumeRequest
            {
                Name = volume.Name,
                Namespace = volume.Namespace,
                SizeBytes = parsed.GetValue(size),
                Source = parsed.GetValue(fromSnapshot) ?? parsed.GetValue(fromVolume),
                Replicas = parsed.GetValue(replicas),
                Labels = parsed.GetValue(labels)?.ToDictionary(label => label.Key, label => label.Value),
            };
            var answer = await client.PostAsync("/v1/volumes", body, cancellation);
            if (!answer.IsOk) return Fail(printer, answer);
            var created = answer.As<VolumeResource>();
            var clone = created.Source is { } source ? $" as a clone of {Describe.TextOf(source)}" : "";
            printer.PrintDone(answer.Body, $"Volume {volume} created{clone}: {SizeText.Format(created.SizeBytes)}, copies on "
                + $"{string.Join(", ", created.Replicas.Select(replica => replica.Node))}.");
            if (created.SingleCopy) printer.Hint("It has a single copy: losing that node's disk loses the data.");
            if (printer.Format == OutputFormat.Table) await HintAtNbdAsync(client, printer, volume, cancellation);
            return ExitCode.Ok;
        });
        return command;
    }

    private static Command List()
    {
        var scope = new Option<string?>("--namespace", "-n") { Description = "Only this namespace; default: all", HelpName = "NAMESPACE" };
        var command = new VerbCommand("list", "List volumes.", "myrmidon volume list", "myrmidon volume list -o json") { scope };
        command.Aliases.Add("ls");
        ClientOptions.Set(command, async (parsed, client, printer, cancellation) =>
        {
            var only = parsed.GetValue(scope);
            var answer = await client.GetAsync(only is null ? "/v1/volumes"
                : $"/v1/volumes?namespace={Uri.EscapeDataString(only)}", cancellation);
            if (!answer.IsOk) return Fail(printer, answer);
            printer.Print(answer.Body, () => answer.As<VolumeResource[]>().Select(Describe.Row), Describe.VolumeColumns);
            return ExitCode.Ok;
        });
        return command;
    }

    private static Command Show()
    {
        var name = Name();
        var command = new VerbCommand("show", "Show a volume: its owner, its copies, its labels.", "myrmidon volume show db",
            "myrmidon volume show db -o json")
        {
            name,
        };
        ClientOptions.Set(command, async (parsed, client, printer, cancellation) =>
        {
            var volume = parsed.GetRequiredValue(name);
            var answer = await client.GetAsync(PathOf(volume), cancellation);
            if (!answer.IsOk) return await FailAsync(client, printer, answer, volume, cancellation);
            printer.PrintOne(answer.Body, () => Describe.Lines(answer.As<VolumeResource>()));
            return ExitCode.Ok;
        });
        return command;
    }

    private static Command Delete()
    {
        var name = Name();
        var force = new Option<bool>("--force") { Description = "Also while it is attached or in use (whoever uses it is cut off), and with its snapshots" };
        var command = new VerbCommand("delete",
            "Delete a volume and its data, on every node. Refused while it is in use or has snapshots. This can't be undone.",
            "myrmidon volume delete db", "myrmidon volume delete db --force") { name, force };
        command.Aliases.Add("rm");
        SetChange(command, name, (parsed, volume, client, cancellation) =>
            client.SendAsync(HttpMethod.Delete, PathOf(volume, query: parsed.GetValue(force) ? "force=true" : ""), null, null, cancellation),
            (volume, _) => $"Volume {volume} deleted.");
        return command;
    }

    private static Command Resize()
    {
        var name = Name();
        var size = Size("--size", "The new size, such as 20GiB; not below the present one without --allow-shrink", required: false);
        var replicas = Replicas("The new number of copies in all, 1-5");
        var allowShrink = new Option<bool>("--allow-shrink")
        {
            Description = "A smaller size, too: shrink the file system first, and trim what is beyond; refused while data or snapshots are there",
        };
        var command = new VerbCommand("resize", "Grow or shrink a volume, or give it another number of copies, while it is in use.",
            "myrmidon volume resize db --size 20GiB", "myrmidon volume resize db --replicas 3", "myrmidon volume resize db --size 5GiB --allow-shrink")
        {
            name, size, replicas, allowShrink,
        };
        command.Validators.Add(result =>
        {
            if (result.GetResult(size) is null && result.GetResult(replicas) is null) result.AddError("Say what to change: give --size, --replicas, or both.");
        });
        SetChange(command, name,
            (parsed, volume, client, cancellation) => client.SendAsync(HttpMethod.Patch, PathOf(volume),
                new ChangeVolumeRequest
                {
                    SizeBytes = parsed.GetResult(size) is null ? null : parsed.GetValue(size),
                    Replicas = parsed.GetValue(replicas),
                    AllowShrink = parsed.GetValue(allowShrink),
                },
                null, cancellation),
            (volume, changed) => $"Volume {volume} is {SizeText.Format(changed!.SizeBytes)} now, with copies on "
                + $"{string.Join(", ", changed.Replicas.Select(replica => replica.State == "in-sync" ? replica.Node : $"{replica.Node} ({replica.State})"))}.");
        return command;
    }

    private static Command Label()
    {
        var name = Name();
        var labels = new Argument<(string Key, string? Value)[]>("labels")
        {
            Description = "KEY=VALUE sets a label, KEY- removes it",
            HelpName = "KEY=VALUE|KEY-",
            Arity = ArgumentArity.OneOrMore,
            CustomParser = parse => [.. parse.Tokens.Select(token => ReadLabelChange(token.Value, parse.AddError))],
        };
        var command = new VerbCommand("label", "Set or remove a volume's labels; those under myrmidon.dev/ take effect at once.", "myrmidon volume label db tier=gold",
            "myrmidon volume label db tier- myrmidon.dev/hold-time=10m")
        {
            name, labels,
        };
        SetChange(command, name,
            (parsed, volume, client, cancellation) => client.SendAsync(HttpMethod.Patch, PathOf(volume), new ChangeVolumeRequest
            {
                Labels = parsed.GetRequiredValue(labels).GroupBy(label => label.Key)
                    .ToDictionary(label => label.Key, label => label.Last().Value),
            }, null, cancellation),
            (volume, changed) =>
                changed!.Labels.Count == 0 ? $"Volume {volume} has no labels." : $"Volume {volume} has the labels {string.Join(", ", changed.Labels.Select(label => $"{label.Key}={label.Value}"))}.");
        return command;
    }

    private static Command Move()
    {
        var (name, node) = (Name(), NodeOption("The node to serve the volume from; it must hold an in-sync copy"));
        var command = new VerbCommand("move", "Move a volume's owner to another node that holds an in-sync copy.",
            "myrmidon volume move db --node node-2")
        {
            name, node,
        };
        SetChange(command, name,
            (parsed, volume, client, cancellation) =>
                client.PostAsync(PathOf(volume, "move"), new NodeRequest { Node = parsed.GetRequiredValue(node) }, cancellation),
            (volume, changed) => $"Volume {volume} is served by {changed!.Owner} (epoch {changed.Epoch}).");
        return command;
    }

    private static Command Explain()
    {
        var name = Name();
        var command = new VerbCommand("explain", "Tell a volume's history: each change of owner, of the in-sync set, of size and labels.",
            "myrmidon volume explain db")
        {
            name,
        };
        ClientOptions.Set(command, async (parsed, client, printer, cancellation) =>
        {
            var volume = parsed.GetRequiredValue(name);
            var answer = await client.GetAsync(PathOf(volume, "events"), cancellation);
            if (!answer.IsOk) return await FailAsync(client, printer, answer, volume, cancellation);
            printer.Print(answer.Body, () => answer.As<VolumeEventResource[]>()
                .Select(e => new[] { $"{e.Number}", e.Kind, e.Text }), "NUMBER", "EVENT", "WHAT");
            return ExitCode.Ok;
        });
        return command;
    }

    private static void SetChange(
        Command command, Argument<VolumeName> name, Func<ParseResult, VolumeName, ApiClient, CancellationToken, Task<ApiAnswer>> send,
        Func<VolumeName, VolumeResource?, string> sentence) =>
        ClientOptions.Set(command, async (parsed, client, printer, cancellation) =>
        {
            var volume = parsed.GetRequiredValue(name);
            var answer = await send(parsed, volume, client, cancellation);
            if (!answer.IsOk) return await FailAsync(client, printer, answer, volume, cancellation);
            printer.PrintDone(answer.Body, sentence(volume, answer.Body is JsonObject ? answer.As<VolumeResource>() : null));
            return ExitCode.Ok;
        });

    internal static int Fail(Printer printer, ApiAnswer answer)
    {
        printer.Error(answer.Error);
        return answer.ExitCode;
    }

    /// <summary>A name that was not found gets the nearest one that exists.</summary>
    internal static async Task<int> FailAsync(ApiClient client, Printer printer, ApiAnswer answer, VolumeName volume,
        CancellationToken cancellation)
    {
        Fail(printer, answer);
        if (answer.ExitCode != ExitCode.NotFound) return answer.ExitCode;
        var all = await client.GetAsync("/v1/volumes", cancellation);
        if (all.IsOk && NearMiss.Of(volume.ToString(), all.As<VolumeResource[]>().Select(Describe.FullName)) is { } near && near != volume.ToString())
        {
            printer.Error($"Did you mean \"{near}\"?");
        }
        return answer.ExitCode;
    }

    private static async Task HintAtNbdAsync(ApiClient client, Printer printer, VolumeName volume, CancellationToken cancellation)
    {
        var nodes = await client.GetAsync("/v1/nodes", cancellation);
        var nbd = nodes.IsOk ? nodes.As<NodeResource[]>().FirstOrDefault(node => node.State == "up" && node.Nbd is not null)?.Nbd : null;
        if (nbd is not null) printer.Hint($"Use it through any node, such as {nbd}/{volume}");
    }

    internal static string PathOf(VolumeName volume, string verb = "", string query = "")
    {
        var path = verb.Length > 0 ? $"/v1/volumes/{volume.Name}/{verb}" : $"/v1/volumes/{volume.Name}";
        var scope = volume.Namespace == VolumeSpec.DefaultNamespace ? "" : $"namespace={volume.Namespace}";
        var parameters = string.Join('&', new[] { scope, query }.Where(part => part.Length > 0));
        return parameters.Length == 0 ? path : $"{path}?{parameters}";
    }

    internal static Argument<VolumeName> Name(string argument = "name") => new(argument)
    {
        Description = $"{argument.ToUpperInvariant()}, or NAMESPACE/{argument.ToUpperInvariant()} outside the namespace \"default\"",
        HelpName = argument.ToUpperInvariant(),
        CustomParser = parse =>
        {
            if (!VolumeName.TryParse(parse.Tokens[0].Value, out var name, out var reason)) parse.AddError(reason);
            return name;
        },
    };

    private static Option<int?> Replicas(string help) => NumberOption.Optional("--replicas", help, 1, Limits.ReplicasMax);

    private static Option<ulong> Size(string flag, string help, bool required = true) => new(flag)
    {
        Description = help,
        HelpName = "SIZE",
        Required = required,
        CustomParser = parse =>
        {
            if (!SizeText.TryParse(parse.Tokens[0].Value, out var bytes, out var reason)) parse.AddError(reason);
            return bytes;
        },
    };

    private static Option<string> NodeOption(string help) => new("--node") { Description = help, HelpName = "NODE", Required = true };

    private static Option<(string Key, string Value)[]> Labels(string flag, string help) => new(flag)
    {
        Description = help,
        HelpName = "KEY=VALUE",
        CustomParser = parse => ReadLabels(parse),
    };

    private static (string Key, string Value)[] ReadLabels(ArgumentResult parse)
    {
        var labels = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var token in parse.Tokens)
        {
            var (key, value) = ReadLabelChange(token.Value, parse.AddError);
            if (value is null) parse.AddError($"The label '{token.Value}' has no value: write KEY=VALUE.");
            else if (!labels.TryAdd(key, value)) parse.AddError($"The label '{key}' is given twice: give it once.");
        }
        return [.. labels.Select(label => (label.Key, label.Value))];
    }

    private static (string Key, string? Value) ReadLabelChange(string text, Action<string> refuse)
    {
        var equals = text.IndexOf('=', StringComparison.Ordinal);
        if (equals > 0) return (text[..equals], text[(equals + 1)..]);
        if (equals < 0 && text.Length > 1 && text[^1] == '-') return (text[..^1], null);
        refuse($"'{text}' is not a label: write KEY=VALUE.");
        return (text, "");
    }
}
