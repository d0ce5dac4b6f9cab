namespace Cluster.Node.Hosting.Membership;

/// <summary>
/// Which of two clusters of nodes ends, when a node of this cluster's journal is up as a member of another one: such two never become one by themselves. The one with fewer nodes; of two
/// alike, the one without the lowest address. What each of them sees of the other gives the same answer on both sides. A node that was taken out, or that has just joined, looks like one of
/// another cluster for a while: so only what was seen at several looks in a row counts. Pure; one thread.
/// </summary>
internal sealed class OtherClusters
{
    /// <summary>With the pause between two looks this is longer than a node that was taken out takes to notice it.</summary>
    public const int LooksMin = 6;

    private readonly Dictionary<(string Address, long Uid), int> _looks = [];

    /// <summary>Whether this node is to leave its cluster, and to start anew.</summary>
    /// <param name="own">Addresses of the members of this node's cluster that are up and answer, its own included.</param>
    /// <param name="others">The processes that said just now that they are up, and that are no members here.</param>
    public bool IsToEnd(IReadOnlyCollection<string> own, IReadOnlyCollection<(string Address, long Uid)> others)
    {
        foreach (var gone in _looks.Keys.Except(others).ToList()) _looks.Remove(gone);
        foreach (var other in others) _looks[other] = _looks.GetValueOrDefault(other) + 1;
        var lasting = _looks.Where(seen => seen.Value >= LooksMin).Select(seen => seen.Key.Address).ToList();
        if (lasting.Count != own.Count) return lasting.Count > own.Count;
        return lasting.Count > 0 && string.CompareOrdinal(lasting.Min(StringComparer.Ordinal), own.Min(StringComparer.Ordinal)) < 0;
    }
}
