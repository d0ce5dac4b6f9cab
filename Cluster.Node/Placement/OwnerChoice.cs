using System.Collections.Immutable;
using System.IO.Hashing;
using System.Runtime.InteropServices;
using Cluster.Messages.Model;

namespace Cluster.Node.Placement;

/// <summary>Which node should own a volume. Pure.</summary>
public static class OwnerChoice
{
    /// <summary>
    /// The wanted node, or null when none that is alive holds a copy: first the one a move asked for, then the exclusively attached one,
    /// both only with an in-sync copy; then an in-sync one; then any with a copy (its takeover waits for the others). Volumes spread
    /// evenly, because each ranks the same nodes by a hash of its own.
    /// </summary>
    public static string? Wanted(VolumeId volume, VolumeWhereabouts where, string? move, IReadOnlyCollection<string> alive)
    {
        var inSync = where.InSync.Where(alive.Contains).ToArray();
        if (move is not null && inSync.Contains(move, StringComparer.Ordinal)) return move;
        if (inSync.Contains(where.Attached, StringComparer.Ordinal)) return where.Attached;
        if (inSync.Length > 0) return First(volume, inSync);
        var holders = where.Replicas.Where(alive.Contains).ToArray();
        return holders.Length > 0 ? First(volume, holders) : null;
    }

    /// <summary>
    /// Where a running volume should go instead, or null: to the node that a move names, or away from a node without an in-sync copy (of a volume
    /// that was never served: without a copy).
    /// Load alone never moves a volume.
    /// </summary>
    public static string? Better(VolumeId volume, VolumeWhereabouts where, string? move, string owner, IReadOnlyCollection<string> alive)
    {
        if (move is not null && move != owner && where.InSync.Contains(move) && alive.Contains(move)) return move;
        // A volume that was never served is where any of its copies is.
        var homes = where.InSync.IsEmpty ? where.Replicas : where.InSync;
        if (homes.IsEmpty || homes.Contains(owner)) return null;
        return Wanted(volume, where, null, alive) is { } wanted && wanted != owner && homes.Contains(wanted) ? wanted : null;
    }

    private static string First(VolumeId volume, string[] nodes) => nodes.MinBy(node => (Rank(volume, node), node))!;

    /// <summary>Rendezvous hashing: the loss of one node moves only that node's volumes, and spreads them.</summary>
    private static ulong Rank(VolumeId volume, string node) =>
        XxHash3.HashToUInt64(MemoryMarshal.AsBytes(node.AsSpan()), (long)volume.Value);
}
