using Cluster.Node.Journal.Formation;
using Cluster.Node.Journal.Group;
using Cluster.Node.Journal.Raft;
using Cluster.Tests.Simulation.Journal;

namespace Cluster.Tests.Unit.Journal;

public sealed class GroupPolicySpecs
{
    private static readonly GroupTimes Times = new();

    [Theory(DisplayName = "A group grows to three with three nodes and to five with five, through learners, and rests at an odd number")]
    [InlineData(1, 1)]
    [InlineData(2, 1)]
    [InlineData(3, 3)]
    [InlineData(4, 3)]
    [InlineData(5, 5)]
    [InlineData(7, 5)]
    public void Growth(int nodes, int voters)
    {
        var group = new Group(TestMembers.Voters(1), nodes);
        var path = group.RunToRest();
        Assert.Equal(voters, group.Members.Voters);
        Assert.Equal(voters, group.Members.All.Length);
        for (var i = 0; i + 1 < path.Count; i++)               // an even number of voters is left in the very next step
            if (path[i].Voters % 2 == 0) Assert.Equal(1, path[i + 1].Voters % 2);
    }

    [Fact(DisplayName = "A newcomer does not vote before all that are missing have caught up")]
    public void Promotions_go_together()
    {
        var group = new Group(TestMembers.Voters(1), 3) { Slow = [2] };
        group.RunToRest();
        Assert.Equal((1, 3), (group.Members.Voters, group.Members.All.Length));
        group.Slow.Clear();
        group.RunToRest();
        Assert.Equal(3, group.Members.Voters);
    }

    [Fact(DisplayName = "A voter that is silent for too long is replaced when there is a node for it, and stays when there is none")]
    public void Silent_voter()
    {
        var group = new Group(TestMembers.Voters(3), 3);
        group.SilentMs[2] = Times.ReplaceAfterMs + 1;
        Assert.Empty(group.RunToRest());
        group.Nodes.Add(TestMembers.Node(3));
        group.SilentMs[2] = Times.ReplaceAfterMs;
        Assert.Empty(group.RunToRest());
        group.SilentMs[2] = Times.ReplaceAfterMs + 1;
        var path = group.RunToRest();
        Assert.Equal(["node-0", "node-1", "node-3"], group.Members.All.Select(m => m.Node.Name));
        Assert.Equal([3, 4, 3], path.Select(m => m.Voters));   // learner, voter, and then the lost one goes: never fewer than three
    }

    [Fact(DisplayName = "A node that came back without its directory is let in under a new number at once, and its old self goes")]
    public void Reborn_voter()
    {
        var group = new Group(TestMembers.Voters(3), 3);
        group.SilentMs[2] = Times.AliveMs + 1;
        group.Nodes[2] = SimMember.NodeOf(2, life: 1);
        group.RunToRest();
        Assert.Equal([0, 1, 3], group.Members.All.Select(m => m.Number));
        Assert.Equal(group.Nodes[2].NodeId, group.Members.All[2].Node.NodeId);
    }

    [Fact(DisplayName = "Of several lost voters one at a time is replaced, while a majority lives")]
    public void Two_of_five()
    {
        var group = new Group(TestMembers.Voters(5), 7);
        (group.SilentMs[3], group.SilentMs[4]) = (Times.ReplaceAfterMs + 1, Times.ReplaceAfterMs + 1);
        var path = group.RunToRest();
        Assert.Equal([0, 1, 2, 5, 6], group.Members.All.Select(m => m.Number));
        Assert.All(path, m => Assert.True(m.All.Count(v => v.IsVoter && v.Number is not (3 or 4)) >= m.Quorum));
    }

    [Fact(DisplayName = "A group that was left at an even number goes back to an odd one")]
    public void Even_is_left()
    {
        var group = new Group(TestMembers.Voters(4), 4);
        group.SilentMs[1] = 200;
        group.RunToRest();
        Assert.Equal([0, 2, 3], group.Members.All.Select(m => m.Number));
    }

    [Fact(DisplayName = "A learner that falls silent makes room, and one that is not needed any more leaves")]
    public void Learners_leave()
    {
        var group = new Group(TestMembers.Voters(1).WithLearner(TestMembers.Node(1)).WithLearner(TestMembers.Node(2)), 4) { Down = [1] };
        group.SilentMs[1] = Times.LearnerSilentMs + 1;
        group.RunToRest();
        Assert.Equal(["node-0", "node-2", "node-3"], group.Members.All.Select(m => m.Node.Name).Order());
        var alone = new Group(TestMembers.Voters(1).WithLearner(TestMembers.Node(1)), 2);
        alone.RunToRest();
        Assert.Equal([0], alone.Members.All.Select(m => m.Number));
    }

    [Fact(DisplayName = "Newcomers come from zones that have the fewest members, and a member that moved is written down where it is")]
    public void Zones_and_addresses()
    {
        var group = new Group(TestMembers.Voters(1), 4) { Zones = { [0] = "a", [1] = "a", [2] = "b", [3] = "c" } };
        group.RunToRest();
        Assert.Equal(["node-0", "node-2", "node-3"], group.Members.All.Select(m => m.Node.Name).Order());
        group.Nodes[2] = group.Nodes[2] with { Address = new("elsewhere", 1) };
        group.RunToRest();
        Assert.Equal("elsewhere", group.Members.All.Single(m => m.Node.Name == "node-2").Node.Address.Host);
    }

    [Theory(DisplayName = "A voter whose node was removed leaves, and is replaced only if there are nodes for it; one that is there after all stays")]
    [InlineData(5, 5, new[] { 3, 4 }, new[] { 0, 1, 2 })]
    [InlineData(5, 6, new[] { 4 }, new[] { 0, 1, 2, 3, 5 })]
    [InlineData(5, 5, new[] { 4 }, new[] { 0, 1, 2 })]
    [InlineData(3, 3, new[] { 2 }, new[] { 0, 1, 2 })]
    [InlineData(3, 4, new[] { 2 }, new[] { 0, 1, 3 })]
    public void Removed_voter(int voters, int nodes, int[] removed, int[] left)
    {
        var group = new Group(TestMembers.Voters(voters), nodes);
        group.Removed.UnionWith(removed.Select(number => group.Nodes[number].NodeId));
        Assert.Empty(group.RunToRest());
        foreach (var number in removed) group.SilentMs[number] = Times.AliveMs + 1;
        group.Gone.UnionWith(removed);
        group.RunToRest();
        Assert.Equal(left, group.Members.All.Select(m => m.Number));
    }

    private sealed class Group(RaftMembers members, int nodes)
    {
        public RaftMembers Members { get; private set; } = members;

        public List<FormationMember> Nodes { get; } = [.. Enumerable.Range(0, nodes).Select(TestMembers.Node)];

        public Dictionary<int, long> SilentMs { get; } = [];

        public HashSet<int> Slow { get; init; } = [];

        public HashSet<Guid> Removed { get; } = [];

        /// <summary>Places of nodes that are not in the directory.</summary>
        public HashSet<int> Gone { get; } = [];

        /// <summary>Places of nodes that answer nobody.</summary>
        public HashSet<int> Down { get; init; } = [];

        public Dictionary<int, string> Zones { get; init; } = [];

        /// <summary>
        /// Carries out what the policy says, with every newcomer caught up at once unless it is slow, until it says nothing.
        /// </summary>
        public List<RaftMembers> RunToRest()
        {
            var path = new List<RaftMembers>();
            while (Next() is { } step)
            {
                Assert.True(step.Wanted.IsOneStepFrom(Members) && step.Wanted.IsVoter(0), step.Why);
                path.Add(Members = step.Wanted with { Index = Members.Index + 1 });
                Assert.True(path.Count < 30, "the policy comes to no rest");
            }
            return path;
        }

        private GroupStep? Next()
        {
            var progress = Members.All.Where(m => m.Number != 0)
                .Select(m => new RaftProgress(m.Number, 1, SilentMs.GetValueOrDefault(m.Number), !Slow.Contains(m.Number)));
            var nodes = Nodes.Select((n, i) => new GroupNode(n, Zones.GetValueOrDefault(i, ""),
                !Down.Contains(i) && Members.Find(n.NodeId) is null));                          // members are not asked
            return GroupPolicy.Next(new GroupSituation(Members, 0, [.. progress], [.. nodes.Where((_, place) => !Gone.Contains(place))], Times) { Removed = Removed });
        }
    }
}
