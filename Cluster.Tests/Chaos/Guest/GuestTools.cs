using System.Diagnostics;
using System.Runtime.InteropServices;
using Cluster.Csi.Attach;
using Cluster.Messages.Model;

namespace Cluster.Tests.Chaos.Guest;

/// <summary>What the drivers of guests have in common. Under emulation, on a busy machine: whatever is waited for has minutes.</summary>
internal static class GuestTools
{
    public const int PatienceMs = 480_000;

    public static async Task UntilAsync(Func<Task<bool>> condition, string otherwise)
    {
        for (var waited = Stopwatch.StartNew(); !await condition(); await Task.Delay(50))
            Assert.True(waited.ElapsedMilliseconds < PatienceMs, $"{otherwise} after {PatienceMs} ms");
    }

    public static void Run(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true, RedirectStandardOutput = true })!;
        var said = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, $"{program} {string.Join(' ', arguments)}: exit {process.ExitCode} {output} {said.Result}");
    }

    /// <summary>The errno of a read; 0: it went well.</summary>
    public static int ReadError(string path, long offset)
    {
        try
        {
            ReadDirect(path, offset, Limits.BlockBytes);
            return 0;
        }
        catch (IOException e)
        {
            return e.HResult;
        }
    }

    /// <summary>By way of the volume, not of the host's memory.</summary>
    public static unsafe byte[] ReadDirect(string path, long offset, int length)
    {
        using var file = Native.Open(path, Native.ReadOnly | Native.Direct, out var error);
        if (error != 0) throw new IOException($"{path} can't be opened", error);
        var blocks = (nuint)((length + Limits.BlockBytes - 1) / Limits.BlockBytes * Limits.BlockBytes);
        var memory = NativeMemory.AlignedAlloc(blocks, Limits.BlockBytes);
        try
        {
            var into = new Span<byte>(memory, (int)blocks);
            Assert.True(RandomAccess.Read(file, into, offset) >= length, $"{path} is shorter than {length} B");
            return into[..length].ToArray();
        }
        finally
        {
            NativeMemory.AlignedFree(memory);
        }
    }
}
