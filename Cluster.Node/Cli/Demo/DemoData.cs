namespace Cluster.Node.Cli.Demo;

/// <summary>
/// The demo's bytes: random, so that no compression flatters the numbers, and made anew from the seed for the comparison, so that no file
/// is needed.
/// </summary>
internal sealed class DemoData(int seed)
{
    private readonly byte[] _expected = new byte[NbdCopy.ChunkBytes];

    /// <summary>Bytes that differed so far.</summary>
    public long Differences { get; private set; }

    /// <summary>Bytes compared so far.</summary>
    public long Compared { get; private set; }

    /// <summary>The chunk that belongs at this offset, a multiple of the chunk's size.</summary>
    public void Fill(byte[] chunk, long offsetBytes) => new Random(HashCode(offsetBytes)).NextBytes(chunk);

    public void Compare(byte[] chunk, long offsetBytes, int count)
    {
        Fill(_expected, offsetBytes);
        Compared += count;
        if (chunk.AsSpan(0, count).SequenceEqual(_expected.AsSpan(0, count))) return;
        for (var index = 0; index < count; index++)
        {
            if (chunk[index] != _expected[index]) Differences++;
        }
    }

    private int HashCode(long offsetBytes) => unchecked(seed + ((int)(offsetBytes / NbdCopy.ChunkBytes) * 1_000_003));
}
