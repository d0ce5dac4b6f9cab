using Cluster.Messages.Model;

namespace Cluster.Messages.Wire;

/// <summary>What is true of all frames of a kind.</summary>
public static class FrameKinds
{
    /// <summary>
    /// The body is one record, and the frame has the flag <see cref="FrameFlags.SelfChecked"/>; frames of other kinds
    /// have not.
    /// </summary>
    public static bool CarriesRecord(FrameKind kind) =>
        kind is FrameKind.ClientWrite or FrameKind.Presented or FrameKind.Append or FrameKind.TailRecord or FrameKind.CatchUpRecord or FrameKind.RepairRecord;

    /// <summary>What a front end's request is answered with, also by a node that does not own the volume. Invalid: with nothing.</summary>
    public static FrameKind AnswerTo(FrameKind request) => request switch
    {
        FrameKind.SessionOpen => FrameKind.SessionOpened,
        FrameKind.ClientWrite or FrameKind.ClientFlush => FrameKind.ClientAck,
        FrameKind.ClientRead => FrameKind.ClientReadReply,
        FrameKind.ClientReadCached => FrameKind.ClientReadCachedReply,
        FrameKind.ClientStatus => FrameKind.ClientStatusReply,
        _ => FrameKind.Invalid,
    };

    /// <summary>Bytes of the body at most.</summary>
    public static int BodyBytesMax(FrameKind kind) => kind switch
    {
        FrameKind.Ping or FrameKind.Pong => 0,
        FrameKind.Hello or FrameKind.Welcome => HelloBody.EncodedBytesMax,
        FrameKind.Refuse => RefuseBody.EncodedBytesMax,
        _ => CarriesRecord(kind) ? Limits.RecordBytesMax : Limits.FrameBodyBytesMax,
    };

    /// <summary>The connection's own frames; all others go to the handler.</summary>
    public static bool IsOfConnection(FrameKind kind) => kind is >= FrameKind.Hello and <= FrameKind.Pong;
}
