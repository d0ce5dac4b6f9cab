using Cluster.Node.Journal.Raft;
using Cluster.Tests.Simulation.Journal;

namespace Cluster.Tests.Unit.Journal;

public sealed class RaftMembershipSpecs
{
    [Fact(DisplayName = "A newcomer learns without a vote, catches up, then votes and counts")]
    public void Learner_then_voter()
    {
        var group = new MachineGroup(4, TestMembers.Voters(3));
        Assert.True(group.Elect(0, 1, 2));
        group.Propose(0);
        group.Among(0, 1, 2, 3);
        Assert.Equal(MembersChange.Appended, group.Change(0, m => m.WithLearner(TestMembers.Node(3))));
        group.Advance(0, 200);
        Assert.Equal(group[0].LastIndex, group[3].LastIndex);
        Assert.True(group[0].Progress().Single(p => p.Number == 3).CaughtUp);
        group.Advance(3, 100_000);
        Assert.Equal(RaftRole.Follower, group[3].Role);        // a learner never stands

        group.Among(0, 3);                                     // the voters 1 and 2 hear nothing
        var index = group.Propose(0);
        Assert.Equal(index, group[3].LastIndex);
        Assert.True(group[0].CommitIndex < index);             // a learner's copy is no part of a majority

        group.Among(0, 1, 2, 3);
        group.Advance(0, 200);
        Assert.Equal(MembersChange.Appended, group.Change(0, m => m.WithVoter(3)));
        group.Among(0, 2, 3);
        index = group.Propose(0);
        Assert.Equal(index, group[0].CommitIndex);             // three of four
        group.Among(0, 3);
        Assert.True(group.Propose(0) > group[0].CommitIndex);  // two of four
    }

    [Fact(DisplayName = "Members change by one server at a time, by the leader, not over a change under way, and never without the leader")]
    public void One_at_a_time()
    {
        var group = new MachineGroup(5, TestMembers.Voters(3));
        Assert.True(group.Elect(0, 1, 2));
        Assert.Equal(MembersChange.NotLeader, group.Change(1, m => m.WithLearner(TestMembers.Node(3))));
        Assert.Equal(MembersChange.NotOneStep, group.Change(0, m => m.Without(1).Without(2)));
        Assert.Equal(MembersChange.NotOneStep, group.Change(0, m => m.Without(1).WithLearner(TestMembers.Node(3))));
        Assert.Equal(MembersChange.NotOneStep, group.Change(0, m => m.WithLearner(TestMembers.Node(3)).WithVoter(3)));
        Assert.Equal(MembersChange.NotOneStep, group.Change(0, m => m.Without(0)));
        Assert.Equal(MembersChange.NotOneStep, group.Change(0, m => m));
        var stale = group[0].Members;
        group.Reaches = (_, _) => false;
        Assert.Equal(MembersChange.Appended, group.Change(0, m => m.WithLearner(TestMembers.Node(3))));
        Assert.Equal(MembersChange.NotNow, group.Change(0, m => m.WithLearner(TestMembers.Node(4))));
        group.Among(0, 1, 2, 3);
        group.Advance(0, 200);
        Assert.Equal(MembersChange.NotNow, group[0].ProposeMembers(stale, stale.WithLearner(TestMembers.Node(4))));
        Assert.Equal(MembersChange.Appended, group.Change(0, m => m.WithLearner(TestMembers.Node(4))));
        Assert.Equal([0, 1, 2, 3, 4], group[0].Members.All.Select(m => m.Number));
    }

    /// <summary>
    /// The hole in the first description of single-server changes: two leaders, each with a change that the other does not know,
    /// and majorities that share nobody. Closed by: no change before an entry of the own term is committed.
    /// </summary>
    [Theory(DisplayName = "A change waits for the first commit of the leader's term; without that rule a committed change is lost")]
    [InlineData(false)]
    [InlineData(true)]
    public void Change_waits_for_own_term(bool withoutTheRule)
    {
        var formed = TestMembers.Voters(4).WithLearner(TestMembers.Node(4));
        var group = new MachineGroup(5, formed, (settings, durable) => withoutTheRule
            ? new RaftMutants.ChangesBeforeOwnCommit(settings, durable, 1, 0)
            : new RaftMachine(settings, durable, 1, 0));
        Assert.True(group.Elect(0, 1, 2, 3));
        group.Among(0, 4);
        Assert.Equal(MembersChange.Appended, group.Change(0, m => m.WithVoter(4)));           // in the logs of 0 and 4 only

        group.Reaches = (_, _) => false;
        for (var i = 1; i < 4; i++) group.Advance(i, 2_000);
        group.Reaches = (from, to) => from != 0 && to != 0 && (from != 1 || group[1].Role != RaftRole.Leader);
        group.Advance(1, 2_000);                               // 1 is elected, and cut off before its first entry gets out
        Assert.Equal((RaftRole.Leader, 2), (group[1].Role, group[1].LastIndex));
        var change = group.Change(1, m => m.Without(0));

        if (withoutTheRule)
        {
            Assert.Equal(MembersChange.Appended, change);
            group.Among(1, 2);
            group.Advance(1, 200);
            Assert.Equal(3, group[1].CommitIndex);             // by 1 and 2, two of the three that are left
            Assert.True(group.Elect(0, 3, 4));                 // by 0, 3 and 4, three of the five that 0 believes in
            Assert.True(group[0].Term > group[1].Term && group[0].LastIndex < 4 && group[0].Members.IsVoter(0), "nothing was lost");
            return;
        }
        Assert.Equal(MembersChange.TermNotCommitted, change);
        group.Among(1, 2, 3);
        group.Advance(1, 200);
        Assert.Equal(MembersChange.Appended, group.Change(1, m => m.Without(0)));
        Assert.Equal(3, group[1].CommitIndex);
        Assert.False(group.Elect(0, 3, 4));                    // whoever has the first entry of 1's term votes for no log without it
    }

    [Fact(DisplayName = "A change that is cut off with its leader is undone where it was in force")]
    public void Truncated_change_is_undone()
    {
        var group = new MachineGroup(4, TestMembers.Voters(3));
        Assert.True(group.Elect(0, 1, 2));
        group.Reaches = (_, _) => false;
        Assert.Equal(MembersChange.Appended, group.Change(0, m => m.WithLearner(TestMembers.Node(3))));
        Assert.Equal((4, 3), (group[0].Members.All.Length, group[0].CommittedMembers.All.Length));
        Assert.True(group.Elect(1, 2));
        group.Among(0, 1, 2);
        group.Advance(1, 200);
        Assert.Equal((3, 1), (group[0].Members.All.Length, group[0].Leader));
    }

    [Fact(DisplayName = "Members come through a compaction and with a snapshot to one that starts from nothing")]
    public void Members_come_with_a_snapshot()
    {
        var group = new MachineGroup(4, TestMembers.Voters(3));
        Assert.True(group.Elect(0, 1, 2));
        group.Change(0, m => m.WithLearner(TestMembers.Node(3)));
        var leader = group[0];
        leader.Compact(new RaftSnapshot(leader.CommitIndex, leader.Term, leader.CommittedMembers, [7]));
        group.Among(0, 1, 2, 3);
        group.Advance(0, 200);
        Assert.Equal(leader.Members.Index, group[3].Members.Index);
        Assert.Equal((leader.SnapshotIndex, leader.LastIndex), (group[3].SnapshotIndex, group[3].LastIndex));
    }

    [Fact(DisplayName = "One that was taken out and does not know it disturbs nobody: no vote, no new term, the leader leads on")]
    public void Removed_member_does_not_disturb()
    {
        var group = new MachineGroup(4, TestMembers.Voters(4));
        Assert.True(group.Elect(0, 1, 2, 3));
        group.Change(0, m => m.Without(3));
        var term = group[0].Term;
        Assert.True(group[3].Members.IsVoter(3));              // it was not told: its log ends before that
        for (var i = 0; i < 20; i++)
        {
            group.Advance(3, 2_000);
            group.Advance(0, 200);
        }
        Assert.Equal((RaftRole.Leader, term), (group[0].Role, group[0].Term));
        Assert.Equal((RaftRole.PreCandidate, -1), (group[3].Role, group[3].Leader));
        Assert.All(Enumerable.Range(0, 3), i => Assert.Equal(term, group[i].Term));
    }

    [Fact(DisplayName = "A leader that hands over takes no proposals, waits until its successor has everything, and is followed at once")]
    public void Hand_over()
    {
        var group = new MachineGroup(4, TestMembers.Voters(3).WithLearner(TestMembers.Node(3)));
        Assert.True(group.Elect(0, 1, 2));
        group.Among(0, 1);
        group.Propose(0);
        group.Reaches = (_, _) => false;
        Assert.True(group.Propose(0) > 0);                     // 1 lacks it
        Assert.True(group[0].HandOver());
        group.Settle();
        Assert.Equal(-1, group.Propose(0));
        Assert.Equal(MembersChange.NotLeader, group.Change(0, m => m.Without(3)));
        Assert.Equal(RaftRole.Leader, group[0].Role);
        group.Among(0, 1, 2);
        group.Advance(0, 200);                                 // a heartbeat finds out what is missing
        Assert.Equal((RaftRole.Leader, RaftRole.Follower), (group[1].Role, group[0].Role));
        Assert.Equal(1, group[0].Leader);
        Assert.Equal(group[0].LastIndex, group[1].LastIndex);
    }

    [Fact(DisplayName = "A hand-over costs one term and no election time-out: nobody's clock moves until the successor leads and has committed in its term")]
    public void Hand_over_waits_for_no_clock()
    {
        var group = new MachineGroup(3, TestMembers.Voters(3));
        Assert.True(group.Elect(0, 1, 2));
        group.Propose(0);
        group.Settle();
        var term = group[0].Term;
        Assert.True(group[0].HandOver());
        group.Settle();
        var next = Assert.Single(Enumerable.Range(0, 3), index => group[index].Role == RaftRole.Leader);
        Assert.NotEqual(0, next);
        Assert.All(Enumerable.Range(0, 3), index => Assert.Equal((term + 1, next), (group[index].Term, group[index].Leader)));
        Assert.Equal(group[next].LastIndex, group[next].CommitIndex);
    }

    [Fact(DisplayName = "A hand-over that fails ends by itself, and a learner is never chosen for one")]
    public void Hand_over_that_fails()
    {
        var group = new MachineGroup(3, TestMembers.Voters(2).WithLearner(TestMembers.Node(2)));
        Assert.True(group.Elect(0, 1, 2));
        group.Reaches = (_, _) => false;
        group.Propose(0);
        Assert.True(group[0].HandOver());
        group.Among(0, 2);
        for (var i = 0; i < 3; i++) group.Advance(0, 200);     // the learner has everything by then
        Assert.True(group[0].IsHandingOver);
        Assert.NotEqual(RaftRole.Leader, group[2].Role);
        group.Among(0, 1, 2);
        var alone = new MachineGroup(2, TestMembers.Voters(1).WithLearner(TestMembers.Node(1)));
        Assert.True(alone.Elect(0, 1));
        Assert.False(alone[0].HandOver());
        alone.Propose(0);
        Assert.False(alone[0].IsHandingOver);
    }

    [Fact(DisplayName = "A list of members survives its encoding, and one with a server out of place is refused")]
    public void Encoding()
    {
        var members = TestMembers.Voters(3).WithLearner(TestMembers.Node(3)).Without(1) with { Index = 77 };
        var again = RaftMembers.Decode(members.Encode());
        Assert.Equal((77L, 4), (again.Index, again.NextNumber));
        Assert.Equal(members.All.ToArray(), again.All.ToArray());
        var twice = members with { All = [members.All[0], members.All[0]] };
        Assert.Throws<Cluster.Node.Journal.Format.JournalFormatException>(() => RaftMembers.Decode(twice.Encode()));
        var beyond = members with { NextNumber = 3 };
        Assert.Throws<Cluster.Node.Journal.Format.JournalFormatException>(() => RaftMembers.Decode(beyond.Encode()));
    }
}
