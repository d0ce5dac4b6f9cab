using System.Collections.Immutable;
using Cluster.Messages.Model;

namespace Cluster.Node.Placement;

/// <summary>Which nodes may own a volume, as its journal says.</summary>
/// <param name="Replicas">Nodes that hold a copy, by name and in the order of their ids; of a clone that was never served see <see cref="BegunFrom"/>.</param>
/// <param name="InSync">Those whose copy is in the in-sync set; empty until the first epoch opened.</param>
/// <param name="Attached">The node of an exclusive attachment, or ""; also "" when the volume's label locality is off.</param>
/// <param name="Claimer">Who claimed the volume last, or "".</param>
/// <param name="Epoch">The epoch that it claimed.</param>
public sealed record VolumeWhereabouts(
    ImmutableArray<string> Replicas, ImmutableArray<string> InSync, string Attached = "", string Claimer = "", ulong Epoch = 0)
{
    public static readonly VolumeWhereabouts Unknown = new([], []);

    /// <summary>
    /// Of a clone that was never served, with where its origin is: only a copy beside an in-sync one of the origin begins as what is cloned, and the others are made of those, so that an owner on their
    /// nodes would have nothing to serve from. Where none of them is left, any node is as good as another.
    /// </summary>
    public VolumeWhereabouts BegunFrom(VolumeWhereabouts origin)
    {
        ImmutableArray<string> begun = [.. Replicas.Where(node => origin.InSync.Contains(node))];
        return begun.IsEmpty ? this : this with { Replicas = begun };
    }
}

/// <summary>The newest owner of a volume that a node has heard of.</summary>
/// <param name="Node">Its name, or "".</param>
/// <param name="Serves">It has not said that it ended, and its connection is up.</param>
public sealed record OwnerSight(string Node, ulong Epoch, bool Serves);

/// <summary>What the shard allocation strategy reads. Any thread.</summary>
public interface IVolumePlacementView
{
    /// <summary>
    /// Read through the journal; the last known when no quorum answers in time, which is safe because sharding does not fence (R18).
    /// </summary>
    Task<VolumeWhereabouts> LookAsync(VolumeId volume);

    /// <summary>
    /// How far the journal is now. What was read at one number is still so as long as the number is the same; all that is journaled raises it. Null when no quorum answers in time.
    /// </summary>
    Task<long?> NowAsync();

    /// <summary>As <see cref="LookAsync(VolumeId)"/>, unless that volume was read when the journal was at this number, as <see cref="NowAsync"/> said it is now.</summary>
    Task LookAsync(VolumeId volume, long? now);

    /// <summary>What the last look found, or <see cref="VolumeWhereabouts.Unknown"/>.</summary>
    VolumeWhereabouts Last(VolumeId volume);

    /// <summary>Moves that were asked for and not yet made: volume to node name.</summary>
    Task<ImmutableDictionary<VolumeId, string>> MovesAsync();

    /// <summary>The same, not read again if they were read when the journal was at this number, as <see cref="NowAsync"/> said it is now.</summary>
    Task<ImmutableDictionary<VolumeId, string>> MovesAsync(long? now);

    /// <summary>The move was made, or can't be: it is forgotten.</summary>
    Task ForgetMoveAsync(VolumeId volume, string node);
}
