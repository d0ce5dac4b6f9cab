namespace Cluster.Tests.Simulation.Volumes;

/// <summary>Restores go part by part; how large the parts are is the owner's to say, and any size is right.</summary>
internal static class SimRestores
{
    private const int PartBlocksMax = 8;

    /// <summary>Half of them are one part.</summary>
    public static ulong EndOf(SimWorld world, ulong from)
    {
        if (world.Seed % 2 == 0) return ulong.MaxValue;
        var end = from + (ulong)world.Random.Between(1, PartBlocksMax);
        return end < world.Profile.Blocks ? end : ulong.MaxValue;
    }
}
