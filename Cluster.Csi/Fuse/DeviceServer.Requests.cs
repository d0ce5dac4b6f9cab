using Cluster.Csi.Nbd;

namespace Cluster.Csi.Fuse;

/// <summary>Requests of the kernel, each checked before anything in it is believed.</summary>
public sealed partial class DeviceServer
{
    /// <summary>major u32 | minor u32 | read-ahead u32 | flags u32 | more.</summary>
    private const int InitBytesMin = 16;

    private void OnInit(ulong unique, ReadOnlySpan<byte> body)
    {
        if (body.Length < InitBytesMin || FuseProtocol.U32(body, 0) != FuseProtocol.Major || FuseProtocol.U32(body, 4) < FuseProtocol.MinorMin)
        {
            Answer(unique, Errno.Protocol);
            return;
        }
        Span<byte> reply = stackalloc byte[FuseProtocol.ReplyHeaderBytes + FuseProtocol.InitReplyBytes];
        FuseProtocol.InitReply(reply[FuseProtocol.ReplyHeaderBytes..], FuseProtocol.U32(body, 12));
        Answer(unique, reply);
    }

    /// <summary>Times and owners are taken and forgotten; the size is the volume's.</summary>
    private void OnSetAttributes(ulong unique, ReadOnlySpan<byte> body)
    {
        if (body.Length < 4 || (FuseProtocol.U32(body, 0) & FuseProtocol.SetsSize) != 0) Answer(unique, Errno.NotPermitted);
        else AnswerAttributes(unique);
    }

    private void OnRead(ulong unique, ReadOnlySpan<byte> body)
    {
        if (body.Length < FuseProtocol.TransferBytes)
        {
            Answer(unique, Errno.Invalid);
            return;
        }
        var (offset, length, size) = (FuseProtocol.U64(body, 8), FuseProtocol.U32(body, 16), Volatile.Read(ref _sizeBytes));
        if (length > FuseProtocol.TransferBytesMax) Answer(unique, Errno.Invalid);
        else if (offset >= size || length == 0) Answer(unique, 0);
        else Submit(new DeviceRequest(unique, NbdCommandType.Read, offset, Math.Min(length, size - offset)));
    }

    private void OnWrite(ulong unique, ReadOnlySpan<byte> body)
    {
        if (body.Length < FuseProtocol.TransferBytes)
        {
            Answer(unique, Errno.Invalid);
            return;
        }
        var (offset, length, size) = (FuseProtocol.U64(body, 8), FuseProtocol.U32(body, 16), Volatile.Read(ref _sizeBytes));
        var data = body[FuseProtocol.TransferBytes..];
        if (length == 0 || data.Length != length) Answer(unique, Errno.Invalid);
        else if (_options.ReadOnly) Answer(unique, Errno.NotPermitted);
        else if (offset > size || length > size - offset) Answer(unique, Errno.TooBig);
        else
        {
            var request = new DeviceRequest(unique, NbdCommandType.Write, offset, length);
            request.Keep(data);
            Submit(request);
        }
    }

    /// <summary>A hole and a range of zeroes are the same to a thin volume: both read as zeroes and take no space.</summary>
    private void OnAllocate(ulong unique, ReadOnlySpan<byte> body)
    {
        if (body.Length < FuseProtocol.AllocateBytes)
        {
            Answer(unique, Errno.Invalid);
            return;
        }
        var (offset, length, mode) = (FuseProtocol.U64(body, 8), FuseProtocol.U64(body, 16), FuseProtocol.U32(body, 24));
        var size = Volatile.Read(ref _sizeBytes);
        if (mode is not (FuseProtocol.PunchHole | FuseProtocol.KeepSize) and not (FuseProtocol.ZeroRange | FuseProtocol.KeepSize) and not FuseProtocol.ZeroRange)
            Answer(unique, Errno.NotSupported);
        else if (_options.ReadOnly) Answer(unique, Errno.NotPermitted);
        else if (length == 0 || offset > size || length > size - offset) Answer(unique, Errno.TooBig);
        else Submit(new DeviceRequest(unique, NbdCommandType.WriteZeroes, offset, length));
    }
}
