using Cluster.Node.Journal.Format;

namespace Cluster.Node.Journal.Raft;

/// <summary>
/// Reads a log file back. A bad record ends the log only if nothing shows that it had been on media; else it is rot, and throws.
/// </summary>
internal static class RaftLogReader
{
    public static RaftDurable Read(
        ReadOnlySpan<byte> content, string name, long generation, Guid clusterId, RaftMembers formed, out long end)
    {
        CheckHead(content, name, generation, clusterId, out var at);
        var vote = RaftVote.None;
        RaftMembers? members = null;
        RaftSnapshot? snapshot = null;
        var entries = new List<RaftEntry>();
        while (at < content.Length)
        {
            if (!RaftRecord.TryDecode(content[at..], generation, out var record, out var payload))
            {
                CheckTorn(content, at, name, generation);
                break;
            }
            switch (record.Kind)
            {
                case RaftRecordKind.Members:
                    if (members is not null || snapshot is not null || entries.Count > 0) throw Bad(name, at, "members out of place");
                    members = RaftMembers.Decode(payload);
                    break;
                case RaftRecordKind.Snapshot:
                    if (snapshot is not null || entries.Count > 0) throw Bad(name, at, "a snapshot in the middle of a file");
                    // Without them the file is of a time when members never changed.
                    snapshot = new RaftSnapshot(record.Index, record.Term, members ?? formed, payload.ToArray());
                    if (snapshot.Members.Index > snapshot.Index) throw Bad(name, at, "its members are newer than its snapshot");
                    break;
                case RaftRecordKind.Vote:
                    vote = new RaftVote(record.Term, record.VotedFor);
                    break;
                case RaftRecordKind.Entry:
                    var entry = new RaftEntry(record.Index, record.Term, record.EntryKind, payload.ToArray());
                    Place(entries, snapshot?.Index ?? 0, entry, name, at);
                    break;
                default:
                    throw Bad(name, at, $"record kind {(byte)record.Kind} is not known to this program");
            }
            at += record.TotalBytes;
        }
        end = at;
        return new RaftDurable(vote, formed, snapshot, entries);
    }

    private static void CheckHead(ReadOnlySpan<byte> content, string name, long generation, Guid clusterId, out int end)
    {
        if (!RaftRecord.TryDecode(content, generation, out var head, out var payload) || head.Kind != RaftRecordKind.Head)
            throw Bad(name, 0, "the head record is damaged");
        var reader = new JournalReader(payload);
        var found = reader.Id();
        if (found != clusterId) throw Bad(name, 0, $"it belongs to cluster {found}, this node to {clusterId}");
        if (reader.I64() != generation) throw Bad(name, 0, "its generation differs from its name");
        reader.End();
        end = head.TotalBytes;
    }

    private static void Place(List<RaftEntry> entries, long snapshotIndex, RaftEntry entry, string name, long at)
    {
        var place = entry.Index - snapshotIndex - 1;
        if (place < 0 || place > entries.Count) throw Bad(name, at, $"entry {entry.Index} does not follow the ones before it");
        entries.RemoveRange((int)place, entries.Count - (int)place);
        entries.Add(entry);
    }

    private static void CheckTorn(ReadOnlySpan<byte> content, long bad, string name, long generation)
    {
        for (var at = bad + 8; at < content.Length; at += 8)
        {
            var rest = content[(int)at..];
            if (RaftRecord.HasMagic(rest) && RaftRecord.TryDecode(rest, generation, out var later, out _) && later.DurableBytes > bad)
                throw Bad(name, bad, "a record that was on media is damaged; restore the file, or empty the data directory and rejoin");
        }
    }

    private static JournalFormatException Bad(string name, long at, string why) => new($"journal log {name} at byte {at}: {why}");
}
