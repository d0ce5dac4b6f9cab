namespace Cluster.Tests.Simulation.Store;

/// <summary>One seed of a store that has memory for hardly any page of its maps, while bits of its page file flip.</summary>
public static class LostPagesRun
{
    public static void Run(int seed) => StoreModelRun.Run(seed, mapPages: 1 + (seed % 3), losesPages: true);
}
