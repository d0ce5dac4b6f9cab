using System.Collections.Immutable;
using System.Text;
using Cluster.Messages.Model;

namespace Cluster.Messages.Wire;

/// <summary>
/// The members named by a stamp and by a replica's header: count u16, then for each: replica | node guid | node's name (text) | identity guid | store guid |
/// open count u64 | joining u8 | open mark u64.
/// </summary>
public static class StampedMembers
{
    /// <summary>Members, and copies that are about to join.</summary>
    public const int CountMax = 64;

    private const int NameBytesMax = 4 * Limits.LabelLengthMax;
    private const int EntryBytes = 4 + 16 + 4 + 16 + 16 + 8 + 1 + 8;

    public static int Measure(ImmutableArray<StampedMember> members)
    {
        var bytes = 2;
        foreach (var member in members) bytes += EntryBytes + Encoding.UTF8.GetByteCount(member.Copy.NodeName);
        return bytes;
    }

    public static void Write(ref BodyWriter writer, ImmutableArray<StampedMember> members)
    {
        Invariant.That(members.Length <= CountMax, "a stamp names more members than its layout allows");
        writer.U16((ushort)members.Length);
        foreach (var member in members)
        {
            writer.Replica(member.Copy.Id);
            writer.Guid(member.Copy.Node.Value);
            writer.Text(member.Copy.NodeName);
            writer.Guid(member.Copy.Identity);
            writer.Guid(member.StoreId);
            writer.U64(member.StoreOpenCount);
            writer.Bool(member.IsJoining);
            writer.U64(member.StoreOpenMark);
        }
    }

    /// <summary>False for more members than there may be; a reader that ran out says so itself. Older headers name members without marks.</summary>
    public static bool TryRead(ref BodyReader reader, out ImmutableArray<StampedMember> members, bool hasMarks = true)
    {
        members = [];
        var count = reader.U16();
        if (count > CountMax) return false;
        var read = ImmutableArray.CreateBuilder<StampedMember>(count);
        for (var index = 0; index < count && reader.Ok; index++)
        {
            var copy = new ReplicaPlacement(reader.Replica(), new NodeId(reader.Guid()), reader.Text(NameBytesMax), reader.Guid());
            read.Add(new StampedMember(copy, reader.Guid(), reader.U64(), reader.Bool(), hasMarks ? reader.U64() : 0));
        }
        members = read.ToImmutable();
        return reader.Ok;
    }
}
