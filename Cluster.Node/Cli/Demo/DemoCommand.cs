using System.CommandLine;
using System.Net.Sockets;
using Cluster.Node.Cli.Dev;
using Spectre.Console;

namespace Cluster.Node.Cli.Demo;

/// <summary>`myrmidon demo`.</summary>
internal static class DemoCommand
{
    private const long DataBytesDefault = 256L << 20;
    private const long DataBytesMin = 16L << 20;
    /// <summary>Columns where no terminal says its own: no sentence of the demo is longer.</summary>
    private const int PlainWidth = 240;

    private const long DataBytesMax = 16L << 30;

    public static Command Build()
    {
        var keep = new Option<bool>("--keep") { Description = "Leave the cluster running, for a look around" };
        var offset = DevCommands.PortOffset("Added to every port; default: the first that is free");
        var size = new Option<long>("--size")
        {
            Description = "Bytes to write, 16MiB-16GiB; default: 256MiB",
            HelpName = "SIZE",
            DefaultValueFactory = _ => DataBytesDefault,
            CustomParser = parse =>
            {
                if (!SizeText.TryParse(parse.Tokens[0].Value, out var bytes, out var reason)) parse.AddError(reason);
                else if (!IsDataSize(bytes))
                {
                    parse.AddError($"The size {parse.Tokens[0].Value} does not suit the demo: use 16MiB to 16GiB, in blocks of 4KiB.");
                }
                return (long)bytes;
            },
        };
        var command = new VerbCommand("demo",
            "See the whole idea in a minute: three nodes, a replicated volume, its owner killed in mid-write, every byte compared. "
            + "Exit code 0 only if all bytes are equal. Leaves nothing behind.",
            "myrmidon demo", "myrmidon demo --size 1GiB --keep")
        {
            size, keep, offset,
        };
        command.SetAction(async (parsed, cancellation) =>
        {
            var configuration = parsed.InvocationConfiguration;
            var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(configuration.Output) });
            if (Console.IsOutputRedirected) console.Profile.Width = PlainWidth;
            try
            {
                console.WriteLine("Starting three nodes...");
                return await RunAsync(console, parsed.GetValue(size), parsed.GetValue(keep), parsed.GetValue(offset), cancellation);
            }
            catch (Exception failure) when (failure is DevException or IOException or SocketException)
            {
                configuration.Error.WriteLine($"myrmidon: {failure.Message}");
                return failure is DevException { Code: var code } ? code : ExitCode.Failure;
            }
        });
        return command;
    }

    private static async Task<int> RunAsync(IAnsiConsole console, long dataBytes, bool keep, int? offset, CancellationToken cancellation)
    {
        var directory = Directory.CreateTempSubdirectory("myrmidon-demo-").FullName;
        var kept = false;
        try
        {
            await using var cluster = new DemoCluster(
                await DevCluster.StartAsync(directory, nodes: 3, offset ?? DevOperations.FreeOffset(nodes: 3), cancellation));
            var good = await new DemoRun(console, cluster.Cluster, dataBytes).RunAsync(cancellation);
            kept = keep;
            if (keep) cluster.Keep();
            DemoText.Closing(console, cluster.Cluster, keep);
            return good ? ExitCode.Ok : ExitCode.Failure;
        }
        finally
        {
            if (!kept) Directory.Delete(directory, recursive: true);
        }
    }

    private static bool IsDataSize(ulong bytes) =>
        bytes is >= (ulong)DataBytesMin and <= (ulong)DataBytesMax && bytes % GapProbe.BlockBytes == 0;

    /// <summary>Stops the cluster at the end, unless it is to be kept.</summary>
    private sealed class DemoCluster(DevCluster cluster) : IAsyncDisposable
    {
        private bool _kept;

        public DevCluster Cluster => cluster;

        public void Keep() => _kept = true;

        public ValueTask DisposeAsync()
        {
            if (!_kept) return cluster.DisposeAsync();
            cluster.Abandon();
            return ValueTask.CompletedTask;
        }
    }
}
