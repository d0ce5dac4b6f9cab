using System.Collections.Immutable;
using Cluster.Node.Journal.Formation;
using Cluster.Node.Journal.Raft;

namespace Cluster.Node.Journal.Group;

/// <summary>
/// A storage node as the directory has it. IsAlive: it answers, as the very node that registered; of members the leader knows
/// better by itself.
/// </summary>
public sealed record GroupNode(FormationMember Node, string Zone, bool IsAlive);

/// <summary>Patience with members, in milliseconds.</summary>
public sealed record GroupTimes
{
    /// <summary>A member that answered within this is alive.</summary>
    public long AliveMs { get; init; } = 5_000;

    /// <summary>A learner that is silent for this long makes room for another.</summary>
    public long LearnerSilentMs { get; init; } = 30_000;

    /// <summary>A voter that is silent for this long is replaced, when there is a node to replace it with.</summary>
    public long ReplaceAfterMs { get; init; } = 600_000;
}

/// <summary>What the leader knows when it decides on its group.</summary>
/// <param name="Self">The leader's number.</param>
/// <param name="Nodes">Every storage node, members or not, in the order of their names.</param>
public sealed record GroupSituation(
    RaftMembers Members, int Self, IReadOnlyList<RaftProgress> Progress, IReadOnlyList<GroupNode> Nodes, GroupTimes Times)
{
    /// <summary>Nodes that an operator took out for good.</summary>
    public IReadOnlySet<Guid> Removed { get; init; } = new HashSet<Guid>();
}

/// <summary>One change of the group, and why.</summary>
public sealed record GroupStep(RaftMembers Wanted, string Why);

/// <summary>
/// Who should be in the Raft group: one voter, three from three storage nodes on, five from five on; never two or four at rest. It
/// grows when nodes are there, and never shrinks because they are gone, but for those that an operator took out for good. A voter that is silent for too long, or whose node came
/// back without its data directory, is replaced when there is a node to replace it with; newcomers catch up as learners first.
/// Pure: one step from what is seen.
/// </summary>
public static class GroupPolicy
{
    /// <summary>The next change, or null when the group is as it should be or has to wait.</summary>
    public static GroupStep? Next(GroupSituation situation)
    {
        var seen = new Seen(situation);
        return Leave(seen) ?? Promote(seen) ?? Dismiss(seen) ?? Admit(seen) ?? Move(seen);
    }

    /// <summary>
    /// Back to an odd number: of the lost first, then of the one that is silent for the longest time. And one that can never come
    /// back goes as soon as its own node has a vote again.
    /// </summary>
    private static GroupStep? Leave(Seen seen)
    {
        var lost = seen.Lost.FirstOrDefault();
        var even = seen.Voters.Length % 2 == 0;
        if (seen.Voters.Length <= seen.Target && (lost is null || !(even || seen.IsSucceeded(lost)))) return null;
        var leaving = lost ?? seen.Voters.Where(v => v.Number != seen.Self).OrderByDescending(v => seen.SilentMs(v.Number))
            .ThenByDescending(v => v.Number).First();
        return new GroupStep(seen.Members.Without(leaving.Number), lost is null
            ? $"{leaving.Node.Name} leaves: {seen.Voters.Length} voters agree no better than {seen.Voters.Length - 1}"
            : $"{leaving.Node.Name} (member {leaving.Number}) leaves: {seen.WhyLost(leaving)}");
    }

    /// <summary>Only when all that are missing are ready, so that an even number lasts for no longer than the next step.</summary>
    private static GroupStep? Promote(Seen seen)
    {
        var wanted = Math.Max(seen.Missing, seen.Lost.Length > 0 ? 1 : 0);
        var ready = seen.Learners.Where(l => seen.IsAlive(l.Number) && seen.IsCaughtUp(l.Number)).ToArray();
        if (wanted == 0 || ready.Length < wanted) return null;
        return new GroupStep(seen.Members.WithVoter(ready[0].Number), $"{ready[0].Node.Name} has caught up and votes");
    }

    /// <summary>Learners that are silent, or that nobody needs any more.</summary>
    private static GroupStep? Dismiss(Seen seen)
    {
        var silent = seen.Learners.FirstOrDefault(l => seen.SilentMs(l.Number) > seen.Times.LearnerSilentMs);
        var surplus = seen.Learners.Length > seen.LearnersWanted ? seen.Learners[^1] : null;
        if ((silent ?? surplus) is not { } leaving) return null;
        var why = silent is null ? "it is not needed any more" : $"it was not heard of for {seen.Times.LearnerSilentMs / 1000} s";
        return new GroupStep(seen.Members.Without(leaving.Number), $"{leaving.Node.Name} leaves as a learner: {why}");
    }

    private static GroupStep? Admit(Seen seen)
    {
        if (seen.Learners.Length >= seen.LearnersWanted || seen.Members.All.Length >= JournalLimits.GroupMax) return null;
        var lostNames = seen.Lost.Select(v => v.Node.Name).ToHashSet(StringComparer.Ordinal);
        var best = seen.Candidates.OrderByDescending(c => lostNames.Contains(c.Node.Name))
            .ThenBy(c => seen.MembersInZone(c.Zone)).FirstOrDefault();
        return best is null ? null : new GroupStep(seen.Members.WithLearner(best.Node), $"{best.Node.Name} joins as a learner");
    }

    /// <summary>A member that registered another address is written down with it.</summary>
    private static GroupStep? Move(Seen seen)
    {
        foreach (var member in seen.Members.All)
        {
            if (seen.NodeOf(member) is not { } node || node.Node.Address == member.Node.Address) continue;
            var moved = seen.Members.WithAddress(member.Number, node.Node.Address);
            return new GroupStep(moved, $"{member.Node.Name} is at {node.Node.Address} now");
        }
        return null;
    }

    /// <summary>The situation, looked through once.</summary>
    private sealed class Seen
    {
        private readonly GroupSituation _situation;
        private readonly Dictionary<int, RaftProgress> _progress;

        public Seen(GroupSituation situation)
        {
            _situation = situation;
            _progress = situation.Progress.ToDictionary(p => p.Number);
            Voters = [.. Members.All.Where(m => m.IsVoter)];
            Learners = [.. Members.All.Where(m => !m.IsVoter)];
            Candidates = [.. situation.Nodes.Where(n => n.IsAlive && Members.Find(n.Node.NodeId) is null)];
            Lost = [.. Voters.Where(v => WhyLost(v) is not null).OrderByDescending(IsRemoved).ThenByDescending(IsReborn).ThenBy(v => v.Number)];
            var alive = Voters.Count(v => IsAlive(v.Number)) + Learners.Count(l => IsAlive(l.Number)) + Candidates.Length;
            var byNodes = alive >= JournalLimits.MembersMax ? JournalLimits.MembersMax : alive >= 3 ? 3 : 1;
            // Three stay three: of two the one that leaves would take a copy of the log with it. The removed one is replaced once there is a node for it.
            var staying = Math.Max(Voters.Count(v => !IsRemoved(v)), Math.Min(Voters.Length, 3));
            Target = Math.Max(byNodes, staying - 1 + (staying % 2));
        }

        public RaftMembers Members => _situation.Members;

        public int Self => _situation.Self;

        public GroupTimes Times => _situation.Times;

        public ImmutableArray<RaftMember> Voters { get; }

        public ImmutableArray<RaftMember> Learners { get; }

        /// <summary>Alive and not of the group.</summary>
        public ImmutableArray<GroupNode> Candidates { get; }

        /// <summary>Voters to replace, those that can never come back first.</summary>
        public ImmutableArray<RaftMember> Lost { get; }

        /// <summary>Voters that there should be.</summary>
        public int Target { get; }

        public int Missing => Math.Max(0, Target - Voters.Length);

        public int LearnersWanted => Missing > 0 ? Missing : Lost.Length > 0 ? 1 : 0;

        public long SilentMs(int number) =>
            number == Self ? 0 : _progress.TryGetValue(number, out var progress) ? progress.SilentMs : 0;

        public bool IsAlive(int number) => SilentMs(number) <= Times.AliveMs;

        public bool IsCaughtUp(int number) => _progress.TryGetValue(number, out var progress) && progress.CaughtUp;

        public GroupNode? NodeOf(RaftMember member) => _situation.Nodes.FirstOrDefault(n => n.Node.NodeId == member.Node.NodeId);

        public int MembersInZone(string zone) =>
            zone.Length == 0 ? 0 : Members.All.Count(m => _situation.Nodes.Any(n => n.Node.NodeId == m.Node.NodeId && n.Zone == zone));

        /// <summary>Null for a voter that is not lost.</summary>
        public string? WhyLost(RaftMember voter)
        {
            if (voter.Number == Self) return null;
            if (IsRemoved(voter)) return "its node was removed";
            if (IsReborn(voter)) return "its node came back without its data directory";
            return SilentMs(voter.Number) > Times.ReplaceAfterMs ? $"it was not heard of for {Times.ReplaceAfterMs / 1000} s" : null;
        }

        /// <summary>Another voter has its name: it came back, and was let in, under a new identity.</summary>
        public bool IsSucceeded(RaftMember voter) =>
            IsReborn(voter) && Voters.Any(v => v.Number != voter.Number && v.Node.Name == voter.Node.Name);

        /// <summary>An operator took its node out, and it is not there again.</summary>
        private bool IsRemoved(RaftMember voter) => voter.Number != Self && _situation.Removed.Contains(voter.Node.NodeId) && !IsAlive(voter.Number);

        /// <summary>Its name answers under another identity: the directory that it voted and wrote in is gone.</summary>
        private bool IsReborn(RaftMember voter) => !IsAlive(voter.Number) && _situation.Nodes.Any(
            n => n.Node.Name == voter.Node.Name && n.Node.NodeId != voter.Node.NodeId && IsAlive(n));

        private bool IsAlive(GroupNode node) => Members.Find(node.Node.NodeId) is { } member ? IsAlive(member.Number) : node.IsAlive;
    }
}
