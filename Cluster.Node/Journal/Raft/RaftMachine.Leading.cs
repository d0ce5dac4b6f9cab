namespace Cluster.Node.Journal.Raft;

/// <summary>Leading: proposals, replication to each peer, commit, and the barrier for reads.</summary>
public partial class RaftMachine
{
    private readonly List<Peer> _peers = [];                  // all other members, learners too, by number; empty unless leading
    private readonly Queue<(long Id, long Round)> _readsAsked = [];
    private readonly Queue<long> _readsNew = [];
    private readonly List<long> _matches = [];
    private long _heartbeatAtMs;
    private long _quorumCheckAtMs;
    private long _readRound;
    private long _selfMatch;
    private long _termStart;          // index of this term's no-op

    private enum PeerMode
    {
        /// <summary>Looking for where the logs agree: one empty append at a time.</summary>
        Probe,

        /// <summary>Streaming, several appends in flight.</summary>
        Replicate,

        /// <summary>Its next entry is compacted away: a snapshot is under way.</summary>
        Snapshot,
    }

    /// <summary>
    /// Appends a command to the log of a leader. Its index, or -1 if this member does not lead or is giving the leadership away.
    /// </summary>
    public long Propose(byte[] command)
    {
        if (Role != RaftRole.Leader || IsHandingOver) return -1;
        _log.Append(new RaftEntry(_log.LastIndex + 1, Term, RaftEntryKind.Command, command));
        return _log.LastIndex;
    }

    /// <summary>
    /// Confirms, through a quorum, that this member still leads; then all that was committed before the call is applied.
    /// </summary>
    public void ReadBarrier(long id)
    {
        if (Role == RaftRole.Leader) _readsNew.Enqueue(id);
        else _readsFailed.Add(id);
    }

    private void Lead()
    {
        Role = RaftRole.Leader;
        Leader = _settings.Self;
        _peers.Clear();
        _transferTo = -1;
        _selfMatch = _unwrittenFrom - 1;
        _readRound = 0;
        FollowMembers();
        _log.Append(new RaftEntry(_log.LastIndex + 1, Term, RaftEntryKind.NoOp, []));
        _termStart = _log.LastIndex;
        _quorumCheckAtMs = _nowMs + _settings.ElectionMaxMs;
        Heartbeat();
    }

    /// <summary>A leader replicates to exactly the members in force.</summary>
    private void FollowMembers()
    {
        _peers.RemoveAll(p => Members.Find(p.Number) is null);
        foreach (var member in Members.All)
            if (member.Number != _settings.Self && PeerOf(member.Number) is null)
                _peers.Add(new Peer(member.Number, _log.LastIndex, _nowMs));
        foreach (var p in _peers) p.Counts = Counts(Members.Find(p.Number)!);
        _peers.Sort((a, b) => a.Number.CompareTo(b.Number));
    }

    private Peer? PeerOf(int number)
    {
        foreach (var p in _peers)
            if (p.Number == number) return p;
        return null;
    }

    private void LeaderTimers()
    {
        if (_nowMs >= _quorumCheckAtMs)
        {
            _quorumCheckAtMs = _nowMs + _settings.ElectionMinMs;
            var heard = 1 + _peers.Count(p => p.Counts && _nowMs - p.HeardAtMs <= _settings.ElectionMaxMs);
            if (heard < Quorum)
            {
                Follow(Term, -1);
                return;
            }
        }
        if (IsHandingOver && _nowMs >= _transferUntilMs) _transferTo = -1;
        if (_nowMs >= _heartbeatAtMs) Heartbeat();
    }

    private void Heartbeat()
    {
        _heartbeatAtMs = _nowMs + _settings.HeartbeatMs;
        _askedToStand = false;                                // the message may have been lost: the next answer asks again
        foreach (var p in _peers)
        {
            if (p.Mode == PeerMode.Snapshot && _nowMs - p.SnapshotSentAtMs >= _settings.SnapshotRetryMs) p.StartProbing(p.Match + 1);
            SendEmpty(p);
        }
    }

    /// <summary>Before outputs leave: starts a read round if reads wait, and streams new entries.</summary>
    private void Drive()
    {
        if (_readsNew.Count > 0 && CommitIndex >= _termStart)
        {
            _readRound++;
            while (_readsNew.TryDequeue(out var id)) _readsAsked.Enqueue((id, _readRound));
            foreach (var p in _peers) SendEmpty(p);
            ConfirmReads();
        }
        foreach (var p in _peers)
            if (p.Mode == PeerMode.Replicate) Stream(p);
    }

    private void Stream(Peer p)
    {
        while (p.Mode == PeerMode.Replicate && p.Next <= _log.LastIndex && p.InFlight < _settings.AppendsInFlightMax)
        {
            if (p.Next <= _log.SnapshotIndex)
            {
                SendSnapshot(p);
                return;
            }
            var entries = _log.Slice(p.Next, _settings.AppendBytesMax);
            SendAppend(p.Number, p.Next - 1, entries);
            p.Next += entries.Count;
            p.InFlight++;
        }
    }

    /// <summary>A heartbeat that is also a probe: it fails if the peer does not have all that was sent before it.</summary>
    private void SendEmpty(Peer p)
    {
        if (p.Mode == PeerMode.Probe && p.Next <= _log.SnapshotIndex) SendSnapshot(p);
        if (p.Mode == PeerMode.Snapshot) SendAppend(p.Number, 0, []);
        else SendAppend(p.Number, Math.Max(p.Next - 1, _log.SnapshotIndex), []);
    }

    private void SendAppend(int to, long prevIndex, IReadOnlyList<RaftEntry> entries)
    {
        var prevTerm = prevIndex == 0 ? 0 : _log.TermAt(prevIndex);
        _sendAtOnce.Add(new RaftMessage.Append(_settings.Self, to, Term, prevIndex, prevTerm, entries, CommitIndex, _readRound));
    }

    private void SendSnapshot(Peer p)
    {
        p.Mode = PeerMode.Snapshot;
        p.SnapshotIndex = _log.SnapshotIndex;
        p.SnapshotSentAtMs = _nowMs;
        _sendAtOnce.Add(new RaftMessage.InstallSnapshot(_settings.Self, p.Number, Term, _log.Snapshot!, _readRound));
    }

    private void OnAppendReply(RaftMessage.AppendReply m)
    {
        if (m.Term > Term) Follow(m.Term, -1);
        if (Role != RaftRole.Leader || m.Term != Term || PeerOf(m.From) is not { } p) return;
        p.HeardAtMs = _nowMs;
        p.ReadRound = Math.Max(p.ReadRound, m.ReadRound);
        ConfirmReads();
        if (m.Success) OnMatched(p, m.MatchIndex);
        else OnMismatch(p, m);
    }

    private void OnMatched(Peer p, long match)
    {
        p.Match = Math.Max(p.Match, match);
        p.InFlight = p.Match >= p.Next - 1 ? 0 : Math.Max(0, p.InFlight - 1);
        var caughtUp = p.Mode == PeerMode.Snapshot ? match >= p.SnapshotIndex : match >= p.Next - 1;
        if (p.Mode != PeerMode.Replicate && caughtUp) p.StartReplicating();
        p.Next = Math.Max(p.Next, p.Match + 1);
        p.EndRound(_log.LastIndex, _nowMs, _settings.ElectionMinMs);
        AdvanceCommit();
        AskToStand(p);
    }

    private void OnMismatch(Peer p, RaftMessage.AppendReply m)
    {
        if (p.Mode == PeerMode.Snapshot) return;
        if (p.Mode == PeerMode.Probe && m.PrevIndex != p.Next - 1) return;               // an answer to an older probe
        if (p.Mode == PeerMode.Replicate && m.PrevIndex <= p.Match && m.MatchIndex >= p.Match) return;
        p.StartProbing(Math.Clamp(m.MatchIndex + 1, 1, Math.Max(1, m.PrevIndex)));
        SendEmpty(p);
    }

    private void AdvanceCommit()
    {
        _matches.Clear();
        if (Members.Find(_settings.Self) is { } self && Counts(self)) _matches.Add(_selfMatch);
        foreach (var p in _peers)
            if (p.Counts) _matches.Add(p.Match);
        _matches.Sort();
        var index = _matches[^Quorum];
        if (index <= CommitIndex || index < _termStart) return;   // only an entry of its own term tells a leader what is committed
        CommitIndex = index;
    }

    private void ConfirmReads()
    {
        while (_readsAsked.TryPeek(out var read))
        {
            var confirming = 1 + _peers.Count(p => p.Counts && p.ReadRound >= read.Round);
            if (confirming < ReadQuorum) return;
            _readsConfirmed.Add(_readsAsked.Dequeue().Id);
        }
    }

    private protected virtual int ReadQuorum => Quorum;

    private void FailReads()
    {
        while (_readsAsked.TryDequeue(out var read)) _readsFailed.Add(read.Id);
        while (_readsNew.TryDequeue(out var id)) _readsFailed.Add(id);
    }

    private sealed class Peer(int number, long last, long nowMs)
    {
        public readonly int Number = number;
        public bool Counts;
        public PeerMode Mode = PeerMode.Probe;
        public long Next = last + 1;
        public long Match;
        public int InFlight;
        public long HeardAtMs = nowMs;
        public long ReadRound;
        public long SnapshotIndex;
        public long SnapshotSentAtMs;
        public bool CaughtUp;
        private long _roundEnd = last;
        private long _roundStartedAtMs = nowMs;

        public void StartProbing(long next)
        {
            (Mode, Next, InFlight) = (PeerMode.Probe, Math.Max(1, next), 0);
        }

        public void StartReplicating()
        {
            (Mode, Next, InFlight) = (PeerMode.Replicate, Match + 1, 0);
        }

        /// <summary>
        /// Catching up goes in rounds (4.2.1): each ends once the peer has all that the log held when the round began, and the next
        /// one begins. A round that took no longer than <paramref name="roundMs"/> says that the peer keeps up.
        /// </summary>
        public void EndRound(long lastIndex, long nowMs, long roundMs)
        {
            if (Match < _roundEnd) return;
            CaughtUp = nowMs - _roundStartedAtMs <= roundMs;
            (_roundEnd, _roundStartedAtMs) = (lastIndex, nowMs);
        }
    }
}
