using Cluster.Node.Journal.Format;
using Cluster.Node.Journal.Group;
using Cluster.Node.Journal.Raft;

namespace Cluster.Node.Journal.State;

/// <summary>Executes requests at a control member, for this process and for those who forward. Only a leader answers Done.</summary>
internal sealed class MetaExecutor(RaftNode raft, MetaState state, MembersBook book)
{
    public bool IsLeader => raft.Status.Role == RaftRole.Leader;

    private string LeaderName =>
        raft.Status is var status ? status.Members.NameOf(status.Leader) ?? book.Newest.NameOf(status.Leader) ?? "" : "";

    /// <summary>A command is decoded before it is proposed: one that this node can't read must not get into the log.</summary>
    public async Task<MetaReply> ProposeAsync(byte[] body)
    {
        try
        {
            MetaCommandCodec.Decode(body);
        }
        catch (JournalFormatException e)
        {
            return new MetaReply(MetaReplyStatus.Invalid, e.Message, []);
        }
        var result = await raft.ProposeAsync(body).ConfigureAwait(false);
        return result.Outcome switch
        {
            ProposeOutcome.Done => MetaReply.Done(Encode(result.Answer)),
            ProposeOutcome.Busy => new MetaReply(MetaReplyStatus.Busy, "", []),
            ProposeOutcome.Unknown => new MetaReply(MetaReplyStatus.Unknown, LeaderName, []),
            _ => NotLeader(),
        };
    }

    public async Task<MetaReply> ReadAsync(byte[] body)
    {
        MetaRead read;
        try
        {
            read = MetaRead.Decode(body);
        }
        catch (JournalFormatException e)
        {
            return new MetaReply(MetaReplyStatus.Invalid, e.Message, []);
        }
        if (!await raft.BarrierAsync().ConfigureAwait(false)) return NotLeader();
        var writer = new JournalWriter();
        if (read is MetaRead.Members) await AnswerMembersAsync(writer).ConfigureAwait(false);
        else read.Answer(state, writer);
        return MetaReply.Done(writer.ToArray());
    }

    private async Task AnswerMembersAsync(JournalWriter writer)
    {
        var progress = await raft.ProgressAsync().ConfigureAwait(false);
        var status = raft.Status;
        new GroupView(status.Committed, raft.Number, status.CommitIndex, progress).Write(writer);
    }

    private MetaReply NotLeader() => MetaReply.NotLeader(LeaderName, book.Newest);

    public static MetaAnswer DecodeAnswer(ReadOnlySpan<byte> body)
    {
        var reader = new JournalReader(body);
        var answer = new MetaAnswer((MetaAnswerStatus)reader.U8(), reader.I64());
        reader.End();
        return answer;
    }

    private static byte[] Encode(MetaAnswer answer) => new JournalWriter().U8((byte)answer.Status).I64(answer.Current).ToArray();
}
