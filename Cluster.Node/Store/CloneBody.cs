using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>Payload of the record that makes a clone: origin u64 | sequence of its snapshot u64 | the replica's first header.</summary>
public readonly ref struct CloneBody(VolumeId origin, ulong snapshot, ReadOnlySpan<byte> header)
{
    public const int FixedBytes = 16;

    public VolumeId Origin { get; } = origin;

    public ulong Snapshot { get; } = snapshot;

    public ReadOnlySpan<byte> Header { get; } = header;

    public byte[] Encode()
    {
        var bytes = new byte[FixedBytes + Header.Length];
        var writer = new BodyWriter(bytes);
        writer.U64(Origin.Value);
        writer.U64(Snapshot);
        writer.Raw(Header);
        return bytes;
    }

    public static bool TryDecode(ReadOnlySpan<byte> from, out CloneBody body)
    {
        body = default;
        if (from.Length <= FixedBytes) return false;
        var reader = new BodyReader(from);
        body = new CloneBody(new VolumeId(reader.U64()), reader.U64(), from[FixedBytes..]);
        return body.Origin.IsValid && body.Snapshot > 0;
    }
}
