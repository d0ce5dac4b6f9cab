using Cluster.Node.Journal;
using Cluster.Node.Journal.Formation;
using Cluster.Node.Journal.Raft;

namespace Cluster.Tests.Unit.Journal;

/// <summary>Members for tests: server i is "node-i" with a data directory id made of i.</summary>
internal static class TestMembers
{
    public static FormationMember Node(int number) =>
        new($"node-{number}", new Guid(number + 1, 0, 0, new byte[8]), new JournalAddress("127.0.0.1", 7000 + number));

    public static RaftMembers Voters(int count) => RaftMembers.Formed([.. Enumerable.Range(0, count).Select(Node)]);
}
