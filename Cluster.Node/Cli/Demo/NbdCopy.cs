using System.Diagnostics;
using System.Globalization;

namespace Cluster.Node.Cli.Demo;

/// <summary>
/// Copies a file to a volume and back by `nbdcopy` (package libnbd-bin), or, where that is not installed, by our own client.
/// </summary>
internal sealed class NbdCopy
{
    private const string Tool = "nbdcopy";
    private const int ChunkBytes = 256 * 1024;

    private readonly string? _tool;

    private NbdCopy(string? tool) => _tool = tool;

    /// <summary>Whether the standard client does the copying.</summary>
    public bool IsStandard => _tool is not null;

    public static NbdCopy Find()
    {
        var folders = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries);
        return new NbdCopy(folders.Select(folder => Path.Combine(folder, Tool)).FirstOrDefault(File.Exists));
    }

    /// <summary>
    /// Writes the file to the start of the volume; `progress` gets shares from 0 to 1. Throws IOException when the client fails.
    /// </summary>
    public Task InAsync(string file, Uri volume, Action<double> progress, CancellationToken cancellation) => _tool is not null
        ? RunAsync([file, volume.ToString()], progress, cancellation)
        : OwnInAsync(file, volume, progress, cancellation);

    /// <summary>Reads the first bytes of the volume into a file, which may get more than those.</summary>
    public Task OutAsync(Uri volume, string file, long bytes, Action<double> progress, CancellationToken cancellation) => _tool is not null
        ? RunAsync([volume.ToString(), file], progress, cancellation)
        : OwnOutAsync(volume, file, bytes, progress, cancellation);

    private async Task RunAsync(string[] arguments, Action<double> progress, CancellationToken cancellation)
    {
        // With --progress=1, nbdcopy writes lines such as "40/100" to its standard output.
        var start = new ProcessStartInfo(_tool!, ["--progress=1", "--flush", .. arguments])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true
        };
        using var process = Process.Start(start) ?? throw new IOException($"{_tool} could not be started.");
        try
        {
            var errors = process.StandardError.ReadToEndAsync(cancellation);
            while (await process.StandardOutput.ReadLineAsync(cancellation) is { } line)
            {
                var slash = line.IndexOf('/', StringComparison.Ordinal);
                if (slash > 0 && int.TryParse(line.AsSpan(0, slash), NumberStyles.None, CultureInfo.InvariantCulture,
                    out var percent)) progress(percent / 100.0);
            }
            await process.WaitForExitAsync(cancellation);
            if (process.ExitCode != 0) throw new IOException($"{Tool} {string.Join(' ', arguments)} failed: {(await errors).Trim()}");
        }
        finally
        {
            if (!process.HasExited) process.Kill();
        }
    }

    private static async Task OwnInAsync(string file, Uri volume, Action<double> progress, CancellationToken cancellation)
    {
        using var client = await NbdClient.ConnectAsync(volume, cancellation);
        await using var source = File.OpenRead(file);
        var buffer = new byte[ChunkBytes];
        for (long at = 0; at < source.Length;)
        {
            var count = await source.ReadAsync(buffer, cancellation);
            await client.WriteAsync((ulong)at, buffer.AsMemory(0, count), cancellation);
            at += count;
            progress((double)at / source.Length);
        }
        await client.FlushAsync(cancellation);
    }

    private static async Task OwnOutAsync(Uri volume, string file, long bytes, Action<double> progress, CancellationToken cancellation)
    {
        using var client = await NbdClient.ConnectAsync(volume, cancellation);
        await using var target = File.Create(file);
        var buffer = new byte[ChunkBytes];
        for (long at = 0; at < bytes;)
        {
            var part = buffer.AsMemory(0, (int)Math.Min(ChunkBytes, bytes - at));
            await client.ReadAsync((ulong)at, part, cancellation);
            await target.WriteAsync(part, cancellation);
            at += part.Length;
            progress((double)at / bytes);
        }
    }
}
