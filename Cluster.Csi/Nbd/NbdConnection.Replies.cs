using System.Buffers.Binary;
using System.Text;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Csi.Nbd;

/// <summary>
/// Replies out (proto.md, "Simple reply message", "Structured reply chunk message"), in the order in which commands are done. Success
/// without data is
/// always a simple reply; errors are structured where that was negotiated, with a sentence for the user.
/// </summary>
internal sealed partial class NbdConnection
{
    /// <summary>
    /// Whether the reply goes out only when all of its data is there: a simple reply can't take its success back, DF wants one piece.
    /// </summary>
    private bool IsGathered(NbdCommand command) => !_structured || (command.Flags & NbdCommandFlags.DontFragment) != 0;

    private void OnChunkAnswered(NbdChunk chunk, IoStatus status)
    {
        var command = chunk.Command;
        if (status != IoStatus.Ok || IsGathered(command)) return;
        if (command.Type == NbdCommandType.Read)
        {
            var isLast = command.ChunksOpen == 0 && command.AllSubmitted && command.Status == IoStatus.Ok;
            command.DoneSent |= isLast;
            SendData(command, chunk.OffsetBytes, (uint)chunk.LengthBytes, isLast);
            _socket.Send(chunk.Buffer!, 0, (int)chunk.LengthBytes);
        }
        else if (command.Type == NbdCommandType.BlockStatus) SendExtents(command, chunk.Extents!);
    }

    private void EndCommand(NbdCommand command, NbdError error, string reason)
    {
        if (error != NbdError.None) SendError(command, error, reason);
        else if (command.Type == NbdCommandType.Read && IsGathered(command)) SendGathered(command);
        else if (command.Type == NbdCommandType.Read) SendDone(command);
        else if (command.Type != NbdCommandType.BlockStatus) SendSimple(command.Cookie, NbdError.None);
        CountEnded(command, error);
        Recycle(command);
        CloseIfDrained();
        Resume();
    }

    private void CountEnded(NbdCommand command, NbdError error)
    {
        _server.Statistics.Ended(command.Type, command.LengthBytes, error != NbdError.None);
        var ticks = command.SampledAt == 0 ? 0 : Math.Max(0, _loop.Stages.Now() - command.SampledAt);
        _ofVolume!.Ended(command.Type, command.LengthBytes, error != NbdError.None, ticks);
        if (ticks == 0) return;
        var wait = command.Type switch
        {
            NbdCommandType.Read => LoopWait.Read,
            NbdCommandType.Flush => LoopWait.Flush,
            _ => LoopWait.Write,
        };
        _loop.Stages.Add(wait, ticks);
    }

    private void SendGathered(NbdCommand command)
    {
        if (_structured) SendData(command, command.OffsetBytes, command.LengthBytes, true);
        else SendSimple(command.Cookie, NbdError.None);
        foreach (var chunk in command.Gathered) _socket.Send(chunk.Buffer!, 0, (int)chunk.LengthBytes);
    }

    /// <summary>Ends a reply whose last piece of data could not know that it was the last.</summary>
    private void SendDone(NbdCommand command)
    {
        if (command.DoneSent) return;
        Span<byte> chunk = stackalloc byte[NbdProtocol.StructuredReplyBytes];
        WriteChunk(chunk, command.Cookie, NbdProtocol.ReplyNone, NbdProtocol.ReplyFlagDone, 0);
        _socket.Send(chunk);
    }

    private void SendSimple(ulong cookie, NbdError error)
    {
        Span<byte> reply = stackalloc byte[NbdProtocol.SimpleReplyBytes];
        BinaryPrimitives.WriteUInt32BigEndian(reply, NbdProtocol.SimpleReplyMagic);
        BinaryPrimitives.WriteUInt32BigEndian(reply[4..], (uint)error);
        BinaryPrimitives.WriteUInt64BigEndian(reply[8..], cookie);
        _socket.Send(reply);
    }

    private void SendError(NbdCommand command, NbdError error, string reason)
    {
        if (!_structured)
        {
            SendSimple(command.Cookie, error);
            return;
        }
        if (reason.Length == 0) reason = $"{command.Type} of {command.LengthBytes} B at {command.OffsetBytes}: {command.Status}";
        var message = Encoding.UTF8.GetBytes(reason);
        Span<byte> chunk = stackalloc byte[NbdProtocol.StructuredReplyBytes + 6];
        WriteChunk(chunk, command.Cookie, NbdProtocol.ReplyError, NbdProtocol.ReplyFlagDone, (uint)(6 + message.Length));
        BinaryPrimitives.WriteUInt32BigEndian(chunk[20..], (uint)error);
        BinaryPrimitives.WriteUInt16BigEndian(chunk[24..], (ushort)message.Length);
        _socket.Send(chunk);
        _socket.Send(message);
    }

    private void SendData(NbdCommand command, ulong offsetBytes, uint lengthBytes, bool isLast)
    {
        Span<byte> chunk = stackalloc byte[NbdProtocol.StructuredReplyBytes + 8];
        WriteChunk(chunk, command.Cookie, NbdProtocol.ReplyOffsetData, isLast ? NbdProtocol.ReplyFlagDone : (ushort)0, 8 + lengthBytes);
        BinaryPrimitives.WriteUInt64BigEndian(chunk[20..], offsetBytes);
        _socket.Send(chunk);
    }

    /// <summary>Neighbours of the same kind become one descriptor.</summary>
    private void SendExtents(NbdCommand command, List<AllocationExtent> extents)
    {
        Invariant.That(extents.Count > 0, "an answer about allocation describes nothing");
        Span<byte> reply = stackalloc byte[NbdProtocol.StructuredReplyBytes + 4 + (NbdLimits.ExtentsMax * 8)];
        var at = NbdProtocol.StructuredReplyBytes;
        BinaryPrimitives.WriteUInt32BigEndian(reply[at..], NbdProtocol.BaseAllocationId);
        at += 4;
        for (var index = 0; index < extents.Count; at += 8)
        {
            var allocated = extents[index].Allocated;
            ulong length = 0;
            for (; index < extents.Count && extents[index].Allocated == allocated; index++) length += extents[index].LengthBytes;
            BinaryPrimitives.WriteUInt32BigEndian(reply[at..], (uint)length);
            BinaryPrimitives.WriteUInt32BigEndian(reply[(at + 4)..], allocated ? 0 : NbdProtocol.StateHole | NbdProtocol.StateZero);
        }
        var lengthBytes = (uint)(at - NbdProtocol.StructuredReplyBytes);
        WriteChunk(reply, command.Cookie, NbdProtocol.ReplyBlockStatus, NbdProtocol.ReplyFlagDone, lengthBytes);
        _socket.Send(reply[..at]);
    }

    private static void WriteChunk(Span<byte> to, ulong cookie, ushort type, ushort flags, uint lengthBytes)
    {
        BinaryPrimitives.WriteUInt32BigEndian(to, NbdProtocol.StructuredReplyMagic);
        BinaryPrimitives.WriteUInt16BigEndian(to[4..], flags);
        BinaryPrimitives.WriteUInt16BigEndian(to[6..], type);
        BinaryPrimitives.WriteUInt64BigEndian(to[8..], cookie);
        BinaryPrimitives.WriteUInt32BigEndian(to[16..], lengthBytes);
    }

    private static NbdError ErrorOf(NbdCommand command) => command.Status switch
    {
        IoStatus.Ok => NbdError.None,
        IoStatus.OutOfRange => command.Type is NbdCommandType.Write or NbdCommandType.WriteZeroes ? NbdError.NoSpace : NbdError.Invalid,
        IoStatus.NoSpace => NbdError.NoSpace,
        IoStatus.ReadOnly => NbdError.NotPermitted,
        IoStatus.Unaligned => NbdError.Invalid,
        IoStatus.Unsupported => NbdError.NotSupported,
        _ => NbdError.InputOutput,
    };
}
