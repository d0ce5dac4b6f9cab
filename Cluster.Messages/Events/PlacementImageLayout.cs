using System.Buffers;
using System.Collections.Immutable;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Messages.Wire;

namespace Cluster.Messages.Events;

/// <summary>What a volume takes of an image. Any thread.</summary>
public static class PlacementImageSize
{
    public static int Of(ImagedVolume volume) => PlacementImageLayout.BytesOf(volume);
}

/// <summary>Layout of a <see cref="PlacementImage"/>: docs/journal-format.md. Written part by part: no buffer is as large as all volumes could be.</summary>
internal static class PlacementImageLayout
{
    /// <summary>What a reader makes room for before it has seen the items.</summary>
    private const int ItemsAheadMax = 256;

    /// <summary>A volume has two specs and three lists of copies at most.</summary>
    private const int PartBytesMax = 3 * EventCodec.EncodedBytesMax;

    private delegate void Part(ref BodyWriter writer);

    private delegate T Reader<T>(ref BodyReader reader);

    public static byte[] Encode(PlacementImage image)
    {
        var into = new ArrayBufferWriter<byte>();
        Add(into, PartBytesMax, (ref writer) => writer.U64(image.LastVolume));
        Ranges(into, image.Tombstones);
        Add(into, PartBytesMax, (ref writer) => writer.U32((uint)image.Nodes.Length));
        foreach (var node in image.Nodes) Add(into, PartBytesMax, (ref writer) => EventFields.Node(ref writer, node.Node));
        Add(into, PartBytesMax, (ref writer) => writer.U32((uint)image.Cordoned.Length));
        foreach (var node in image.Cordoned) Add(into, PartBytesMax, (ref writer) => writer.Guid(node.Value));
        Add(into, PartBytesMax, (ref writer) => writer.U32((uint)image.ForRestart.Length));
        foreach (var node in image.ForRestart) Add(into, PartBytesMax, (ref writer) => writer.Guid(node.Value));
        Add(into, PartBytesMax, (ref writer) => writer.U32((uint)image.Volumes.Length));
        foreach (var volume in image.Volumes)
        {
            Add(into, PartBytesMax, (ref writer) => Volume(ref writer, volume));
            Ranges(into, volume.Dropped);
        }
        return into.WrittenSpan.ToArray();
    }

    public static int BytesOf(ImagedVolume volume)
    {
        var room = ArrayPool<byte>.Shared.Rent(PartBytesMax);
        try
        {
            var writer = new BodyWriter(room);
            Volume(ref writer, volume);
            return writer.Length + RangesBytes(volume.Dropped);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(room);
        }
    }

    private static int RangesBytes(ImmutableArray<IdRange> ranges) => 4 + (16 * ranges.Length);

    public static PlacementImage Read(ref BodyReader reader)
    {
        var last = reader.U64();
        return new PlacementImage(last, Items(ref reader, Range), Items(ref reader, (ref from) => new NodeRegistered(EventFields.Node(ref from))),
            Items(ref reader, (ref from) => new NodeId(from.Guid())), Items(ref reader, (ref from) => new NodeId(from.Guid())), Items(ref reader, Volume));
    }

    private static void Add(ArrayBufferWriter<byte> into, int bytesMax, Part write)
    {
        var writer = new BodyWriter(into.GetSpan(bytesMax));
        write(ref writer);
        into.Advance(writer.Length);
    }

    private static void Ranges(ArrayBufferWriter<byte> into, ImmutableArray<IdRange> ranges) => Add(into, RangesBytes(ranges), (ref writer) =>
    {
        writer.U32((uint)ranges.Length);
        foreach (var range in ranges)
        {
            writer.U64(range.First);
            writer.U64(range.Last);
        }
    });

    private static IdRange Range(ref BodyReader reader) => new(reader.U64(), reader.U64());

    private static void Volume(ref BodyWriter writer, ImagedVolume volume)
    {
        EventFields.Spec(ref writer, volume.Spec);
        EventFields.Placements(ref writer, volume.Replicas);
        writer.U8((byte)volume.Phase);
        writer.Bool(volume.SpecPending);
        writer.U64(volume.SpecRevision);
        writer.U16(volume.LastReplica);
        writer.Bool(volume.Replacement is not null);
        if (volume.Replacement is { } replacement) PlacementEventLayouts.Write(ref writer, replacement);
        writer.Bool(volume.Removal is not null);
        if (volume.Removal is { } removal) PlacementEventLayouts.Write(ref writer, removal);
        writer.Bool(volume.Shrink is not null);
        if (volume.Shrink is { } shrink) PlacementEventLayouts.Write(ref writer, shrink);
        writer.Bool(volume.Arrangement is not null);
        if (volume.Arrangement is not { } arrangement) return;
        // Its spec is the volume's.
        EventFields.Placements(ref writer, arrangement.Added);
        EventFields.Replicas(ref writer, arrangement.DropFirst);
    }

    private static ImagedVolume Volume(ref BodyReader reader)
    {
        var spec = EventFields.Spec(ref reader);
        var volume = new ImagedVolume(spec, EventFields.Placements(ref reader), (CataloguePhase)reader.U8(), reader.Bool(), reader.U64(), reader.U16(), [])
        {
            Replacement = reader.Bool() ? (ReplacementPlaced)PlacementEventLayouts.Read("replacement-placed/1", ref reader)! : null,
            Removal = reader.Bool() ? (RemovalAsked)PlacementEventLayouts.Read("removal-asked/1", ref reader)! : null,
            Shrink = reader.Bool() ? (ShrinkAsked)PlacementEventLayouts.Read("shrink-asked/1", ref reader)! : null,
            Arrangement = reader.Bool() ? new CopiesChanged(spec, EventFields.Placements(ref reader), EventFields.Replicas(ref reader)) : null,
        };
        return volume with { Dropped = Items(ref reader, Range) };
    }

    private static ImmutableArray<T> Items<T>(ref BodyReader reader, Reader<T> read)
    {
        var count = reader.U32();
        var items = ImmutableArray.CreateBuilder<T>((int)Math.Min(count, ItemsAheadMax));
        for (uint index = 0; index < count && reader.Ok; index++) items.Add(read(ref reader));
        return items.ToImmutable();
    }
}
