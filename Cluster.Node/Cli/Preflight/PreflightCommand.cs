using System.CommandLine;
using System.Text.Json;
using Cluster.Node.Cli.Output;

namespace Cluster.Node.Cli.Preflight;

/// <summary>`myrmidon preflight`: takes what `myrmidon node` takes, and starts nothing.</summary>
internal static class PreflightCommand
{
    private static readonly string[] Columns = ["CHECK", "LEVEL", "FOUND"];

    public static Command Build()
    {
        var kubernetes = new Option<bool>("--kubernetes") { Description = "The node is to serve volumes to pods: what devices and mounts need must be there" };
        var kubelet = new Option<string>("--kubelet-dir")
        {
            Description = $"With --kubernetes: the kubelet's directory; default: {PreflightRequest.KubeletDirectoryDefault}",
            HelpName = "DIR",
            DefaultValueFactory = _ => PreflightRequest.KubeletDirectoryDefault,
        };
        var command = new VerbCommand("preflight",
            "Look whether a node can run on this host, and say what to type where something is missing. Leaves everything as it is. Takes the flags of `myrmidon node`, its settings file "
            + "and its environment variables. Exit code 1 if anything fails; warnings do not count.",
            "myrmidon preflight --data /var/lib/myrmidon --host 10.0.0.5", "myrmidon preflight --config /etc/myrmidon/myrmidon.conf --kubernetes -o json")
        {
            kubernetes, kubelet,
        };
        var flags = NodeFlags.AddTo(command);
        var format = ClientOptions.AddFormat(command);
        command.SetAction(async (parsed, cancellation) =>
        {
            var printer = new Printer(parsed.InvocationConfiguration.Output, parsed.InvocationConfiguration.Error, parsed.GetValue(format));
            var settings = flags.Load(parsed);
            if (settings.Options is not { } options)
            {
                printer.Error(settings.Error);
                return ExitCode.Usage;
            }
            var request = new PreflightRequest(options, parsed.GetValue(kubernetes), Path.GetFullPath(parsed.GetRequiredValue(kubelet)));
            var report = await PreflightRun.RunAsync(new LinuxPreflightHost(), request, cancellation);
            Print(report, printer);
            return report.Ok ? ExitCode.Ok : ExitCode.Failure;
        });
        return command;
    }

    internal static void Print(PreflightReport report, Printer printer)
    {
        printer.Print(JsonSerializer.SerializeToNode(report, ApiClient.Json),
            () => report.Findings.Select(finding => new[] { finding.Check, finding.Level.ToString().ToLowerInvariant(), finding.Found }), Columns);
        printer.Hint("");
        foreach (var finding in report.Findings.Where(finding => finding.Fix.Length > 0)) printer.Hint($"{finding.Check}: {finding.Fix}");
        printer.Hint(report.Ok
            ? $"A node can run here; {report.Warnings} warnings."
            : $"A node can't run here as asked for: {report.Failures} of {report.Findings.Count} checks failed, {report.Warnings} warnings.");
    }
}

/// <summary>All checks, in the order in which they are printed.</summary>
internal static class PreflightRun
{
    public static async Task<PreflightReport> RunAsync(IPreflightHost host, PreflightRequest request, CancellationToken cancellation)
    {
        var options = request.Options;
        var probe = host.Exists(options.DataDirectory) ? host.Try(options.DataDirectory) : null;
        return PreflightReport.Of(
        [
            .. HostChecks.All(host), .. NodeChecks.Data(host, options, probe), .. NodeChecks.Ports(host, options, probe is { InUse: true }), await NodeChecks.SeedsAsync(host, options, cancellation),
            .. DiskChecks.Disks(host, options, probe is { InUse: true }), .. DiskChecks.Sockets(host, options, probe is { InUse: true }), .. DeviceChecks.All(host, request),
        ]);
    }
}
