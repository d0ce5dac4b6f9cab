using System.Collections.Immutable;
using Cluster.Messages.Model;
using Cluster.Node.Journal.Format;
using Cluster.Node.Journal.Formation;

namespace Cluster.Node.Journal.Raft;

/// <summary>
/// One server of the Raft group. Its number is never given to another, and belongs to one data directory (<see
/// cref="FormationMember.NodeId"/>): a node whose directory was lost comes back as another server. A learner gets the log and has
/// no vote.
/// </summary>
public sealed record RaftMember(int Number, bool IsVoter, FormationMember Node);

/// <summary>
/// The servers of the Raft group from the log entry at <paramref name="Index"/> on (0: as the cluster was formed), in force as soon
/// as that entry is in a server's log. Immutable. Changed by one server at a time: any two neighbours in the log have overlapping
/// majorities.
/// </summary>
public sealed record RaftMembers(long Index, int NextNumber, ImmutableArray<RaftMember> All)
{
    private const byte Version = 1;
    private const byte Voter = 1;
    private const byte Learner = 2;

    /// <summary>Number, kind, and a node with empty texts.</summary>
    private const int MemberBytesMin = 37;

    public int Voters => All.Count(m => m.IsVoter);

    public int Quorum => (Voters / 2) + 1;

    /// <summary>The first members of a cluster: all vote, numbered by their place in the list.</summary>
    public static RaftMembers Formed(IReadOnlyList<FormationMember> nodes) =>
        new(0, nodes.Count, [.. nodes.Select((node, i) => new RaftMember(i, true, node))]);

    /// <summary>The server with this number, or null.</summary>
    public RaftMember? Find(int number)
    {
        foreach (var member in All)
            if (member.Number == number) return member;
        return null;
    }

    /// <summary>The server of this data directory, or null.</summary>
    public RaftMember? Find(Guid nodeId) => All.FirstOrDefault(m => m.Node.NodeId == nodeId);

    public bool IsVoter(int number) => Find(number) is { IsVoter: true };

    /// <summary>The name of the server with this number, or null.</summary>
    public string? NameOf(int number) => Find(number)?.Node.Name;

    /// <summary>A server more, that has to catch up before it may vote.</summary>
    public RaftMembers WithLearner(FormationMember node)
    {
        Invariant.That(Find(node.NodeId) is null, "a data directory is one server of the group");
        Invariant.That(All.Length < JournalLimits.GroupMax, "the group stays within its limit");
        return this with { NextNumber = NextNumber + 1, All = All.Add(new RaftMember(NextNumber, false, node)) };
    }

    public RaftMembers WithVoter(int number) => Replace(number, m => m with { IsVoter = true });

    public RaftMembers Without(int number) => this with { All = All.RemoveAll(m => m.Number == number) };

    public RaftMembers WithAddress(int number, JournalAddress address) =>
        Replace(number, m => m with { Node = m.Node with { Address = address } });

    /// <summary>
    /// Whether this differs from <paramref name="before"/> by one server: added as a learner, made a voter, moved, or removed.
    /// </summary>
    public bool IsOneStepFrom(RaftMembers before)
    {
        var added = All.Where(m => before.Find(m.Number) is null).ToArray();
        var removed = before.All.Count(m => Find(m.Number) is null);
        var changed = All.Where(m => before.Find(m.Number) is { } old && old != m).ToArray();
        if (added.Length + removed + changed.Length != 1) return false;
        if (NextNumber != before.NextNumber + added.Length) return false;
        if (added is [var learner]) return !learner.IsVoter && learner.Number == before.NextNumber;
        return changed is not [var one] || before.Find(one.Number) is { } was
            && was.Node.NodeId == one.Node.NodeId && was.Node.Name == one.Node.Name && (one.IsVoter || !was.IsVoter);
    }

    internal byte[] Encode()
    {
        var writer = new JournalWriter();
        Write(writer);
        return writer.ToArray();
    }

    internal void Write(JournalWriter writer)
    {
        writer.U8(Version).I64(Index).I32(NextNumber).I32(All.Length);
        foreach (var member in All) member.Node.Write(writer.I32(member.Number).U8(member.IsVoter ? Voter : Learner));
    }

    internal static RaftMembers Decode(ReadOnlySpan<byte> from)
    {
        var reader = new JournalReader(from);
        var members = Read(ref reader);
        reader.End();
        return members;
    }

    internal static RaftMembers Read(ref JournalReader reader)
    {
        var version = reader.U8();
        if (version != Version) throw new JournalFormatException($"version {version} of the list of members is not known to this program");
        var (index, next) = (reader.I64(), reader.I32());
        var all = new RaftMember[reader.Count(MemberBytesMin, JournalLimits.GroupMax)];
        for (var i = 0; i < all.Length; i++)
        {
            var (number, kind) = (reader.I32(), reader.U8());
            if (kind is not (Voter or Learner)) throw new JournalFormatException($"member {number} is of the unknown kind {kind}");
            all[i] = new RaftMember(number, kind == Voter, FormationMember.Read(ref reader));
            if (number < 0 || number >= next || (i > 0 && number <= all[i - 1].Number))
                throw new JournalFormatException($"member {number} is out of place in the list of members");
        }
        if (index < 0) throw new JournalFormatException($"a list of members at index {index}");
        return new RaftMembers(index, next, [.. all]);
    }

    private RaftMembers Replace(int number, Func<RaftMember, RaftMember> change)
    {
        var member = Find(number);
        Invariant.That(member is not null, "only a server of the group is changed");
        return this with { All = All.Replace(member!, change(member!)) };
    }
}
