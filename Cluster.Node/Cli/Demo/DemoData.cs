using System.Security.Cryptography;

namespace Cluster.Node.Cli.Demo;

/// <summary>The demo's file of random bytes, and the comparison with what was read back.</summary>
internal static class DemoData
{
    private const int ChunkBytes = 1 << 20;

    /// <summary>Writes the file; the bytes are random, so that no compression flatters the numbers.</summary>
    public static async Task WriteAsync(string file, long bytes, CancellationToken cancellation)
    {
        await using var target = File.Create(file);
        var chunk = new byte[ChunkBytes];
        for (long at = 0; at < bytes; at += chunk.Length)
        {
            RandomNumberGenerator.Fill(chunk);
            await target.WriteAsync(chunk.AsMemory(0, (int)Math.Min(chunk.Length, bytes - at)), cancellation);
        }
    }

    /// <summary>Bytes of the first `bytes` that differ; what is missing differs.</summary>
    public static async Task<long> CountDifferencesAsync(string expected, string found, long bytes, CancellationToken cancellation)
    {
        await using var left = File.OpenRead(expected);
        await using var right = File.OpenRead(found);
        var (leftChunk, rightChunk) = (new byte[ChunkBytes], new byte[ChunkBytes]);
        long differences = 0;
        for (long at = 0; at < bytes;)
        {
            var count = (int)Math.Min(ChunkBytes, bytes - at);
            await left.ReadExactlyAsync(leftChunk.AsMemory(0, count), cancellation);
            var read = await right.ReadAtLeastAsync(rightChunk.AsMemory(0, count), count, throwOnEndOfStream: false, cancellation);
            differences += count - read;
            for (var index = 0; index < read; index++)
            {
                if (leftChunk[index] != rightChunk[index]) differences++;
            }
            at += count;
        }
        return differences;
    }
}
