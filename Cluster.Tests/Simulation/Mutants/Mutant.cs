namespace Cluster.Tests.Simulation.Mutants;

/// <summary>A bug to plant: one piece of the program's text, which must be there exactly once, and what a careless change would make of it.</summary>
/// <param name="Rule">The rule of the design or the invariant that is broken.</param>
/// <param name="File">From the root of the repository.</param>
/// <param name="OverStore">The simulator runs the program's own store, and not its model.</param>
/// <param name="Seeds">It must be caught within this many seeds.</param>
internal sealed record Mutant(string Name, string Rule, string File, string Text, string Replacement, int Seeds = Mutant.SeedsDefault, bool OverStore = false)
{
    public const int SeedsDefault = 400;

    public override string ToString() => $"{Rule}: {Name}";
}
