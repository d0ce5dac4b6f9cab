using Cluster.Node.Journal.Format;
using Cluster.Node.Journal.Raft;

namespace Cluster.Node.Journal;

/// <summary>
/// The control members as their leader knows them: the committed list, the leader's number, and how far each other one is.
/// </summary>
public sealed record GroupView(RaftMembers Members, int Leader, long CommitIndex, IReadOnlyList<RaftProgress> Progress)
{
    private const int ProgressBytes = 21;

    internal void Write(JournalWriter writer)
    {
        Members.Write(writer);
        writer.I32(Leader).I64(CommitIndex).I32(Progress.Count);
        foreach (var p in Progress) writer.I32(p.Number).I64(p.MatchIndex).I64(p.SilentMs).Flag(p.CaughtUp);
    }

    internal static GroupView Decode(ReadOnlySpan<byte> from)
    {
        var reader = new JournalReader(from);
        var members = RaftMembers.Read(ref reader);
        var (leader, commitIndex) = (reader.I32(), reader.I64());
        var progress = new RaftProgress[reader.Count(ProgressBytes, JournalLimits.GroupMax)];
        for (var i = 0; i < progress.Length; i++)
            progress[i] = new RaftProgress(reader.I32(), reader.I64(), reader.I64(), reader.Flag());
        reader.End();
        return new GroupView(members, leader, commitIndex, progress);
    }
}
