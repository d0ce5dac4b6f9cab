using System.Globalization;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Node.Journal;

/// <summary>
/// A bare journal node for tests that kill processes: "internal-journal-node DIRECTORY NAME PORT SEEDS EXPECT", then one command a
/// line on
/// standard input: "put KEY", "append ID EXPECTED", "get KEY", "highest ID", "role". One line answers each. Ends with its input.
/// </summary>
public static class JournalHarness
{
    public const string Verb = "internal-journal-node";

    public static async Task<int> RunAsync(string[] args)
    {
        if (args.Length != 6)
        {
            await Console.Error.WriteLineAsync($"usage: {Verb} DIRECTORY NAME PORT SEEDS EXPECT").ConfigureAwait(false);
            return 2;
        }
        var seeds = args[4].Split(',', StringSplitOptions.RemoveEmptyEntries)
            .Select(s => JournalAddress.TryParse(s, out var a) ? a : throw new ArgumentException($"{s} is no HOST:PORT"));
        var options = new JournalOptions
        {
            DataDirectory = args[1],
            NodeName = args[2],
            ListenPort = int.Parse(args[3], CultureInfo.InvariantCulture),
            Seeds = [.. seeds],
            BootstrapExpect = int.Parse(args[5], CultureInfo.InvariantCulture),
        };
        await using var node = JournalNode.Start(options, NullLoggerFactory.Instance);
        while (await Console.In.ReadLineAsync().ConfigureAwait(false) is { } line)
        {
            if (node.Stopped.IsCompleted) await node.Stopped.ConfigureAwait(false);
            await Console.Out.WriteLineAsync(await AnswerAsync(node, line.Split(' ')).ConfigureAwait(false)).ConfigureAwait(false);
        }
        return 0;
    }

    private static async Task<string> AnswerAsync(JournalNode node, string[] command)
    {
        var (log, none) = (node.Log, CancellationToken.None);
        try
        {
            switch (command)
            {
                case ["put", var key]:
                    var answer = await log.ProposeAsync(new MetaCommand.SetKey(key, 0, [1]), none).ConfigureAwait(false);
                    return $"{answer.Status} {answer.Current}";
                case ["append", var id, var expected]:
                    var after = long.Parse(expected, CultureInfo.InvariantCulture);
                    MetaNewEvent[] events = [new(0, new MetaPayload(1, "test", [1, 2, 3]))];
                    var append = new MetaCommand.AppendEvents(id, after, "harness", events);
                    var appended = await log.ProposeAsync(append, none).ConfigureAwait(false);
                    return $"{appended.Status} {appended.Current}";
                case ["get", var key]:
                    return await log.ReadKeyAsync(key, none).ConfigureAwait(false) is null ? "absent" : "present";
                case ["highest", var id]:
                    return (await log.HighestSequenceNrAsync(id, none).ConfigureAwait(false)).ToString(CultureInfo.InvariantCulture);
                case ["role"]:
                    return log.Status.Role.ToString();
                default:
                    return "unknown command";
            }
        }
        catch (MetaLogUnavailableException e)
        {
            return "unavailable: " + e.Message;
        }
    }
}
