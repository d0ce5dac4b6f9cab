using Cluster.Messages.Model;

namespace Cluster.Node.Journal.Raft;

/// <summary>
/// One member's Raft role, and nothing else: no clock, socket, file or random of the system. Inputs are the time, messages, proposals
/// and "that is on disk"; outputs are collected in <see cref="TakeReady"/>. One thread. The simulator runs this same code.
/// Raft as in Ongaro's dissertation: pre-vote (9.6), leader steps down without a quorum (6.2), a no-op opens each term (6.4),
/// read-index barrier (6.4), snapshots (5), leadership transfer (3.10), changes of one server at a time (4) and only after an entry of
/// the leader's own term is committed, learners that catch up without a vote (4.2.1).
/// Open to derivation only for tests that take one rule out and show that the simulation notices.
/// </summary>
public partial class RaftMachine
{
    private readonly RaftSettings _settings;
    private readonly RaftMemoryLog _log;
    private readonly HashSet<int> _granted = [];
    private readonly List<RaftMessage> _sendAtOnce = [];
    private readonly List<RaftMessage> _sendAfterSync = [];
    private readonly List<long> _readsConfirmed = [];
    private readonly List<long> _readsFailed = [];
    private ulong _random;
    private long _nowMs;
    private long _electionAtMs;
    private long _leaderHeardAtMs = long.MinValue / 2;
    private RaftVote _vote;
    private bool _voteChanged;
    private RaftSnapshot? _installed;
    private long _unwrittenFrom;      // first entry not yet handed out for writing
    private long _handedOut;          // last entry handed out for applying

    /// <summary>Starts as a follower of nobody with what was on disk. Seed: any number, different per member.</summary>
    public RaftMachine(RaftSettings settings, RaftDurable durable, ulong seed, long nowMs)
    {
        Invariant.That(settings.Self >= 0, "a member has a number");
        _settings = settings;
        _random = seed;
        _vote = durable.Vote;
        _log = new RaftMemoryLog(durable.Formed, durable.Snapshot, durable.Entries);
        Invariant.That(_log.LastTerm <= _vote.Term, "the log holds no term that the vote has not reached");
        CommitIndex = _handedOut = _log.SnapshotIndex;
        _unwrittenFrom = _log.LastIndex + 1;
        _nowMs = nowMs;
        var alone = Members.Voters == 1 && Members.IsVoter(settings.Self);
        _electionAtMs = nowMs + (alone ? 0 : Draw(settings.ElectionMinMs / 2, settings.ElectionMinMs));
    }

    public RaftRole Role { get; private set; } = RaftRole.Follower;

    /// <summary>The leader of the current term, or -1 while it is not known.</summary>
    public int Leader { get; private set; } = -1;

    public long Term => _vote.Term;
    public long CommitIndex { get; private set; }
    public long LastIndex => _log.LastIndex;
    public long SnapshotIndex => _log.SnapshotIndex;
    public RaftSnapshot? Snapshot => _log.Snapshot;
    public IReadOnlyList<RaftEntry> Entries => _log.Entries;
    public RaftVote Vote => _vote;

    /// <summary>The members in force here: those of the last entry that changed them, committed or not.</summary>
    public RaftMembers Members => _log.Members;

    /// <summary>The last members that are known to be committed.</summary>
    public RaftMembers CommittedMembers => _log.MembersAt(CommitIndex);

    /// <summary>When <see cref="Advance"/> has something to do, if nothing else comes before.</summary>
    public long NextDeadlineMs => Role == RaftRole.Leader ? _heartbeatAtMs : _electionAtMs;

    /// <summary>Moves the clock and acts on timers that ran out. The clock never goes back.</summary>
    public void Advance(long nowMs)
    {
        _nowMs = Math.Max(_nowMs, nowMs);
        if (Role == RaftRole.Leader) LeaderTimers();
        else if (_nowMs < _electionAtMs) return;
        else if (MayStand) StandProvisionally();
        else
        {
            Leader = -1;                                      // who has no vote waits, but knows that it hears nobody
            ResetElectionTimer();
        }
    }

    /// <summary>Whoever sends it may be unknown here yet: members learn of each other through this very log (4.1).</summary>
    public void Receive(RaftMessage message)
    {
        if (message.To != _settings.Self || message.From < 0 || message.From == _settings.Self) return;
        switch (message)
        {
            case RaftMessage.PreVote m: OnPreVote(m); break;
            case RaftMessage.PreVoteReply m: OnPreVoteReply(m); break;
            case RaftMessage.Vote m: OnVote(m); break;
            case RaftMessage.VoteReply m: OnVoteReply(m); break;
            case RaftMessage.Append m: OnAppend(m); break;
            case RaftMessage.AppendReply m: OnAppendReply(m); break;
            case RaftMessage.InstallSnapshot m: OnInstallSnapshot(m); break;
            case RaftMessage.StandNow m: OnStandNow(m); break;
        }
    }

    /// <summary>
    /// The connection to a member broke. If it led, the next leader is looked for after a short draw, not a full silence.
    /// </summary>
    public void PeerLost(int peer)
    {
        if (Role == RaftRole.Leader)
        {
            if (PeerOf(peer) is { Mode: PeerMode.Replicate } p) p.StartProbing(p.Match + 1);
            return;
        }
        if (peer != Leader) return;
        Leader = -1;
        _leaderHeardAtMs = long.MinValue / 2;
        _electionAtMs = Math.Min(_electionAtMs, _nowMs + Draw(0, _settings.EarlyElectionMaxMs));
    }

    /// <summary>Drops the log up to the snapshot, which the state machine took at an entry that it had applied.</summary>
    public void Compact(RaftSnapshot snapshot)
    {
        Invariant.That(snapshot.Index <= _handedOut && _log.TermAt(snapshot.Index) == snapshot.Term, "only applied entries are compacted");
        Invariant.That(snapshot.Members.Index <= snapshot.Index, "a snapshot names the members as of its own place");
        _log.Install(snapshot);
    }

    /// <summary>Everything to do since the last call; see <see cref="RaftReady"/> for the order. Null when there is nothing.</summary>
    public RaftReady? TakeReady()
    {
        if (Role == RaftRole.Leader) Drive();
        if (!_voteChanged && _installed is null && _unwrittenFrom > _log.LastIndex && _sendAtOnce.Count == 0 && _sendAfterSync.Count == 0
            && _handedOut == CommitIndex && _readsConfirmed.Count == 0 && _readsFailed.Count == 0)
            return null;
        // A leader's appends may run ahead of its own disk, but never ahead of the term that they carry.
        var early = _voteChanged ? [] : Drain(_sendAtOnce);
        var ready = new RaftReady
        {
            Vote = _voteChanged ? _vote : null,
            Snapshot = _installed,
            Append = Range(_unwrittenFrom, _log.LastIndex),
            SendAtOnce = early,
            SendAfterSync = [.. Drain(_sendAtOnce), .. Drain(_sendAfterSync)],
            Committed = Range(_handedOut + 1, CommitIndex),
            ReadsConfirmed = Drain(_readsConfirmed),
            ReadsFailed = Drain(_readsFailed),
        };
        (_voteChanged, _installed) = (false, null);
        (_unwrittenFrom, _handedOut) = (_log.LastIndex + 1, CommitIndex);
        return ready;
    }

    /// <summary>All that the last <see cref="TakeReady"/> asked to write is on disk.</summary>
    public void Persisted()
    {
        if (Role != RaftRole.Leader) return;
        _selfMatch = _unwrittenFrom - 1;
        AdvanceCommit();
    }

    private List<RaftEntry> Range(long from, long to)
    {
        var entries = new List<RaftEntry>((int)Math.Max(0, to - from + 1));
        for (var i = from; i <= to; i++) entries.Add(_log[i]);
        return entries;
    }

    private static List<T> Drain<T>(List<T> list)
    {
        List<T> drained = [.. list];
        list.Clear();
        return drained;
    }

    private void SetVote(RaftVote vote)
    {
        Invariant.That(vote.Term > _vote.Term || (vote.Term == _vote.Term && _vote.VotedFor is RaftVote.NoVote), "one vote per term");
        _vote = vote;
        _voteChanged = true;
    }

    private long Draw(int fromMs, int toMs)
    {
        _random += 0x9E3779B97F4A7C15;                       // SplitMix64: small, ours, the same on every runtime
        var z = _random;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        z ^= z >> 31;
        return fromMs + (long)(z % (ulong)(toMs - fromMs + 1));
    }

    private void ResetElectionTimer() => _electionAtMs = _nowMs + Draw(_settings.ElectionMinMs, _settings.ElectionMaxMs);
}
