using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Node.Journal;

namespace Cluster.Node.Placement;

/// <summary>What a node has of the volumes, copies on their way among it.</summary>
/// <param name="Bytes">The sizes of their volumes.</param>
public readonly record struct NodeShare(int Copies, UInt128 Bytes)
{
    /// <summary>The most there can be instead of more.</summary>
    public ulong ProvisionedBytes => Bytes > ulong.MaxValue ? ulong.MaxValue : (ulong)Bytes;
}

// Sums over all volumes, kept with each change of one: every report of a node, every new volume and every list of nodes asks for them.
public sealed partial record PlacementState
{
    /// <summary>
    /// What volumes may take of an image of the catalogue, which must fit into one command of the journal; the rest is for nodes, tombstones and what is on its way. About 8 thousand
    /// volumes of three copies.
    /// </summary>
    public const int VolumesBytesMax = JournalLimits.CommandBytesMax - (512 << 10);

    /// <summary>What a volume may come to take of the image without anybody asking first: gaps between the numbers of its copies, its deletion, its place between tombstones.</summary>
    public const int VolumeReserveBytes = 160;

    /// <summary>Those with a copy, or one on its way.</summary>
    public ImmutableDictionary<NodeId, NodeShare> Shares { get; private init; } = ImmutableDictionary<NodeId, NodeShare>.Empty;

    /// <summary>What all volumes take of an image, their reserves among it.</summary>
    public long VolumesBytes { get; private init; }

    /// <summary>What the volume would take.</summary>
    public static long BytesOf(PlacedVolume volume) => PlacementImageSize.Of(ImageOf(volume)) + VolumeReserveBytes;

    private PlacementState Put(PlacedVolume volume)
    {
        var id = volume.Spec.Id;
        var (shares, bytes) = (Shares.ToBuilder(), VolumesBytes + BytesOf(volume));
        if (Volumes.TryGetValue(id, out var before))
        {
            Count(shares, before, -1);
            bytes -= BytesOf(before);
        }
        Count(shares, volume, 1);
        return this with { Volumes = Volumes.SetItem(id, volume), Shares = shares.ToImmutable(), VolumesBytes = bytes };
    }

    private PlacementState Drop(VolumeId id)
    {
        if (!Volumes.TryGetValue(id, out var volume)) return this;
        var shares = Shares.ToBuilder();
        Count(shares, volume, -1);
        return this with { Volumes = Volumes.Remove(id), Shares = shares.ToImmutable(), VolumesBytes = VolumesBytes - BytesOf(volume) };
    }

    private static PlacementState WithAll(IEnumerable<PlacedVolume> all)
    {
        var volumes = all.ToImmutableSortedDictionary(volume => volume.Spec.Id, volume => volume);
        var shares = ImmutableDictionary.CreateBuilder<NodeId, NodeShare>();
        foreach (var volume in volumes.Values) Count(shares, volume, 1);
        return new PlacementState { Volumes = volumes, Shares = shares.ToImmutable(), VolumesBytes = volumes.Values.Sum(BytesOf) };
    }

    private static void Count(ImmutableDictionary<NodeId, NodeShare>.Builder shares, PlacedVolume volume, int by)
    {
        UInt128 bytes = volume.Spec.SizeBytes;
        foreach (var copy in volume.AllCopies())
        {
            var had = shares.GetValueOrDefault(copy.Node);
            var has = new NodeShare(had.Copies + by, by > 0 ? had.Bytes + bytes : had.Bytes - bytes);
            if (has.Copies == 0) shares.Remove(copy.Node);
            else shares[copy.Node] = has;
        }
    }
}
