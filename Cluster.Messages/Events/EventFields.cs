using System.Collections.Immutable;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Messages.Wire;

namespace Cluster.Messages.Events;

/// <summary>Layouts of what events have in common. A reader that fails leaves <see cref="BodyReader.Ok"/> false.</summary>
internal static class EventFields
{
    /// <summary>Copies or members in one event: those of a volume, and their replacements.</summary>
    public const int ItemsMax = 64;

    public const int ItemBytesMax = 64 + TextBytesMax;

    public const int TextBytesMax = 1024;

    /// <summary>A sentence for people; what is longer than a name may be is cut.</summary>
    private const int ReasonLengthMax = TextBytesMax / 4;

    public static void Placements(ref BodyWriter writer, ImmutableArray<ReplicaPlacement> placements)
    {
        Invariant.That(placements.Length <= ItemsMax, "an event names more copies than its layout allows");
        writer.U16((ushort)placements.Length);
        foreach (var placement in placements) Placement(ref writer, placement);
    }

    public static ImmutableArray<ReplicaPlacement> Placements(ref BodyReader reader)
    {
        var count = reader.U16();
        var items = ImmutableArray.CreateBuilder<ReplicaPlacement>(Math.Min((int)count, ItemsMax));
        for (var index = 0; index < count && reader.Ok; index++) items.Add(Placement(ref reader));
        return items.ToImmutable();
    }

    public static void Placement(ref BodyWriter writer, ReplicaPlacement placement)
    {
        writer.Replica(placement.Id);
        writer.Guid(placement.Node.Value);
        writer.Text(placement.NodeName);
        writer.Guid(placement.Identity);
    }

    public static ReplicaPlacement Placement(ref BodyReader reader) =>
        new(reader.Replica(), new NodeId(reader.Guid()), reader.Text(TextBytesMax), reader.Guid());

    public static void Replicas(ref BodyWriter writer, IReadOnlyCollection<ReplicaId> replicas)
    {
        Invariant.That(replicas.Count <= ItemsMax, "an event names more copies than its layout allows");
        writer.U16((ushort)replicas.Count);
        foreach (var replica in replicas) writer.Replica(replica);
    }

    public static ImmutableArray<ReplicaId> Replicas(ref BodyReader reader)
    {
        var count = reader.U16();
        var items = ImmutableArray.CreateBuilder<ReplicaId>(Math.Min((int)count, ItemsMax));
        for (var index = 0; index < count && reader.Ok; index++) items.Add(reader.Replica());
        return items.ToImmutable();
    }

    public static void Members(ref BodyWriter writer, ImmutableArray<InSyncMember> members)
    {
        Invariant.That(members.Length <= ItemsMax, "an event names more members than its layout allows");
        writer.U16((ushort)members.Length);
        foreach (var member in members)
        {
            writer.Replica(member.Id);
            writer.Guid(member.StoreId);
            writer.U64(member.StoreOpenCount);
            writer.U64(member.StoreOpenMark);
        }
    }

    /// <summary>Older events name members without the marks of their stores' opens.</summary>
    public static ImmutableArray<InSyncMember> Members(ref BodyReader reader, bool hasMarks = true)
    {
        var count = reader.U16();
        var items = ImmutableArray.CreateBuilder<InSyncMember>(Math.Min((int)count, ItemsMax));
        for (var index = 0; index < count && reader.Ok; index++) items.Add(new InSyncMember(reader.Replica(), reader.Guid(), reader.U64(), hasMarks ? reader.U64() : 0));
        return items.ToImmutable();
    }

    public static void Attachment(ref BodyWriter writer, Attachment attachment)
    {
        writer.U64(attachment.Generation);
        writer.U8((byte)attachment.Mode);
        writer.Guid(attachment.Node.Value);
        writer.Text(attachment.NodeName);
    }

    public static Attachment Attachment(ref BodyReader reader) =>
        new(reader.U64(), (AttachmentMode)reader.U8(), new NodeId(reader.Guid()), reader.Text(TextBytesMax));

    public static void Node(ref BodyWriter writer, NodeDescription node)
    {
        writer.Guid(node.Id.Value);
        writer.Text(node.Name);
        writer.Text(node.Zone);
        writer.Text(node.ApiAddress);
        writer.Text(node.NbdAddress);
        writer.Text(node.MeshAddress);
        writer.Text(node.AkkaAddress);
        writer.Guid(node.StoreId);
    }

    public static NodeDescription Node(ref BodyReader reader) =>
        new(new NodeId(reader.Guid()), reader.Text(TextBytesMax), reader.Text(TextBytesMax), reader.Text(TextBytesMax),
            reader.Text(TextBytesMax),
            reader.Text(TextBytesMax), reader.Text(TextBytesMax), reader.Guid());

    /// <summary>A flag, and both parts (0 without one).</summary>
    public static void Revision(ref BodyWriter writer, VolumeRevision? revision)
    {
        writer.Bool(revision is not null);
        writer.U64(revision?.Catalogue ?? 0);
        writer.U64(revision?.Generation ?? 0);
    }

    public static VolumeRevision? Revision(ref BodyReader reader)
    {
        var has = reader.Bool();
        var revision = new VolumeRevision(reader.U64(), reader.U64());
        return has ? revision : null;
    }

    public static void Spec(ref BodyWriter writer, VolumeSpec spec) => VolumeSpecCodec.Write(ref writer, spec);

    public static VolumeSpec Spec(ref BodyReader reader) => VolumeSpecCodec.TryRead(ref reader, out var spec)
        ? spec
        : throw new EventFormatException("the journal holds a volume's spec that does not read as one");

    public static void Reason(ref BodyWriter writer, string reason) =>
        writer.Text(reason.Length <= ReasonLengthMax ? reason : reason[..ReasonLengthMax]);

    public static string Reason(ref BodyReader reader) => reader.Text(TextBytesMax);
}
