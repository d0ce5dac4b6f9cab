using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>Single blocks, read in place.</summary>
public sealed partial class BlockStore
{
    internal IoStatus ReadBlock(VolumeId writtenAs, in MapEntry entry, ulong block, Span<byte> to)
    {
        if (entry.LengthBytes == 0) return IoStatus.Ok;
        if (entry.IsLost) return IoStatus.BadChecksum;
        if (!Segments[entry.Segment].File.ReadExactly(entry.OffsetBytes, to).IsOk) return IoStatus.DeviceError;
        return entry.Descriptor.Matches(writtenAs, 0, block, to) ? IoStatus.Ok : IoStatus.BadChecksum;
    }

    internal string Explain(in MapEntry entry, IoStatus status) => entry.IsLost
        ? $"lies in a segment that was used anew, written as {entry.Sequence}"
        : $"{(status == IoStatus.BadChecksum ? "does not match its checksum" : $"can't be read ({status})")}: {entry.LengthBytes} B at {entry.OffsetBytes} of "
        + $"{Segments[entry.Segment].Name}, written as {entry.Sequence}";
}
