
namespace Cluster.Node.Journal.Raft;

/// <summary>Leading: proposals, replication to each peer, commit, and the barrier for reads.</summary>
public sealed partial class RaftMachine
{
    private readonly Peer?[] _peers;
    private readonly Queue<(long Id, long Round)> _readsAsked = [];
    private readonly Queue<long> _readsNew = [];
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

    /// <summary>Appends a command to the log of a leader. Its index, or -1 if this member does not lead.</summary>
    public long Propose(byte[] command)
    {
        if (Role != RaftRole.Leader) return -1;
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

    /// <summary>Asks the follower with the longest log to take over. Nothing is promised: this member leads on if that fails.</summary>
    public void HandOver()
    {
        if (Role != RaftRole.Leader) return;
        var best = -1;
        for (var i = 0; i < _peers.Length; i++)
            if (_peers[i] is { } p && (best < 0 || p.Match > _peers[best]!.Match)) best = i;
        if (best >= 0) _sendAfterSync.Add(new RaftMessage.StandNow(_settings.Self, best, Term));
    }

    private void Lead()
    {
        Role = RaftRole.Leader;
        Leader = _settings.Self;
        for (var i = 0; i < _peers.Length; i++)
            _peers[i] = i == _settings.Self ? null : new Peer(_log.LastIndex + 1, _nowMs);
        _selfMatch = _unwrittenFrom - 1;
        _readRound = 0;
        _log.Append(new RaftEntry(_log.LastIndex + 1, Term, RaftEntryKind.NoOp, []));
        _termStart = _log.LastIndex;
        _quorumCheckAtMs = _nowMs + _settings.ElectionMaxMs;
        Heartbeat();
    }

    private void LeaderTimers()
    {
        if (_nowMs >= _quorumCheckAtMs)
        {
            _quorumCheckAtMs = _nowMs + _settings.ElectionMinMs;
            var heard = 1 + _peers.Count(p => p is not null && _nowMs - p.HeardAtMs <= _settings.ElectionMaxMs);
            if (heard < _settings.Quorum)
            {
                Follow(Term, -1);
                return;
            }
        }
        if (_nowMs >= _heartbeatAtMs) Heartbeat();
    }

    private void Heartbeat()
    {
        _heartbeatAtMs = _nowMs + _settings.HeartbeatMs;
        for (var i = 0; i < _peers.Length; i++)
        {
            if (_peers[i] is not { } p) continue;
            if (p.Mode == PeerMode.Snapshot && _nowMs - p.SnapshotSentAtMs >= _settings.SnapshotRetryMs) p.StartProbing(p.Match + 1);
            SendEmpty(i, p);
        }
    }

    /// <summary>Before outputs leave: starts a read round if reads wait, and streams new entries.</summary>
    private void Drive()
    {
        if (_readsNew.Count > 0 && CommitIndex >= _termStart)
        {
            _readRound++;
            while (_readsNew.TryDequeue(out var id)) _readsAsked.Enqueue((id, _readRound));
            for (var i = 0; i < _peers.Length; i++)
                if (_peers[i] is { } p) SendEmpty(i, p);
            ConfirmReads();
        }
        for (var i = 0; i < _peers.Length; i++)
            if (_peers[i] is { Mode: PeerMode.Replicate } p) Stream(i, p);
    }

    private void Stream(int to, Peer p)
    {
        while (p.Mode == PeerMode.Replicate && p.Next <= _log.LastIndex && p.InFlight < _settings.AppendsInFlightMax)
        {
            if (p.Next <= _log.SnapshotIndex)
            {
                SendSnapshot(to, p);
                return;
            }
            var entries = _log.Slice(p.Next, _settings.AppendBytesMax);
            SendAppend(to, p.Next - 1, entries);
            p.Next += entries.Count;
            p.InFlight++;
        }
    }

    /// <summary>A heartbeat that is also a probe: it fails if the peer does not have all that was sent before it.</summary>
    private void SendEmpty(int to, Peer p)
    {
        if (p.Mode == PeerMode.Probe && p.Next <= _log.SnapshotIndex) SendSnapshot(to, p);
        if (p.Mode == PeerMode.Snapshot) SendAppend(to, 0, []);
        else SendAppend(to, Math.Max(p.Next - 1, _log.SnapshotIndex), []);
    }

    private void SendAppend(int to, long prevIndex, IReadOnlyList<RaftEntry> entries)
    {
        var prevTerm = prevIndex == 0 ? 0 : _log.TermAt(prevIndex);
        _sendAtOnce.Add(new RaftMessage.Append(_settings.Self, to, Term, prevIndex, prevTerm, entries, CommitIndex, _readRound));
    }

    private void SendSnapshot(int to, Peer p)
    {
        p.Mode = PeerMode.Snapshot;
        p.SnapshotIndex = _log.SnapshotIndex;
        p.SnapshotSentAtMs = _nowMs;
        _sendAtOnce.Add(new RaftMessage.InstallSnapshot(_settings.Self, to, Term, _log.Snapshot!, _readRound));
    }

    private void OnAppendReply(RaftMessage.AppendReply m)
    {
        if (m.Term > Term) Follow(m.Term, -1);
        if (Role != RaftRole.Leader || m.Term != Term || _peers[m.From] is not { } p) return;
        p.HeardAtMs = _nowMs;
        p.ReadRound = Math.Max(p.ReadRound, m.ReadRound);
        ConfirmReads();
        if (m.Success) OnMatched(p, m.MatchIndex);
        else OnMismatch(m.From, p, m);
    }

    private void OnMatched(Peer p, long match)
    {
        p.Match = Math.Max(p.Match, match);
        p.InFlight = p.Match >= p.Next - 1 ? 0 : Math.Max(0, p.InFlight - 1);
        var caughtUp = p.Mode == PeerMode.Snapshot ? match >= p.SnapshotIndex : match >= p.Next - 1;
        if (p.Mode != PeerMode.Replicate && caughtUp) p.StartReplicating();
        p.Next = Math.Max(p.Next, p.Match + 1);
        AdvanceCommit();
    }

    private void OnMismatch(int from, Peer p, RaftMessage.AppendReply m)
    {
        if (p.Mode == PeerMode.Snapshot) return;
        if (p.Mode == PeerMode.Probe && m.PrevIndex != p.Next - 1) return;               // an answer to an older probe
        if (p.Mode == PeerMode.Replicate && m.PrevIndex <= p.Match && m.MatchIndex >= p.Match) return;
        p.StartProbing(Math.Clamp(m.MatchIndex + 1, 1, Math.Max(1, m.PrevIndex)));
        SendEmpty(from, p);
    }

    private void AdvanceCommit()
    {
        Span<long> matches = stackalloc long[_settings.Members];
        for (var i = 0; i < matches.Length; i++) matches[i] = _peers[i]?.Match ?? _selfMatch;
        matches.Sort();
        var index = matches[_settings.Members - _settings.Quorum];
        if (index <= CommitIndex || index < _termStart) return;   // only an entry of its own term tells a leader what is committed
        CommitIndex = index;
    }

    private void ConfirmReads()
    {
        while (_readsAsked.TryPeek(out var read))
        {
            var confirming = 1 + _peers.Count(p => p is not null && p.ReadRound >= read.Round);
            if (confirming < _settings.Quorum) return;
            _readsConfirmed.Add(_readsAsked.Dequeue().Id);
        }
    }

    private void FailReads()
    {
        while (_readsAsked.TryDequeue(out var read)) _readsFailed.Add(read.Id);
        while (_readsNew.TryDequeue(out var id)) _readsFailed.Add(id);
    }

    private sealed class Peer(long next, long nowMs)
    {
        public PeerMode Mode = PeerMode.Probe;
        public long Next = next;
        public long Match;
        public int InFlight;
        public long HeardAtMs = nowMs;
        public long ReadRound;
        public long SnapshotIndex;
        public long SnapshotSentAtMs;

        public void StartProbing(long next)
        {
            (Mode, Next, InFlight) = (PeerMode.Probe, Math.Max(1, next), 0);
        }

        public void StartReplicating()
        {
            (Mode, Next, InFlight) = (PeerMode.Replicate, Match + 1, 0);
        }
    }
}
