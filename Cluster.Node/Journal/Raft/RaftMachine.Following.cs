using Cluster.Messages.Model;

namespace Cluster.Node.Journal.Raft;

/// <summary>Following a leader: entries and snapshots come in, answers leave only behind a sync.</summary>
public partial class RaftMachine
{
    private void OnAppend(RaftMessage.Append m)
    {
        if (!HearLeader(m))
        {
            Reply(m.From, success: false, m.PrevIndex, 0, 0);
            return;
        }
        var fits = m.PrevIndex < _log.SnapshotIndex || _log.TermAt(m.PrevIndex) == m.PrevTerm;
        if (!fits)
        {
            Reply(m.From, success: false, m.PrevIndex, MatchAtBest(m.PrevIndex), m.ReadRound);
            return;
        }
        foreach (var entry in m.Entries) Accept(entry);
        var match = m.PrevIndex + m.Entries.Count;
        CommitIndex = Math.Max(CommitIndex, Math.Min(m.CommitIndex, match));
        Reply(m.From, success: true, m.PrevIndex, match, m.ReadRound);
    }

    private void Accept(RaftEntry entry)
    {
        if (entry.Index <= _log.SnapshotIndex) return;
        var term = _log.TermAt(entry.Index);
        if (term == entry.Term) return;
        if (term >= 0)
        {
            Invariant.That(entry.Index > CommitIndex, "a committed entry is never replaced");
            _log.TruncateFrom(entry.Index);
            _unwrittenFrom = Math.Min(_unwrittenFrom, entry.Index);
        }
        _log.Append(entry);
    }

    private void OnInstallSnapshot(RaftMessage.InstallSnapshot m)
    {
        if (!HearLeader(m))
        {
            Reply(m.From, success: false, 0, 0, 0);
            return;
        }
        if (m.Snapshot.Index > CommitIndex)
        {
            _log.Install(m.Snapshot);
            _installed = m.Snapshot;
            CommitIndex = _handedOut = m.Snapshot.Index;
            _unwrittenFrom = _log.LastIndex + 1;             // the shell writes the whole log anew with the snapshot
        }
        Reply(m.From, success: true, 0, m.Snapshot.Index, m.ReadRound);
    }

    /// <summary>False for a message of an older term. Else its sender leads, and the election timer starts again.</summary>
    private bool HearLeader(RaftMessage m)
    {
        if (m.Term < Term) return false;
        Invariant.That(Role != RaftRole.Leader || m.Term > Term, "one leader per term");
        Follow(m.Term, m.From);
        _leaderHeardAtMs = _nowMs;
        ResetElectionTimer();
        return true;
    }

    /// <summary>
    /// The last index below a mismatch that may agree: the end of this log, or of the term before the one that differs.
    /// </summary>
    private long MatchAtBest(long prevIndex)
    {
        if (prevIndex > _log.LastIndex) return _log.LastIndex;
        var differing = _log.TermAt(prevIndex);
        var index = prevIndex - 1;
        while (index > CommitIndex && _log.TermAt(index) == differing) index--;
        return index;
    }

    private void Reply(int to, bool success, long prevIndex, long matchIndex, long readRound) =>
        _sendAfterSync.Add(new RaftMessage.AppendReply(_settings.Self, to, Term, success, prevIndex, matchIndex, readRound));
}
