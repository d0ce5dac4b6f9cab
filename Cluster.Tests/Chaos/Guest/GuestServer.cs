using System.Globalization;
using Cluster.Csi.Attach;
using Cluster.Csi.Kernel;
using Cluster.Csi.Nbd;
using Cluster.Messages.Model;
using Cluster.Node.Hosting.Devices;
using Cluster.Tests.Integration.Mesh;
using Microsoft.Extensions.Logging;

namespace Cluster.Tests.Chaos.Guest;

/// <summary>
/// The part of a node that devices see, as a process that is killed and started again: its NBD server and attacher, over a volume in a file. It starts like a node, and then does
/// what it is told, a line at a time.
/// </summary>
internal static class GuestServer
{
    public const ulong VolumeId = 7;

    /// <summary>No part of what is tested: a start takes as long as the machine is busy.</summary>
    private const int HoldMs = 600_000;

    public static async Task<int> RunAsync(string root)
    {
        using var loggers = LoggerFactory.Create(builder => builder.AddProvider(new StandardError()));
        await using var loop = new LoopFixture();
        var volume = new FileDevice(loop.Loop, Path.Combine(root, "volume"));
        var generations = (await File.ReadAllTextAsync(Path.Combine(root, "generations"))).Split(' ', StringSplitOptions.RemoveEmptyEntries);
        var address = new NbdAddress(Path.Combine(root, "nbd.sock"));
        var server = new NbdServer(new NbdOptions(), loop.Loop, new Exports([.. generations.Select(text => Target(ulong.Parse(text, CultureInfo.InvariantCulture), volume.SizeBytes).ExportName)], volume), loggers);
        server.Start(null, address.UnixPath);
        var attacher = new ChosenAttacher(AttacherChoice.Auto, new KernelNbdAttacher(Path.Combine(root, "attach", "kernel"), address, server, DeviceProcess.Command, loggers),
            new FuseLoopAttacher(Path.Combine(root, "attach"), address, ["/no-such-program"], loggers));
        using var stop = new CancellationTokenSource();
        var watching = attacher.WatchAsync(stop.Token);
        var recovered = await attacher.RecoverAsync(default);
        await Console.Out.WriteLineAsync(recovered.IsOk ? "ready" : recovered.Reason);
        for (string? line; (line = await Console.In.ReadLineAsync(default)) is not null;)
            await Console.Out.WriteLineAsync(await DoAsync(line.Split(' '), attacher, volume, loop));
        await stop.CancelAsync();
        await watching;
        return 0;
    }

    private static async Task<string> DoAsync(string[] words, ChosenAttacher attacher, FileDevice volume, LoopFixture loop)
    {
        switch (words[0])
        {
            case "kind": return attacher.Kind.ToString();
            case "attach": return Say(await attacher.AttachAsync(Target(ulong.Parse(words[1], CultureInfo.InvariantCulture), volume.SizeBytes), default));
            case "detach": return Say(await attacher.DetachAsync(new VolumeId(VolumeId), words.Length > 1, default));
            case "find": return Say(await attacher.FindAsync(new VolumeId(VolumeId), default));
            case "resize": return Say(await attacher.ResizeAsync(new VolumeId(VolumeId), volume.SizeBytes, default));
            case "hold":
                await loop.On(() => volume.IsHeld = true);
                return "ok";
            case "held": return (await loop.On(() => volume.HeldCount)).ToString(CultureInfo.InvariantCulture);
            case "fence":
                await loop.On(() => volume.Answer = IoStatus.StaleSession);
                return "ok";
            case "flushes": return (await loop.On(() => volume.FlushCount)).ToString(CultureInfo.InvariantCulture);
            case "data":
                var found = await attacher.FindAsync(new VolumeId(VolumeId), default);
                var holds = await attacher.HoldsDataAsync(found.Value!, default);
                return holds.IsOk ? holds.Value.ToString() : holds.Reason;
            default: return $"what is {words[0]}?";
        }
    }

    private static AttachTarget Target(ulong generation, ulong sizeBytes) => new(new DeviceIdentity(new VolumeId(VolumeId), generation), "vol", sizeBytes, HoldMs);

    private static string Say<T>(AttachResult<T> result) => !result.IsOk ? $"{result.Status}: {result.Reason}"
        : result.Value is AttachedDevice device ? $"ok {device.Path} {device.Identity} {device.SizeBytes} {device.Kind} {(device.IsServed ? "served" : "dead")}" : "ok";

    /// <summary>All the names are one volume.</summary>
    private sealed class Exports(string[] names, FileDevice volume) : INbdExports
    {
        public Task<IReadOnlyList<string>> ListAsync(CancellationToken cancellation) => Task.FromResult<IReadOnlyList<string>>(names);

        public Task<NbdExport> DescribeAsync(string name, CancellationToken cancellation) => Task.FromResult(names.Contains(name)
            ? new NbdExport(IoStatus.Ok, name, volume.SizeBytes, false, "", "") : new NbdExport(IoStatus.Missing, null, 0, false, "", $"no volume {name}"));

        public Task<NbdExportOpen> OpenAsync(string name, CancellationToken cancellation) => Task.FromResult(names.Contains(name)
            ? new NbdExportOpen(IoStatus.Ok, volume, name, "", "") : new NbdExportOpen(IoStatus.Missing, null, name, "", $"no volume {name}"));
    }

    private sealed class StandardError : ILoggerProvider, ILogger
    {
        public ILogger CreateLogger(string categoryName) => this;

        public void Dispose()
        {
        }

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            Console.Error.WriteLine(formatter(state, exception));
    }
}
