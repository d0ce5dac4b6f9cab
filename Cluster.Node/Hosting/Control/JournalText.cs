using Cluster.Node.Journal;

namespace Cluster.Node.Hosting.Control;

/// <summary>What people are told of the journal. Any thread.</summary>
internal static class JournalText
{
    /// <summary>Names of the control nodes: those that vote, sorted; none before the cluster is formed.</summary>
    public static string[] ControlNodes(MetaLogStatus status) =>
        [.. status.Members.All.Where(member => member.IsVoter).Select(member => member.Node.Name).Order(StringComparer.Ordinal)];

    /// <summary>An election takes less: until then nobody has to mend anything.</summary>
    private static readonly TimeSpan ElectionMax = TimeSpan.FromSeconds(2);

    /// <summary>Restarts and short cuts take less: from here on it is told what helps if those nodes don't come back.</summary>
    private static readonly TimeSpan OutageMin = TimeSpan.FromMinutes(1);

    /// <summary>Null while a leader is known or may just be elected, and before anybody knows who the members are.</summary>
    /// <param name="isReachable">Null: that is not known here.</param>
    public static string? WhyNoLeader(MetaLogStatus status, Func<string, bool>? isReachable)
    {
        if (status.LeaderName is not null || status.LeaderUnknownFor < ElectionMax || ControlNodes(status) is not { Length: > 0 } names) return null;
        var told = names.Select(name => isReachable?.Invoke(name) == false ? $"{name} (unreachable)" : name);
        var why = names.Length == 1 ? $"The journal has no leader: {told.Single()} must run."
            : $"The journal has no leader: a majority of {string.Join(", ", told)} must run.";
        return status.LeaderUnknownFor < OutageMin ? why : $"{why} If their journals are gone for good, `myrmidon recover` makes a new one from the volumes' copies.";
    }
}
