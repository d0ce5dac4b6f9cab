namespace Cluster.Tests.Simulation.Mutants;

/// <summary>A bug to plant: one piece of the program's text, which must be there exactly once, and what a careless change would make of it.</summary>
/// <param name="Rule">The rule of the design or the invariant that is broken.</param>
/// <param name="File">From the root of the repository.</param>
/// <param name="Runs">Which simulation is to catch it.</param>
/// <param name="Seeds">It must be caught within this many seeds.</param>
internal sealed record Mutant(string Name, string Rule, string File, string Text, string Replacement, int Seeds = Mutant.SeedsDefault, MutantRuns Runs = MutantRuns.Cluster)
{
    public const int SeedsDefault = 4000;

    public override string ToString() => $"{Rule}: {Name}";
}

internal enum MutantRuns : byte
{
    /// <summary>The cluster over a model of the store.</summary>
    Cluster = 0,
    /// <summary>The cluster over the program's own store.</summary>
    OverStore,
    /// <summary>The cluster, whose volume gets smaller and larger.</summary>
    Resizing,
    /// <summary>The cluster, whose volume has limits.</summary>
    Limited,
    /// <summary>The cluster, whose volume is cloned.</summary>
    Cloning,
    /// <summary>The cluster, whose front ends keep what they read; a third over the program's own store.</summary>
    Caching,
    /// <summary>The store alone, against its model.</summary>
    StoreAlone,
    /// <summary>Changes of the catalogue, told to several of its singletons.</summary>
    Catalogue,
}
