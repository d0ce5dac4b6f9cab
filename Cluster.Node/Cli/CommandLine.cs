using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using System.CommandLine.Parsing;
using Cluster.Node.Cli.Bench;
using Cluster.Node.Cli.Chaos;
using Cluster.Node.Cli.Demo;
using Cluster.Node.Cli.Dev;
using Cluster.Node.Cli.Preflight;
using Cluster.Node.Cli.Recover;
using Cluster.Node.Cli.Stores;

namespace Cluster.Node.Cli;

/// <summary>The whole command line: `myrmidon NOUN VERB …`. Every verb but node, dev, demo, store and preflight is a client of the REST API.</summary>
public static class CommandLine
{
    /// <summary>"1": an unexpected failure of a verb is told with its stack trace.</summary>
    public const string DebugVariable = "MYRMIDON_DEBUG";

    /// <summary>Runs one command line and answers the exit code. Ctrl-C and SIGTERM cancel it.</summary>
    public static async Task<int> RunAsync(IReadOnlyList<string> args, TextWriter output, TextWriter error,
        CancellationToken cancellation = default)
    {
        var root = Build();
        var parsed = root.Parse(args);
        if (parsed.Action is ParseErrorAction) return Refuse(parsed, output, error);
        var configuration = new InvocationConfiguration
        {
            Output = output,
            Error = error,
            EnableDefaultExceptionHandler = false,
            // The commands end their own work; killing them on a timer would leave nodes behind.
            ProcessTerminationTimeout = null,
        };
        try
        {
            return await parsed.InvokeAsync(configuration, cancellation);
        }
        catch (OperationCanceledException)
        {
            return ExitCode.Interrupted;
        }
        catch (AnswerException wrong)
        {
            error.WriteLine($"myrmidon: {wrong.Message}");
            return ExitCode.Failure;
        }
        catch (Exception failure)
        {
            return Unexpected(parsed, failure, error);
        }
    }

    /// <summary>What no verb foresaw. A node's standard error is its log, where the trace is always wanted.</summary>
    private static int Unexpected(ParseResult parsed, Exception failure, TextWriter error)
    {
        var path = PathOf(parsed);
        var traced = path == "myrmidon node" || Environment.GetEnvironmentVariable(DebugVariable) == "1";
        var reason = failure.Message.ReplaceLineEndings(" ").TrimEnd('.');
        error.WriteLine($"myrmidon: '{path}' failed unexpectedly: {reason} ({failure.GetType().Name}).{(traced ? "" : $" With {DebugVariable}=1 it says where.")}");
        if (traced) error.WriteLine(failure);
        return ExitCode.Failure;
    }

    internal static RootCommand Build()
    {
        var root = new RootCommand("Replicated block storage for containers.\n\n" + ExitCode.HelpText)
        {
            VolumeCommands.Build(),
            SnapshotCommands.Build(),
            NodeCommands.Build(),
            DiskCommands.Build(),
            StatusCommand.Build(),
            DevCommands.Build(),
            DemoCommand.Build(),
            BenchCommand.Build(),
            ChaosCommand.Build(),
            RecoverCommand.Build(),
            StoreCommands.Build(),
            PreflightCommand.Build(),
        };
        foreach (var option in root.Options)
        {
            if (option is HelpOption help && help.Action is HelpAction action) help.Action = new HelpWithExamples(action);
        }
        return root;
    }

    /// <summary>One sentence per error, the name that was probably meant, and where the help is.</summary>
    private static int Refuse(ParseResult parsed, TextWriter output, TextWriter error)
    {
        var command = parsed.CommandResult.Command;
        var path = PathOf(parsed);
        if (parsed.UnmatchedTokens.Count == 0 && command.Subcommands.Count > 0 && parsed.Tokens.Count == path.Split(' ').Length - 1)
        {
            Build().Parse([.. path.Split(' ').Skip(1), "--help"]).Invoke(new InvocationConfiguration { Output = output, Error = error });
            return ExitCode.Usage;
        }
        var (early, unknown) = Sort(command, parsed.UnmatchedTokens);
        var where = command.Subcommands.Count > 0 ? "a verb" : "the verb";
        var sentences = parsed.UnmatchedTokens.Count == 0 ? parsed.Errors.Select(failure => failure.Message)
            : early.Select(option => $"'{option}' goes behind {where}: '{path}{(command.Subcommands.Count > 0 ? " ..." : "")} {option}'.")
                .Concat(unknown.Select(token => $"'{token}' is not something that '{path}' takes."));
        foreach (var sentence in sentences.Distinct()) error.WriteLine($"myrmidon: {sentence}");
        foreach (var token in unknown)
        {
            var known = command.Subcommands.Select(child => child.Name).Concat(command.Options.Select(option => option.Name));
            if (NearMiss.Of(token, known) is { } near) error.WriteLine($"Did you mean '{path} {near}'?");
        }
        error.WriteLine($"See '{path} --help'.");
        return ExitCode.Usage;
    }

    /// <summary>Of what could not be taken where it stands: options, each with its value, that the command takes behind its name (with verbs to come: that one of those takes), and the rest.</summary>
    private static (IReadOnlyList<string> Early, IReadOnlyList<string> Unknown) Sort(Command command, IReadOnlyList<string> tokens)
    {
        var (early, unknown) = (new List<string>(), new List<string>());
        for (var at = 0; at < tokens.Count; at++)
        {
            var token = tokens[at];
            var end = token.StartsWith('-') ? token.IndexOfAny(['=', ':']) : -1;
            if (Find(command, end < 0 ? token : token[..end]) is not { } option) unknown.Add(token);
            else if (end < 0 && option.Arity.MinimumNumberOfValues > 0 && at + 1 < tokens.Count && !tokens[at + 1].StartsWith('-')) early.Add($"{token} {tokens[++at]}");
            else early.Add(token);
        }
        return (early, unknown);
    }

    private static Option? Find(Command command, string name) =>
        command.Options.FirstOrDefault(option => option.Name == name || option.Aliases.Contains(name))
        ?? command.Subcommands.Select(child => Find(child, name)).FirstOrDefault(found => found is not null);

    private static string PathOf(ParseResult parsed)
    {
        var names = new List<string>();
        for (SymbolResult? at = parsed.CommandResult; at is CommandResult command; at = at.Parent)
        {
            names.Add(command.Command is RootCommand ? "myrmidon" : command.Command.Name);
        }
        names.Reverse();
        return string.Join(' ', names);
    }
}
