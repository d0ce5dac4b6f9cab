using System.Buffers.Binary;
using System.Diagnostics;

namespace Cluster.Node.Cli.Demo;

/// <summary>
/// Writes one small block after the other to the end of a volume, each with its number, and measures the longest time between two
/// acknowledgements: the pause that an application sees. At the end it reads back what was acknowledged last.
/// </summary>
internal sealed class GapProbe(NbdClient client, ulong offsetBytes) : IDisposable
{
    public const int BlockBytes = 4096;

    /// <summary>Blocks that the probe writes to in turn.</summary>
    public const int Blocks = 256;

    /// <summary>Bytes at the end of the volume that belong to the probe.</summary>
    public const ulong AreaBytes = BlockBytes * (ulong)Blocks;

    /// <summary>Pause between two writes, in milliseconds: enough to find the gap without taking the disk from the copy.</summary>
    private const int PauseMs = 2;

    private readonly CancellationTokenSource _stop = new();
    private readonly byte[] _block = new byte[BlockBytes];
    private Task _running = Task.CompletedTask;

    /// <summary>Longest time between two acknowledged writes.</summary>
    public TimeSpan LongestGap { get; private set; }

    /// <summary>Writes acknowledged so far; block number n holds the last n for which n modulo <see cref="Blocks"/> is its place.</summary>
    public long Acknowledged { get; private set; }

    public void Start() => _running = RunAsync();

    /// <summary>Ends the writing. Throws what the NBD connection threw.</summary>
    public async Task StopAsync()
    {
        await _stop.CancelAsync();
        await _running;
    }

    /// <summary>Reads every block of the probe and answers how many do not hold what was acknowledged last.</summary>
    public async Task<int> CountWrongAsync(CancellationToken cancellation)
    {
        var wrong = 0;
        var expected = new byte[BlockBytes];
        var found = new byte[BlockBytes];
        for (var number = Math.Max(0, Acknowledged - Blocks); number < Acknowledged; number++)
        {
            Fill(expected, number);
            await client.ReadAsync(OffsetOf(number), found, cancellation);
            if (!expected.AsSpan().SequenceEqual(found)) wrong++;
        }
        return wrong;
    }

    public void Dispose() => _stop.Dispose();

    private async Task RunAsync()
    {
        var last = Stopwatch.GetTimestamp();
        while (!_stop.IsCancellationRequested)
        {
            Fill(_block, Acknowledged);
            await client.WriteAsync(OffsetOf(Acknowledged), _block, CancellationToken.None);
            Acknowledged++;
            var now = Stopwatch.GetTimestamp();
            var gap = Stopwatch.GetElapsedTime(last, now);
            if (gap > LongestGap) LongestGap = gap;
            last = now;
            await Task.Delay(PauseMs);
        }
    }

    private ulong OffsetOf(long number) => offsetBytes + ((ulong)(number % Blocks) * BlockBytes);

    /// <summary>The number, and then bytes that depend on it.</summary>
    private static void Fill(Span<byte> block, long number)
    {
        for (var at = 0; at < block.Length; at += sizeof(ulong))
        {
            BinaryPrimitives.WriteUInt64LittleEndian(block[at..], ((ulong)number * 0x9e3779b97f4a7c15) + (ulong)at);
        }
    }
}
