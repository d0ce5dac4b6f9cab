using System.Globalization;
using System.Runtime.InteropServices;
using Cluster.Csi.Attach;
using Cluster.Csi.Fuse;
using Cluster.Node.Cli;

namespace Cluster.Node.Hosting.Devices;

/// <summary>`myrmidon device --ARGUMENTS`: the process behind one device of this host. Started by a node, never by hand, and outlives it. `myrmidon device --work`: see <see cref="DeviceWork"/>.</summary>
public static partial class DeviceProcess
{
    public const string Verb = "device";
    private const int SetIoFlusher = 57;
    private const string OutOfMemoryNever = "-1000";

    /// <summary>How a node starts one.</summary>
    internal static IReadOnlyList<string> Command => [.. Cli.Dev.NodeProcess.Program(), Verb];

    public static int Run(string[] args)
    {
        if (args is [DeviceWork.Option]) return DeviceWork.RunAsync(Console.In, Console.Out).GetAwaiter().GetResult();
        if (Read(args) is not { } options)
        {
            Console.Error.WriteLine("myrmidon: device is run by nodes; use: myrmidon volume attach");
            return ExitCode.Usage;
        }
        Protect();
        return DeviceServer.Run(options, Console.Out);
    }

    internal static DeviceServerOptions? Read(IEnumerable<string> args)
    {
        var values = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var arg in args)
        {
            var equals = arg.IndexOf('=', StringComparison.Ordinal);
            if (!arg.StartsWith("--", StringComparison.Ordinal) || !values.TryAdd(equals < 0 ? arg : arg[..equals], equals < 0 ? "" : arg[(equals + 1)..])) return null;
        }
        if (!values.TryGetValue("--export", out var export) || !values.TryGetValue("--path", out var path)) return null;
        if (!int.TryParse(values.GetValueOrDefault("--hold"), NumberStyles.None, CultureInfo.InvariantCulture, out var holdMs)) return null;
        if (values.TryGetValue("--unix", out var socket)) return new DeviceServerOptions(new NbdAddress(socket), export, path, holdMs, values.ContainsKey("--read-only"));
        if (!values.TryGetValue("--host", out var host)) return null;
        if (!ushort.TryParse(values.GetValueOrDefault("--port"), NumberStyles.None, CultureInfo.InvariantCulture, out var port)) return null;
        return new DeviceServerOptions(new NbdAddress(null, host, port), export, path, holdMs, values.ContainsKey("--read-only"));
    }

    /// <summary>
    /// The kernel may write to the device to get memory back: it must not wait for memory that this process asks it for, nor kill it for memory.
    /// What can't be had is done without.
    /// </summary>
    private static void Protect()
    {
        _ = ProcessControl(SetIoFlusher, 1, 0, 0, 0);
        try
        {
            File.WriteAllText("/proc/self/oom_score_adj", OutOfMemoryNever);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Console.Out.WriteLine($"may be killed when memory runs out: {e.Message}");
        }
    }

    [LibraryImport("libc", EntryPoint = "prctl", SetLastError = true)]
    private static partial int ProcessControl(int option, ulong first, ulong second, ulong third, ulong fourth);
}
