namespace Cluster.Tests.Unit.Fakes;

/// <summary>SplitMix64: seeds must give the same run under every version of .NET.</summary>
internal sealed class SeededRandom(ulong seed)
{
    private ulong _state = seed;

    public ulong Next()
    {
        _state += 0x9E3779B97F4A7C15UL;
        var mixed = (_state ^ (_state >> 30)) * 0xBF58476D1CE4E5B9UL;
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBUL;
        return mixed ^ (mixed >> 31);
    }

    /// <summary>0 up to, not including, <paramref name="end"/>.</summary>
    public int Next(int end) => (int)(Next() % (ulong)end);

    public bool PerMille(int share) => Next(1000) < share;
}
