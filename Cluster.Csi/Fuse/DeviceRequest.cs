using System.Buffers;
using Cluster.Csi.Nbd;

namespace Cluster.Csi.Fuse;

/// <summary>
/// A request of the kernel that waits for the volume. It holds what is needed to send it again after the connection was lost; the kernel's
/// own bound on requests at us bounds these.
/// </summary>
internal sealed class DeviceRequest(ulong unique, NbdCommandType command, ulong offsetBytes, ulong lengthBytes)
{
    /// <summary>NBD lengths are 32 bits; a range to be zeroed may be longer and is sent piece by piece.</summary>
    private const uint PieceBytesMax = 1u << 30;

    private byte[]? _frame;

    public ulong Unique => unique;

    public NbdCommandType Command => command;

    public ulong OffsetBytes => offsetBytes;

    /// <summary>Of a range to be zeroed: what is done with it.</summary>
    public ulong DoneBytes { get; private set; }

    public ulong PieceOffset => offsetBytes + DoneBytes;

    public uint PieceLength => (uint)Math.Min(lengthBytes - DoneBytes, PieceBytesMax);

    public uint LengthBytes => (uint)lengthBytes;

    /// <summary>Keeps a copy, with room for the header before it: both go in one send.</summary>
    public void Keep(ReadOnlySpan<byte> data)
    {
        _frame = ArrayPool<byte>.Shared.Rent(NbdLink.RequestBytes + data.Length);
        data.CopyTo(_frame.AsSpan(NbdLink.RequestBytes));
    }

    /// <summary>What is sent for the piece that is next. <paramref name="header"/> is used by a request without data.</summary>
    public ReadOnlySpan<byte> Encode(ulong cookie, Span<byte> header)
    {
        var frame = _frame is null ? header : _frame.AsSpan(0, NbdLink.RequestBytes + (int)lengthBytes);
        NbdLink.Encode(frame, command, cookie, PieceOffset, PieceLength);
        return frame;
    }

    /// <summary>One piece more is done. Whether that was the last.</summary>
    public bool Advance()
    {
        DoneBytes += PieceLength;
        return DoneBytes >= lengthBytes;
    }

    public void Free()
    {
        if (_frame is not null) ArrayPool<byte>.Shared.Return(_frame);
        _frame = null;
    }
}
