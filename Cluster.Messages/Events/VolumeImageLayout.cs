using System.Collections.Immutable;
using System.Text;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Messages.Events;

/// <summary>Layout of a <see cref="VolumeImage"/>, without its volume's id: the record's fields in their order, lists with their length as u32.</summary>
internal static class VolumeImageLayout
{
    /// <summary>What a reader makes room for before it has seen the items.</summary>
    private const int ItemsAheadMax = 256;

    /// <summary>Bytes of this one at most, its spec and what has a bound of its own aside.</summary>
    public static int BytesMax(VolumeImage image) => (3 * EventFields.ItemsMax * EventFields.ItemBytesMax) + (16 * image.History.Length) + (8 * image.RecoveredAndDeleted.Length)
        + image.Snapshots.Sum(snapshot => 20 + Encoding.UTF8.GetByteCount(snapshot.Name)) + image.Clones.Sum(clone => 20 + Encoding.UTF8.GetByteCount(clone.Name));

    public static void Write(ref BodyWriter writer, VolumeImage image)
    {
        writer.Bool(image.Spec is not null);
        if (image.Spec is { } spec) EventFields.Spec(ref writer, spec);
        EventFields.Placements(ref writer, image.Replicas);
        writer.U64(image.SpecRevision);
        writer.U16(image.LastReplica);
        writer.U32((uint)image.CopiesInForce);
        writer.U64(image.Epoch.Value);
        writer.Text(image.EpochNodeName);
        writer.U64(image.Opened.Value);
        writer.U64(image.Version);
        EventFields.Members(ref writer, image.InSync);
        EventFields.Members(ref writer, image.EverInSync);
        writer.U32((uint)image.History.Length);
        foreach (var opened in image.History)
        {
            writer.U64(opened.Epoch);
            writer.U64(opened.StartSequence);
        }
        writer.Bool(image.HistoryCut);
        writer.U64(image.ForgottenAfter);
        writer.U64(image.ForgottenBefore);
        EventFields.Attachment(ref writer, image.Attachment);
        WriteSnapshots(ref writer, image);
        writer.Bool(image.Deleted);
        if (image.RestoringTo != 0) writer.U64(image.RestoringTo);
    }

    /// <summary>As far as every image goes.</summary>
    public static VolumeImage Read(VolumeId volume, ref BodyReader reader)
    {
        var spec = reader.Bool() ? EventFields.Spec(ref reader) : null;
        return new VolumeImage(volume, spec, EventFields.Placements(ref reader), reader.U64(), reader.U16(), (int)reader.U32(), new Epoch(reader.U64()),
            reader.Text(EventFields.TextBytesMax), new Epoch(reader.U64()), reader.U64(), EventFields.Members(ref reader), EventFields.Members(ref reader),
            Items(ref reader, (ref from) => new OpenedEpoch(from.U64(), from.U64())), reader.Bool(), reader.U64(), reader.U64(), EventFields.Attachment(ref reader),
            Items(ref reader, (ref from) => new VolumeSnapshot(from.U64(), from.Text(EventFields.TextBytesMax), from.U64())),
            Items(ref reader, (ref from) => new StartedClone(from.U64(), from.Text(EventFields.TextBytesMax), from.U64())), reader.U64(),
            Items(ref reader, (ref from) => from.U64()), reader.Bool());
    }

    private delegate T Reader<T>(ref BodyReader reader);

    private static void WriteSnapshots(ref BodyWriter writer, VolumeImage image)
    {
        writer.U32((uint)image.Snapshots.Length);
        foreach (var snapshot in image.Snapshots)
        {
            writer.U64(snapshot.Sequence);
            writer.Text(snapshot.Name);
            writer.U64(snapshot.UnixMs);
        }
        writer.U32((uint)image.Clones.Length);
        foreach (var clone in image.Clones)
        {
            writer.U64(clone.Sequence);
            writer.Text(clone.Name);
            writer.U64(clone.UnixMs);
        }
        writer.U64(image.RecoveredUpTo);
        writer.U32((uint)image.RecoveredAndDeleted.Length);
        foreach (var sequence in image.RecoveredAndDeleted) writer.U64(sequence);
    }

    private static ImmutableArray<T> Items<T>(ref BodyReader reader, Reader<T> read)
    {
        var count = reader.U32();
        var items = ImmutableArray.CreateBuilder<T>((int)Math.Min(count, ItemsAheadMax));
        for (uint index = 0; index < count && reader.Ok; index++) items.Add(read(ref reader));
        return items.ToImmutable();
    }
}
