using System.CommandLine;
using Cluster.Node.Api;
using Cluster.Node.Cli.Output;

namespace Cluster.Node.Cli;

/// <summary>`myrmidon status`.</summary>
internal static class StatusCommand
{
    public static Command Build()
    {
        var check = new Option<bool>("--check") { Description = "Exit code 1 unless the state is healthy: every node is up and every copy in sync, so that one node may go" };
        var command = new VerbCommand("status", "The cluster at a glance. Exit code 0 even when degraded, without --check: read the state.",
            "myrmidon status", "myrmidon status -o json --endpoint http://10.0.0.5:5705", "myrmidon status --check && reboot")
        {
            check,
        };
        ClientOptions.Set(command, async (parsed, client, printer, cancellation) =>
        {
            var answer = await client.GetAsync("/v1/status", cancellation);
            if (!answer.IsOk)
            {
                printer.Error(answer.Error);
                return answer.ExitCode;
            }
            printer.PrintOne(answer.Body, () => Describe.Lines(answer.As<StatusResource>()));
            return parsed.GetValue(check) && answer.As<StatusResource>().State != "healthy" ? ExitCode.Failure : ExitCode.Ok;
        });
        return command;
    }
}
