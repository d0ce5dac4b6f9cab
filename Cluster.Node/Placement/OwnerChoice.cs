using System.Collections.Immutable;
using System.IO.Hashing;
using System.Runtime.InteropServices;
using Cluster.Messages.Model;

namespace Cluster.Node.Placement;

/// <summary>Which node should own a volume. Pure.</summary>
public static class OwnerChoice
{
    /// <summary>
    /// The wanted node, or null when none that is alive holds a copy: first the one for which the shard was taken from its last node, then the
    /// one that has claimed the volume early, since only from there it can be moved, then the one a move asked for, then the exclusively
    /// attached one, all only with an in-sync copy; then an in-sync one; then any with a copy (its takeover waits for the others).
    /// Volumes spread evenly, because each ranks the same nodes by a hash of its own.
    /// </summary>
    /// <param name="handedTo">
    /// What <see cref="Better"/> answered when the shard was taken away. It comes before the early claim: that may be the sight of the owner that
    /// has just handed over, whose word has not arrived.
    /// </param>
    /// <param name="early">See <see cref="EarlyClaimer"/>.</param>
    public static string? Wanted(
        VolumeId volume, VolumeWhereabouts where, string? handedTo, string? early, string? move, IReadOnlyCollection<string> alive)
    {
        var inSync = where.InSync.Where(alive.Contains).ToArray();
        foreach (var node in (ReadOnlySpan<string?>)[handedTo, early, move])
        {
            if (node is not null && inSync.Contains(node, StringComparer.Ordinal)) return node;
        }
        if (inSync.Contains(where.Attached, StringComparer.Ordinal)) return where.Attached;
        if (inSync.Length > 0) return First(volume, inSync);
        var holders = where.Replicas.Where(alive.Contains).ToArray();
        return holders.Length > 0 ? First(volume, holders) : null;
    }

    /// <summary>
    /// Where a volume's shard should go instead, or null: to the node that serves the volume without having the shard (only from there can it be
    /// moved in order), to the one that a move names, or away from a node without an in-sync copy (of a volume that was never served: without
    /// a copy). Load alone never moves a volume.
    /// </summary>
    /// <param name="servedBy">The node that says that it serves the volume, or null.</param>
    public static string? Better(
        VolumeId volume, VolumeWhereabouts where, string? move, string? servedBy, string owner, IReadOnlyCollection<string> alive)
    {
        if (servedBy is not null && servedBy != owner && where.InSync.Contains(servedBy) && alive.Contains(servedBy)) return servedBy;
        if (move is not null && move != owner && where.InSync.Contains(move) && alive.Contains(move)) return move;
        // A volume that was never served is where any of its copies is.
        var homes = where.InSync.IsEmpty ? where.Replicas : where.InSync;
        if (homes.IsEmpty || homes.Contains(owner)) return null;
        return Wanted(volume, where, null, null, null, alive) is { } wanted && wanted != owner && homes.Contains(wanted) ? wanted : null;
    }

    /// <summary>
    /// The node that serves the volume, or that is taking it over, without sharding having placed it there; null when nobody does. Who claimed
    /// the newest epoch is one only if its predecessor was heard of: in a cluster that has just started anew everybody's last claim is history.
    /// </summary>
    public static string? EarlyClaimer(VolumeWhereabouts where, OwnerSight? sight)
    {
        if (sight is null) return null;
        return where.Epoch > sight.Epoch ? where.Claimer : ServedBy(where, sight);
    }

    /// <summary>The node that says that it serves the volume, unless the journal knows a newer claim; null when none does.</summary>
    public static string? ServedBy(VolumeWhereabouts where, OwnerSight? sight) =>
        sight is { Serves: true, Node.Length: > 0 } && sight.Epoch >= where.Epoch ? sight.Node : null;

    /// <summary>In which order the nodes of the in-sync set take over from an owner that is lost.</summary>
    public static IReadOnlyList<string> Order(VolumeId volume, VolumeWhereabouts where) =>
        [.. where.InSync.OrderBy(node => node == where.Attached ? 0 : 1).ThenBy(node => (Rank(volume, node), node))];

    private static string First(VolumeId volume, string[] nodes) => nodes.MinBy(node => (Rank(volume, node), node))!;

    /// <summary>Rendezvous hashing: the loss of one node moves only that node's volumes, and spreads them.</summary>
    private static ulong Rank(VolumeId volume, string node) =>
        XxHash3.HashToUInt64(MemoryMarshal.AsBytes(node.AsSpan()), (long)volume.Value);
}
