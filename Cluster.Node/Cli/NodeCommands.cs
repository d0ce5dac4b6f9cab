using System.CommandLine;
using Cluster.Node.Api;
using Cluster.Node.Cli.Output;

namespace Cluster.Node.Cli;

/// <summary>`myrmidon node list/show/drain/cordon/uncordon`; `myrmidon node` alone runs one.</summary>
internal static class NodeCommands
{
    public static Command Build()
    {
        var node = new VerbCommand("node",
            "Run a node in the foreground (with flags), or list, show, drain, cordon and remove the nodes of a cluster (with a verb). "
            + "All settings and their meaning: hocon/myrmidon.conf.",
            "myrmidon node --name node-a --data /var/lib/myrmidon --host 10.0.0.5 --seeds 10.0.0.5:5709,10.0.0.6:5709 --bootstrap-expect 2",
            "myrmidon node list")
        {
            List(), Show(), NodeDrainCommand.Build(Name()), Cordon(true), Cordon(false), Remove(),
        };
        NodeRunCommand.AddTo(node);
        return node;
    }

    private static Command List()
    {
        var command = new VerbCommand("list", "List the cluster's nodes.", "myrmidon node list");
        command.Aliases.Add("ls");
        ClientOptions.Set(command, async (_, client, printer, cancellation) =>
        {
            var answer = await client.GetAsync("/v1/nodes", cancellation);
            if (!answer.IsOk) return Fail(printer, answer);
            printer.Print(answer.Body, () => answer.As<NodeResource[]>().Select(Describe.Row), Describe.NodeColumns);
            return ExitCode.Ok;
        });
        return command;
    }

    private static Command Show()
    {
        var name = Name();
        var command = new VerbCommand("show", "Show a node.", "myrmidon node show node-0") { name };
        ClientOptions.Set(command, async (parsed, client, printer, cancellation) =>
        {
            var node = parsed.GetRequiredValue(name);
            var answer = await client.GetAsync($"/v1/nodes/{Uri.EscapeDataString(node)}", cancellation);
            if (!answer.IsOk) return await FailAsync(client, printer, answer, node, cancellation);
            printer.PrintOne(answer.Body, () => Describe.Lines(answer.As<NodeResource>()));
            return ExitCode.Ok;
        });
        return command;
    }

    private static Command Cordon(bool cordoned)
    {
        var name = Name();
        var verb = cordoned ? "cordon" : "uncordon";
        var command = new VerbCommand(verb, cordoned ? "Place no new copies on a node; those it has stay."
            : "Take a cordoned or drained node back: place new copies on it and move owners to it again.",
            $"myrmidon node {verb} node-0")
        {
            name,
        };
        ClientOptions.Set(command, async (parsed, client, printer, cancellation) =>
        {
            var node = parsed.GetRequiredValue(name);
            var answer = await client.PostAsync($"/v1/nodes/{Uri.EscapeDataString(node)}/{verb}", null, cancellation);
            if (!answer.IsOk) return await FailAsync(client, printer, answer, node, cancellation);
            printer.PrintDone(answer.Body, $"Node {node} is {verb}ed.");
            return ExitCode.Ok;
        });
        return command;
    }

    private static Command Remove()
    {
        var name = Name();
        var command = new VerbCommand("remove",
            "Take a node out for good that is down and holds no copy any more: it is not missed from then on, and has no vote. Its name, or its id where two had one name.",
            "myrmidon node remove node-0")
        {
            name,
        };
        ClientOptions.Set(command, async (parsed, client, printer, cancellation) =>
        {
            var node = parsed.GetRequiredValue(name);
            var answer = await client.SendAsync(HttpMethod.Delete, $"/v1/nodes/{Uri.EscapeDataString(node)}", null, null, cancellation);
            if (!answer.IsOk) return await FailAsync(client, printer, answer, node, cancellation);
            printer.PrintDone(answer.Body, $"Node {node} is removed.");
            return ExitCode.Ok;
        });
        return command;
    }

    private static int Fail(Printer printer, ApiAnswer answer)
    {
        printer.Error(answer.Error);
        return answer.ExitCode;
    }

    internal static async Task<int> FailAsync(ApiClient client, Printer printer, ApiAnswer answer, string node,
        CancellationToken cancellation)
    {
        Fail(printer, answer);
        if (answer.ExitCode != ExitCode.NotFound) return answer.ExitCode;
        var all = await client.GetAsync("/v1/nodes", cancellation);
        if (all.IsOk && NearMiss.Of(node, all.As<NodeResource[]>().Select(known => known.Name)) is { } near) printer.Error(
            $"Did you mean \"{near}\"?");
        return answer.ExitCode;
    }

    /// <summary>" (it is down)" and the like of a node that is known not to be up, else nothing: what was done to it is true, and may not be what was meant.</summary>
    internal static async Task<string> IfNotUpAsync(ApiClient client, string node, CancellationToken cancellation)
    {
        var answer = await client.GetAsync($"/v1/nodes/{Uri.EscapeDataString(node)}", cancellation);
        return answer.IsOk && answer.As<NodeResource>().State is "down" or "unreachable" ? $" (it is {answer.As<NodeResource>().State})" : "";
    }

    private static Argument<string> Name() =>
        new("name") { Description = "The node's name, as `myrmidon node list` shows it", HelpName = "NODE" };
}
