using System.Runtime.InteropServices;
using Cluster.Node.Cli;
using Cluster.Node.Hosting.Devices;
using Cluster.Node.Journal;

// The only executable: `myrmidon node` runs a node, every other verb is a client or starts local nodes.
if (args is [JournalHarness.Verb, ..]) return await JournalHarness.RunAsync(args);
if (args is [DeviceProcess.Verb, ..]) return DeviceProcess.Run(args[1..]);

// Ctrl-C, SIGTERM and a closed terminal cancel the verb, which then ends its own work; there is no second, harder stop.
using var stop = new CancellationTokenSource();
using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
using var hangUp = PosixSignalRegistration.Create(PosixSignal.SIGHUP, Stop);
return await CommandLine.RunAsync(args, Console.Out, Console.Error, stop.Token);

void Stop(PosixSignalContext signal)
{
    signal.Cancel = true;
    stop.Cancel();
}
