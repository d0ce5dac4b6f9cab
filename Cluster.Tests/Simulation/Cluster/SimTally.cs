namespace Cluster.Tests.Simulation.Volumes;

/// <summary>Counts by name.</summary>
internal sealed class SimTally : IEquatable<SimTally>
{
    private readonly SortedDictionary<string, int> _counts = new(StringComparer.Ordinal);

    public int this[string name] => _counts.GetValueOrDefault(name);

    public void Add(string name, int count = 1) => _counts[name] = this[name] + count;

    public void Add(SimTally other)
    {
        foreach (var (name, count) in other._counts) Add(name, count);
    }

    public bool Equals(SimTally? other) => other is not null && _counts.SequenceEqual(other._counts);

    public override bool Equals(object? obj) => Equals(obj as SimTally);

    public override int GetHashCode() => _counts.Count;

    public override string ToString() => string.Join(", ", _counts.Select(pair => $"{pair.Key} {pair.Value}"));
}
