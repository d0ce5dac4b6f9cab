namespace Cluster.Node.Journal.Raft;

/// <summary>
/// Standing for election and voting. Only a voter stands, and only voters' voices are counted, both by the members in the own log;
/// but a vote is given to whoever asks with a log that is up to date: the asker may know a change that has not come here yet
/// (4.2.2).
/// </summary>
public partial class RaftMachine
{
    private bool MayStand => Members.Find(_settings.Self) is { } self && Counts(self);

    private bool IsGranted => _granted.Count(n => Members.Find(n) is { } m && Counts(m)) >= Quorum;

    private int Quorum => Members.Quorum;

    /// <summary>Whether a server's voice counts towards a majority.</summary>
    private protected virtual bool Counts(RaftMember member) => member.IsVoter;

    /// <summary>
    /// Asks everybody whether a vote would be won. Nothing durable changes, so a member behind a cut raises no terms.
    /// </summary>
    private void StandProvisionally()
    {
        Role = RaftRole.PreCandidate;
        Leader = -1;
        _granted.Clear();
        _granted.Add(_settings.Self);
        ResetElectionTimer();
        foreach (var to in OtherVoters())
            _sendAfterSync.Add(new RaftMessage.PreVote(_settings.Self, to, Term + 1, _log.LastIndex, _log.LastTerm));
        if (IsGranted) Stand();
    }

    private void Stand()
    {
        SetVote(new RaftVote(Term + 1, _settings.Self));
        Role = RaftRole.Candidate;
        Leader = -1;
        _granted.Clear();
        _granted.Add(_settings.Self);
        ResetElectionTimer();
        foreach (var to in OtherVoters())
            _sendAfterSync.Add(new RaftMessage.Vote(_settings.Self, to, Term, _log.LastIndex, _log.LastTerm));
        if (IsGranted) Lead();
    }

    private IEnumerable<int> OtherVoters() =>
        Members.All.Where(m => m.Number != _settings.Self && Counts(m)).Select(m => m.Number);

    private void OnPreVote(RaftMessage.PreVote m)
    {
        var leaderAlive = Role == RaftRole.Leader || _nowMs - _leaderHeardAtMs < _settings.ElectionMinMs;
        var granted = m.Term > Term && IsUpToDate(m.LastIndex, m.LastTerm) && !leaderAlive;
        if (granted && Role == RaftRole.Follower)                 // leave the one who stands a moment to win
            _electionAtMs = Math.Max(_electionAtMs, _nowMs + _settings.EarlyElectionMaxMs);
        _sendAfterSync.Add(new RaftMessage.PreVoteReply(_settings.Self, m.From, granted ? m.Term : Term, granted));
    }

    private void OnPreVoteReply(RaftMessage.PreVoteReply m)
    {
        if (!m.Granted)
        {
            if (m.Term > Term) Follow(m.Term, -1);
            return;
        }
        if (Role != RaftRole.PreCandidate || m.Term != Term + 1) return;
        _granted.Add(m.From);
        if (IsGranted) Stand();
    }

    private void OnVote(RaftMessage.Vote m)
    {
        if (m.Term > Term) Follow(m.Term, -1);
        var granted = m.Term == Term && (_vote.VotedFor == m.From || _vote.VotedFor == RaftVote.NoVote)
            && IsUpToDate(m.LastIndex, m.LastTerm);
        if (granted)
        {
            if (_vote.VotedFor == RaftVote.NoVote) SetVote(new RaftVote(Term, m.From));
            ResetElectionTimer();
        }
        _sendAfterSync.Add(new RaftMessage.VoteReply(_settings.Self, m.From, Term, granted));
    }

    private void OnVoteReply(RaftMessage.VoteReply m)
    {
        if (m.Term > Term) Follow(m.Term, -1);
        if (Role != RaftRole.Candidate || m.Term != Term || !m.Granted) return;
        _granted.Add(m.From);
        if (IsGranted) Lead();
    }

    private void OnStandNow(RaftMessage.StandNow m)
    {
        if (m.Term == Term && m.From == Leader && Role == RaftRole.Follower && MayStand) Stand();
    }

    /// <summary>Takes a term and its leader (-1: not known yet). Reads that waited here fail; the shell fails the proposals.</summary>
    private void Follow(long term, int leader)
    {
        if (term > Term) SetVote(new RaftVote(term, RaftVote.NoVote));
        if (Role == RaftRole.Leader)
        {
            FailReads();
            ResetElectionTimer();
            _peers.Clear();
            _transferTo = -1;
        }
        Role = RaftRole.Follower;
        Leader = leader;
    }

    /// <summary>Whether a candidate with this log has all that may be committed.</summary>
    private protected virtual bool IsUpToDate(long lastIndex, long lastTerm) =>
        lastTerm > _log.LastTerm || (lastTerm == _log.LastTerm && lastIndex >= _log.LastIndex);
}
