using System.Buffers.Binary;
using Cluster.Csi.Attach;
using Cluster.Csi.Nbd;

namespace Cluster.Csi.Fuse;

/// <summary>Where a volume has something stored, asked of its NBD server: BLOCK_STATUS with base:allocation.</summary>
internal static class AllocationQuery
{
    private const uint AskBytesMax = 1u << 31;

    /// <summary>Flag u16 | type u16 | cookie u64 | length u32, after the magic.</summary>
    private const int ChunkBytesMax = 4 + (NbdLimits.ExtentsMax * 8);

    /// <summary>Ascending ranges that may hold something else than zeroes. Throws IOException or SocketException.</summary>
    public static IEnumerable<(ulong Offset, ulong Length)> Stored(NbdAddress server, string export)
    {
        using var link = NbdLink.Connect(server, export, allocation: true);
        if (!link.HasAllocation)
        {
            yield return (0, link.SizeBytes);
            yield break;
        }
        for (ulong at = 0; at < link.SizeBytes;)
        {
            var extents = Ask(link, at, (uint)Math.Min(AskBytesMax, link.SizeBytes - at));
            foreach (var (length, flags) in extents)
            {
                var within = Math.Min(length, link.SizeBytes - at);
                if ((flags & NbdProtocol.StateZero) == 0 && within > 0) yield return (at, within);
                at += within;
            }
        }
    }

    private static List<(uint Length, uint Flags)> Ask(NbdLink link, ulong offset, uint length)
    {
        var request = new byte[NbdLink.RequestBytes];
        NbdLink.Encode(request, NbdCommandType.BlockStatus, 1, offset, length);
        link.Send(request);
        var extents = new List<(uint, uint)>();
        var header = new byte[NbdProtocol.StructuredReplyBytes];
        for (var done = false; !done;)
        {
            link.Receive(header);
            var (flags, type, size) = (BinaryPrimitives.ReadUInt16BigEndian(header.AsSpan(4)), BinaryPrimitives.ReadUInt16BigEndian(header.AsSpan(6)),
                BinaryPrimitives.ReadUInt32BigEndian(header.AsSpan(16)));
            if (BinaryPrimitives.ReadUInt32BigEndian(header) != NbdProtocol.StructuredReplyMagic || size > ChunkBytesMax) throw new IOException("the NBD server's reply is malformed");
            var data = new byte[size];
            link.Receive(data);
            done = (flags & NbdProtocol.ReplyFlagDone) != 0;
            if ((type & 0x8000) != 0) throw new IOException("the NBD server does not tell what is stored");
            if (type != NbdProtocol.ReplyBlockStatus) continue;
            for (var at = 4; at + 8 <= data.Length; at += 8)
                extents.Add((BinaryPrimitives.ReadUInt32BigEndian(data.AsSpan(at)), BinaryPrimitives.ReadUInt32BigEndian(data.AsSpan(at + 4))));
        }
        if (extents.Count == 0 || extents.Any(extent => extent.Item1 == 0)) throw new IOException("the NBD server tells of no extent");
        return extents;
    }
}
