using Cluster.Node.Journal.Format;

namespace Cluster.Node.Journal.Raft;

/// <summary>Bytes of a Raft message on the wire: type u8 | from i32 | to i32 | term i64 | fields (docs/journal-format.md).</summary>
public static class RaftMessageCodec
{
    private const byte PreVote = 1, PreVoteReply = 2, Vote = 3, VoteReply = 4;
    private const byte Append = 5, AppendReply = 6, StandNow = 8, InstallSnapshot = 9;      // 7 was a snapshot without its members

    /// <summary>An entry's fields beside its data.</summary>
    private const int EntryBytesMin = 21;

    public static void Encode(RaftMessage message, JournalWriter writer)
    {
        writer.U8(TypeOf(message)).I32(message.From).I32(message.To).I64(message.Term);
        switch (message)
        {
            case RaftMessage.PreVote m: writer.I64(m.LastIndex).I64(m.LastTerm); break;
            case RaftMessage.PreVoteReply m: writer.Flag(m.Granted); break;
            case RaftMessage.Vote m: writer.I64(m.LastIndex).I64(m.LastTerm); break;
            case RaftMessage.VoteReply m: writer.Flag(m.Granted); break;
            case RaftMessage.Append m:
                writer.I64(m.PrevIndex).I64(m.PrevTerm).I64(m.CommitIndex).I64(m.ReadRound).I32(m.Entries.Count);
                foreach (var e in m.Entries) writer.I64(e.Index).I64(e.Term).U8((byte)e.Kind).Bytes(e.Data);
                break;
            case RaftMessage.AppendReply m: writer.Flag(m.Success).I64(m.PrevIndex).I64(m.MatchIndex).I64(m.ReadRound); break;
            case RaftMessage.InstallSnapshot m:
                writer.I64(m.Snapshot.Index).I64(m.Snapshot.Term).Bytes(m.Snapshot.Members.Encode()).Bytes(m.Snapshot.Image)
                    .I64(m.ReadRound);
                break;
        }
    }

    public static RaftMessage Decode(ReadOnlySpan<byte> from)
    {
        var reader = new JournalReader(from);
        var type = reader.U8();
        int sender = reader.I32(), to = reader.I32();
        var term = reader.I64();
        RaftMessage message = type switch
        {
            PreVote => new RaftMessage.PreVote(sender, to, term, reader.I64(), reader.I64()),
            PreVoteReply => new RaftMessage.PreVoteReply(sender, to, term, reader.Flag()),
            Vote => new RaftMessage.Vote(sender, to, term, reader.I64(), reader.I64()),
            VoteReply => new RaftMessage.VoteReply(sender, to, term, reader.Flag()),
            Append => ReadAppend(ref reader, sender, to, term),
            AppendReply => new RaftMessage.AppendReply(sender, to, term, reader.Flag(), reader.I64(), reader.I64(), reader.I64()),
            InstallSnapshot => new RaftMessage.InstallSnapshot(sender, to, term, ReadSnapshot(ref reader), reader.I64()),
            StandNow => new RaftMessage.StandNow(sender, to, term),
            _ => throw new JournalFormatException($"Raft message type {type} is not known"),
        };
        reader.End();
        return message;
    }

    private static RaftMessage.Append ReadAppend(ref JournalReader reader, int sender, int to, long term)
    {
        long prevIndex = reader.I64(), prevTerm = reader.I64(), commit = reader.I64(), round = reader.I64();
        var entries = new RaftEntry[reader.Count(EntryBytesMin, int.MaxValue)];
        for (var i = 0; i < entries.Length; i++)
        {
            entries[i] = new RaftEntry(reader.I64(), reader.I64(), (RaftEntryKind)reader.U8(), reader.Bytes());
            if (entries[i].Index != prevIndex + 1 + i) throw new JournalFormatException("entries of an append are not dense");
        }
        return new RaftMessage.Append(sender, to, term, prevIndex, prevTerm, entries, commit, round);
    }

    private static RaftSnapshot ReadSnapshot(ref JournalReader reader)
    {
        long index = reader.I64(), term = reader.I64();
        var members = RaftMembers.Decode(reader.Bytes());
        if (members.Index > index) throw new JournalFormatException("a snapshot's members are newer than itself");
        return new RaftSnapshot(index, term, members, reader.Bytes());
    }

    private static byte TypeOf(RaftMessage message) => message switch
    {
        RaftMessage.PreVote => PreVote,
        RaftMessage.PreVoteReply => PreVoteReply,
        RaftMessage.Vote => Vote,
        RaftMessage.VoteReply => VoteReply,
        RaftMessage.Append => Append,
        RaftMessage.AppendReply => AppendReply,
        RaftMessage.InstallSnapshot => InstallSnapshot,
        RaftMessage.StandNow => StandNow,
        _ => throw new ArgumentException($"{message.GetType().Name} is no message of this format", nameof(message)),
    };
}
