using System.Diagnostics;

namespace Cluster.Node.Cli.Demo;

/// <summary>
/// Streams bytes into a volume and out of it by `nbdcopy` (package libnbd-bin) at the other end of a pipe, or, where that is not
/// installed, by our own client.
/// </summary>
internal sealed class NbdCopy
{
    public const int ChunkBytes = 256 * 1024;

    private const string Tool = "nbdcopy";

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
    /// Writes that many bytes to the start of the volume. `fill` is given each chunk and its offset; `progress` gets shares from 0 to 1
    /// of what the client has taken; the next chunk follows when its task is done. Returns when all is acknowledged and flushed; throws IOException
    /// when the client fails.
    /// </summary>
    public Task InAsync(Uri volume, long bytes, Action<byte[], long> fill, Func<double, Task> progress, CancellationToken cancellation) =>
        _tool is not null
            ? RunAsync(["--flush", "-", volume.ToString()], process =>
                FeedAsync(process, bytes, fill, progress, cancellation), cancellation)
            : OwnInAsync(volume, bytes, fill, progress, cancellation);

    /// <summary>Reads that many bytes from the start of the volume. `take` is given each chunk, its offset and its length.</summary>
    public Task OutAsync(Uri volume, long bytes, Action<byte[], long, int> take, Action<double> progress, CancellationToken cancellation) =>
        _tool is not null
            ? RunAsync([volume.ToString(), "-"], process => DrainAsync(process, bytes, take, progress, cancellation), cancellation)
            : OwnOutAsync(volume, bytes, take, progress, cancellation);

    private async Task RunAsync(string[] arguments, Func<Process, Task> work, CancellationToken cancellation)
    {
        var start = new ProcessStartInfo(_tool!, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using var process = Process.Start(start) ?? throw new IOException($"{_tool} could not be started.");
        try
        {
            var errors = process.StandardError.ReadToEndAsync(cancellation);
            var pipeBroke = false;
            try
            {
                await work(process);
            }
            catch (IOException)
            {
                // The client ended early; its exit code and its error say why.
                pipeBroke = true;
            }
            await process.WaitForExitAsync(cancellation);
            if (process.ExitCode == 0 && !pipeBroke) return;
            throw new IOException($"{Tool} {string.Join(' ', arguments)} failed with code {process.ExitCode}: {(await errors).Trim()}");
        }
        finally
        {
            if (!process.HasExited) process.Kill();
        }
    }

    private static async Task FeedAsync(
        Process process, long bytes, Action<byte[], long> fill, Func<double, Task> progress, CancellationToken cancellation)
    {
        await using var pipe = process.StandardInput.BaseStream;
        var chunk = new byte[ChunkBytes];
        for (long at = 0; at < bytes;)
        {
            var count = (int)Math.Min(ChunkBytes, bytes - at);
            fill(chunk, at);
            await pipe.WriteAsync(chunk.AsMemory(0, count), cancellation);
            at += count;
            await progress((double)at / bytes);
        }
    }

    private static async Task DrainAsync(
        Process process, long bytes, Action<byte[], long, int> take, Action<double> progress, CancellationToken cancellation)
    {
        process.StandardInput.Close();
        await using var pipe = process.StandardOutput.BaseStream;
        var chunk = new byte[ChunkBytes];
        for (long at = 0; ;)
        {
            var count = await pipe.ReadAtLeastAsync(chunk, ChunkBytes, throwOnEndOfStream: false, cancellation);
            if (count == 0) return;
            // What follows in the volume is drained too, or the client would fail on a closed pipe.
            if (at < bytes) take(chunk, at, (int)Math.Min(count, bytes - at));
            at += count;
            progress(Math.Min(1, (double)at / bytes));
        }
    }

    private static async Task OwnInAsync(
        Uri volume, long bytes, Action<byte[], long> fill, Func<double, Task> progress, CancellationToken cancellation)
    {
        using var client = await NbdClient.ConnectAsync(volume, cancellation);
        var chunk = new byte[ChunkBytes];
        for (long at = 0; at < bytes;)
        {
            var count = (int)Math.Min(ChunkBytes, bytes - at);
            fill(chunk, at);
            await client.WriteAsync((ulong)at, chunk.AsMemory(0, count), cancellation);
            at += count;
            await progress((double)at / bytes);
        }
        await client.FlushAsync(cancellation);
    }

    private static async Task OwnOutAsync(
        Uri volume, long bytes, Action<byte[], long, int> take, Action<double> progress, CancellationToken cancellation)
    {
        using var client = await NbdClient.ConnectAsync(volume, cancellation);
        var chunk = new byte[ChunkBytes];
        for (long at = 0; at < bytes;)
        {
            var count = (int)Math.Min(ChunkBytes, bytes - at);
            await client.ReadAsync((ulong)at, chunk.AsMemory(0, count), cancellation);
            take(chunk, at, count);
            at += count;
            progress((double)at / bytes);
        }
    }
}
