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

    private byte[]? _data;

    public ulong Unique => unique;

    public NbdCommandType Command => command;

    public ulong OffsetBytes => offsetBytes;

    /// <summary>Of a range to be zeroed: what is done with it.</summary>
    public ulong DoneBytes { get; private set; }

    public ulong PieceOffset => offsetBytes + DoneBytes;

    public uint PieceLength => (uint)Math.Min(lengthBytes - DoneBytes, PieceBytesMax);

    public uint LengthBytes => (uint)lengthBytes;

    public ReadOnlySpan<byte> Data => _data is null ? default : _data.AsSpan(0, (int)lengthBytes);

    /// <summary>Keeps a copy.</summary>
    public void Keep(ReadOnlySpan<byte> data)
    {
        _data = ArrayPool<byte>.Shared.Rent(data.Length);
        data.CopyTo(_data);
    }

    /// <summary>One piece more is done. Whether that was the last.</summary>
    public bool Advance()
    {
        DoneBytes += PieceLength;
        return DoneBytes >= lengthBytes;
    }

    public void Free()
    {
        if (_data is not null) ArrayPool<byte>.Shared.Return(_data);
        _data = null;
    }
}
