using Cluster.Node.Journal.Format;
using Cluster.Node.Journal.Formation;

namespace Cluster.Node.Journal.Net;

/// <summary>What a connection is for. Frozen: add, never renumber.</summary>
public enum HelloPurpose : byte
{
    Unset = 0,

    /// <summary>To ask and to form a cluster: open to nodes that have none.</summary>
    Ask = 1,

    /// <summary>Raft messages between control members of one cluster.</summary>
    Peer = 2,

    /// <summary>Proposals and reads of a node of the same cluster.</summary>
    Client = 3,
}

/// <summary>This node's Akka side, as it answers in a hello.</summary>
public sealed record AkkaSelf(string Address, long Uid, bool IsUp);

/// <summary>First frame of every connection: format version u16, then the fields. Empty ids: no cluster yet.</summary>
public sealed record Hello(HelloPurpose Purpose, FormationMember Node, Guid ClusterId, Guid Era)
{
    public const ushort FormatVersion = 1;

    internal byte[] Encode()
    {
        var writer = new JournalWriter().U16(FormatVersion).U8((byte)Purpose);
        Node.Write(writer);
        return writer.Id(ClusterId).Id(Era).ToArray();
    }

    internal static Hello Decode(ReadOnlySpan<byte> from)
    {
        var reader = new JournalReader(from);
        CheckVersion(reader.U16());
        var purpose = (HelloPurpose)reader.U8();
        if (purpose is < HelloPurpose.Ask or > HelloPurpose.Client)
            throw new JournalFormatException($"hello purpose {(byte)purpose} is not known");
        var hello = new Hello(purpose, FormationMember.Read(ref reader), reader.Id(), reader.Id());
        reader.End();
        return hello;
    }

    internal static void CheckVersion(ushort version)
    {
        if (version != FormatVersion)
            throw new JournalFormatException($"the other side speaks journal format {version}, this node {FormatVersion}");
    }
}

/// <summary>The answer to a hello. Refusal: why, or empty when the connection is welcome.</summary>
public sealed record HelloAnswer(string Refusal, FormationMember Node, FormationState State, int Expected)
{
    public string LeaderName { get; init; } = "";
    public AkkaSelf? Akka { get; init; }

    /// <summary>Nodes without a cluster that the answerer has met, so that all of them find each other from one seed.</summary>
    public IReadOnlyList<FormationMember> Known { get; init; } = [];

    internal byte[] Encode()
    {
        var writer = new JournalWriter().U16(Hello.FormatVersion).Text(Refusal);
        Node.Write(writer);
        State.Write(writer);
        writer.I32(Expected).Text(LeaderName).Flag(Akka is not null);
        if (Akka is { } akka) writer.Text(akka.Address).I64(akka.Uid).Flag(akka.IsUp);
        writer.I32(Known.Count);
        foreach (var known in Known) known.Write(writer);
        return writer.ToArray();
    }

    internal static HelloAnswer Decode(ReadOnlySpan<byte> from)
    {
        var reader = new JournalReader(from);
        Hello.CheckVersion(reader.U16());
        var refusal = reader.Text();
        var node = FormationMember.Read(ref reader);
        var state = FormationState.Read(ref reader);
        var answer = new HelloAnswer(refusal, node, state, reader.I32())
        {
            LeaderName = reader.Text(),
            Akka = reader.Flag() ? new AkkaSelf(reader.Text(), reader.I64(), reader.Flag()) : null,
            Known = FormationPromise.ReadMembers(ref reader, JournalLimits.KnownNodesMax),
        };
        reader.End();
        return answer;
    }
}
