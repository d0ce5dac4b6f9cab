namespace Cluster.Node.Journal.Raft;

/// <summary>
/// What members say to each other. Each carries the sender's term, except a pre-vote, which names the term it would stand in.
/// </summary>
public abstract record RaftMessage(int From, int To, long Term)
{
    public sealed record PreVote(int From, int To, long Term, long LastIndex, long LastTerm) : RaftMessage(From, To, Term);

    /// <summary>Granted: the term asked for. Refused: the refuser's own term.</summary>
    public sealed record PreVoteReply(int From, int To, long Term, bool Granted) : RaftMessage(From, To, Term);

    public sealed record Vote(int From, int To, long Term, long LastIndex, long LastTerm) : RaftMessage(From, To, Term);

    public sealed record VoteReply(int From, int To, long Term, bool Granted) : RaftMessage(From, To, Term);

    /// <summary>
    /// Entries after (PrevIndex, PrevTerm), or none as a heartbeat. The reply echoes ReadRound, which confirms the leader for
    /// reads.
    /// </summary>
    public sealed record Append(
        int From, int To, long Term, long PrevIndex, long PrevTerm, IReadOnlyList<RaftEntry> Entries, long CommitIndex, long ReadRound)
        : RaftMessage(From, To, Term);

    /// <summary>
    /// Success: the sender's log equals the leader's up to MatchIndex, durably. Else: it may match at MatchIndex at best.
    /// </summary>
    public sealed record AppendReply(int From, int To, long Term, bool Success, long PrevIndex, long MatchIndex, long ReadRound)
        : RaftMessage(From, To, Term);

    public sealed record InstallSnapshot(int From, int To, long Term, RaftSnapshot Snapshot, long ReadRound) : RaftMessage(From, To, Term);

    /// <summary>A leader that is leaving asks the best follower to stand at once.</summary>
    public sealed record StandNow(int From, int To, long Term) : RaftMessage(From, To, Term);
}
