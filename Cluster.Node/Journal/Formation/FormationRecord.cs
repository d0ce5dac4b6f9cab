using Cluster.Node.Journal.Format;

namespace Cluster.Node.Journal.Formation;

/// <summary>A node as a formation knows it. The id is of its data directory: the same name with another id is another node.</summary>
public sealed record FormationMember(string Name, Guid NodeId, JournalAddress Address)
{
    internal void Write(JournalWriter writer) => writer.Text(Name).Id(NodeId).Text(Address.Host).I32(Address.Port);

    internal static FormationMember Read(ref JournalReader reader) =>
        new(reader.Text(), reader.Id(), new JournalAddress(reader.Text(), reader.I32()));
}

/// <summary>
/// A cluster as it was formed: its random ids and its first control members, by name. Written once, never changed; who they are now
/// is told by <see cref="Raft.RaftMembers"/>.
/// </summary>
public sealed record FormationRecord(Guid ClusterId, Guid Era, IReadOnlyList<FormationMember> Members)
{
    internal void Write(JournalWriter writer)
    {
        writer.Id(ClusterId).Id(Era).I32(Members.Count);
        foreach (var member in Members) member.Write(writer);
    }

    internal static FormationRecord Read(ref JournalReader reader)
    {
        Guid clusterId = reader.Id(), era = reader.Id();
        var members = FormationPromise.ReadMembers(ref reader, JournalLimits.MembersMax);
        return new FormationRecord(clusterId, era, members);
    }
}

/// <summary>
/// What a node promised: to take part in forming this cluster and no other, until the coordinator gave it up. The cluster's id
/// names the
/// formation.
/// </summary>
public sealed record FormationPromise(FormationMember Coordinator, IReadOnlyList<FormationMember> Participants, FormationRecord Record)
{
    public Guid FormationId => Record.ClusterId;

    internal void Write(JournalWriter writer)
    {
        Coordinator.Write(writer);
        writer.I32(Participants.Count);
        foreach (var participant in Participants) participant.Write(writer);
        Record.Write(writer);
    }

    internal static FormationPromise Read(ref JournalReader reader)
    {
        var coordinator = FormationMember.Read(ref reader);
        var participants = ReadMembers(ref reader, JournalLimits.KnownNodesMax);
        return new FormationPromise(coordinator, participants, FormationRecord.Read(ref reader));
    }

    internal static FormationMember[] ReadMembers(ref JournalReader reader, int max)
    {
        var members = new FormationMember[reader.Count(28, max)];
        for (var i = 0; i < members.Length; i++) members[i] = FormationMember.Read(ref reader);
        return members;
    }
}

/// <summary>
/// What a node keeps of its formation: nothing, a promise, or the cluster it belongs to. Always durable before it is told.
/// </summary>
public sealed record FormationState(FormationPromise? Promise, FormationRecord? Record)
{
    public static readonly FormationState None = new(null, null);

    internal void Write(JournalWriter writer)
    {
        writer.Flag(Promise is not null);
        Promise?.Write(writer);
        writer.Flag(Record is not null);
        Record?.Write(writer);
    }

    internal static FormationState Read(ref JournalReader reader)
    {
        var promise = reader.Flag() ? FormationPromise.Read(ref reader) : null;
        return new FormationState(promise, reader.Flag() ? FormationRecord.Read(ref reader) : null);
    }
}
