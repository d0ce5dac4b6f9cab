using Cluster.Node.Journal.Format;
using Cluster.Node.Journal.Raft;

namespace Cluster.Node.Journal.State;

/// <summary>How a forwarded request ended. Frozen: add, never renumber.</summary>
internal enum MetaReplyStatus : byte
{
    Unset = 0,
    Done = 1,

    /// <summary>
    /// Not here; the leader's name follows if it is known, and as the body the newest members that are known to be committed.
    /// </summary>
    NotLeader = 2,
    Busy = 3,

    /// <summary>It may have come to pass: ask again with the same id.</summary>
    Unknown = 4,

    /// <summary>The bytes are no request that this node knows.</summary>
    Invalid = 5,
}

/// <summary>The envelope of an answer: status u8 | leader's name or the reason | body.</summary>
internal sealed record MetaReply(MetaReplyStatus Status, string Text, byte[] Body)
{
    public static MetaReply Done(byte[] body) => new(MetaReplyStatus.Done, "", body);

    public static MetaReply NotLeader(string leaderName, RaftMembers members) =>
        new(MetaReplyStatus.NotLeader, leaderName, members.Encode());

    public byte[] Encode() => new JournalWriter().U8((byte)Status).Text(Text).Bytes(Body).ToArray();

    public static MetaReply Decode(ReadOnlySpan<byte> from)
    {
        var reader = new JournalReader(from);
        var reply = new MetaReply((MetaReplyStatus)reader.U8(), reader.Text(), reader.Bytes());
        reader.End();
        return reply;
    }
}
