namespace Cluster.Node.Journal.Raft;

/// <summary>
/// Changing who the members are, and giving the leadership away. A change is one entry of the log, in force where it is appended. It is
/// appended only when the one before it and an entry of the leader's own term are committed: without the second condition two leaders
/// could each rest on a change that the other does not know, and their majorities need not overlap.
/// </summary>
public partial class RaftMachine
{
    private int _transferTo = -1;
    private long _transferUntilMs;
    private bool _askedToStand;

    /// <summary>
    /// The leader refuses proposals until the follower that it chose has taken over, or an election's time-out has passed.
    /// </summary>
    public bool IsHandingOver => _transferTo >= 0;

    /// <summary>
    /// Appends a change of the members, made by one step from those that <paramref name="seen"/> names. It is committed when the entry at
    /// <see cref="LastIndex"/> after the call is.
    /// </summary>
    public MembersChange ProposeMembers(RaftMembers seen, RaftMembers wanted)
    {
        if (Role != RaftRole.Leader || IsHandingOver) return MembersChange.NotLeader;
        if (!IsTermCommitted()) return MembersChange.TermNotCommitted;
        if (!AreMembersCommitted() || seen.Index != Members.Index) return MembersChange.NotNow;
        if (!wanted.IsOneStepFrom(Members) || !wanted.IsVoter(_settings.Self)) return MembersChange.NotOneStep;
        var index = _log.LastIndex + 1;
        _log.Append(new RaftEntry(index, Term, RaftEntryKind.Members, (wanted with { Index = index }).Encode()));
        FollowMembers();
        AdvanceCommit();
        return MembersChange.Appended;
    }

    /// <summary>Of each other member; empty unless leading.</summary>
    public IReadOnlyList<RaftProgress> Progress() =>
        [.. _peers.Select(p => new RaftProgress(p.Number, p.Match, _nowMs - p.HeardAtMs, p.CaughtUp))];

    /// <summary>
    /// Gives the leadership to the voter with the longest log of those that answer: proposals stop, it gets what it lacks, and stands at
    /// once. Nothing is promised: this member leads on if that fails. False when it does not lead or nobody can take over.
    /// </summary>
    public bool HandOver()
    {
        if (Role != RaftRole.Leader) return false;
        if (IsHandingOver) return true;
        var best = _peers.Where(p => p.Counts && _nowMs - p.HeardAtMs < _settings.ElectionMinMs).MaxBy(p => p.Match);
        if (best is null) return false;
        (_transferTo, _transferUntilMs, _askedToStand) = (best.Number, _nowMs + _settings.ElectionMaxMs, false);
        AskToStand(best);
        return true;
    }

    private protected virtual bool IsTermCommitted() => CommitIndex >= _termStart;

    private protected virtual bool AreMembersCommitted() => Members.Index <= CommitIndex;

    private void AskToStand(Peer p)
    {
        if (_transferTo != p.Number || _askedToStand || p.Match < _log.LastIndex) return;
        _askedToStand = true;
        _sendAfterSync.Add(new RaftMessage.StandNow(_settings.Self, p.Number, Term));
    }
}
