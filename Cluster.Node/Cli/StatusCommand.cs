using System.CommandLine;
using Cluster.Node.Api;
using Cluster.Node.Cli.Output;

namespace Cluster.Node.Cli;

/// <summary>`myrmidon status`.</summary>
internal static class StatusCommand
{
    public static Command Build()
    {
        var command = new VerbCommand("status", "The cluster at a glance. Exit code 0 even when degraded: read the state.",
            "myrmidon status", "myrmidon status -o json --endpoint http://10.0.0.5:5705");
        ClientOptions.Set(command, async (_, client, printer, cancellation) =>
        {
            var answer = await client.GetAsync("/v1/status", cancellation);
            if (!answer.IsOk)
            {
                printer.Error(answer.Error);
                return answer.ExitCode;
            }
            printer.PrintOne(answer.Body, () => Describe.Lines(answer.As<StatusResource>()));
            return ExitCode.Ok;
        });
        return command;
    }
}
