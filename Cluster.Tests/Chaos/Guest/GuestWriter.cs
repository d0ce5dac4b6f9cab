using System.Diagnostics;
using System.Globalization;
using System.Text;
using Cluster.Csi.Attach;

namespace Cluster.Tests.Chaos.Guest;

/// <summary>Appends lines to a file, each synced, until it is told to stop; any error ends it. Blocks: a thread of its own.</summary>
internal sealed class GuestWriter(string path)
{
    public const int LineBytes = 10;

    private int _count;
    private volatile Exception? _failure;

    public int Count => Volatile.Read(ref _count);

    public long LongestMs { get; private set; }

    public static string Line(int number) => $"{number.ToString(CultureInfo.InvariantCulture).PadLeft(LineBytes - 1)}\n";

    public void Run(CancellationToken stop)
    {
        try
        {
            using var file = File.OpenHandle(path, FileMode.Create, FileAccess.Write);
            while (!stop.IsCancellationRequested)
            {
                var took = Stopwatch.StartNew();
                RandomAccess.Write(file, Encoding.ASCII.GetBytes(Line(_count)), _count * (long)LineBytes);
                if (Native.Sync(file) is not 0 and var error) throw new IOException($"fsync failed with error {error}");
                LongestMs = Math.Max(LongestMs, took.ElapsedMilliseconds);
                Interlocked.Increment(ref _count);
            }
        }
        catch (IOException e)
        {
            _failure = e;
            throw;
        }
    }

    public async Task MoreAsync(int lines)
    {
        var from = Count;
        await GuestTools.UntilAsync(() =>
        {
            if (_failure is { } failure) throw new InvalidOperationException("the writer got an error", failure);
            return Task.FromResult(Count >= from + lines);
        }, "the writer does not go on");
    }
}
