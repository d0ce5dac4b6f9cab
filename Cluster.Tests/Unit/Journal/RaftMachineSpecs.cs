using Cluster.Node.Journal.Raft;

namespace Cluster.Tests.Unit.Journal;

public sealed class RaftMachineSpecs
{
    [Fact(DisplayName = "An entry of an older term on a majority is not committed by that alone (Raft, figure 8)")]
    public void Older_terms_are_committed_only_through_the_own()
    {
        RaftEntry[] entries = [new(1, 2, RaftEntryKind.Command, [1])];
        var leader = Leader(members: 5, new RaftDurable(new RaftVote(2, 0), TestMembers.Voters(5), null, entries));
        Acknowledge(leader, 1, match: 1);
        Acknowledge(leader, 2, match: 1);
        Assert.Equal(0, leader.CommitIndex);
        Acknowledge(leader, 1, match: 2);
        Acknowledge(leader, 2, match: 2);
        Assert.Equal(2, leader.CommitIndex);
    }

    [Fact(DisplayName = "A read waits for the first commit of the term and for a quorum that heard the leader after it was asked")]
    public void Read_barrier()
    {
        var leader = Leader(members: 3);
        leader.ReadBarrier(7);
        Assert.DoesNotContain(7, Drain(leader).Confirmed);
        Acknowledge(leader, 1, match: 1);
        Assert.DoesNotContain(7, Drain(leader).Confirmed);
        leader.Receive(new RaftMessage.AppendReply(1, 0, leader.Term, true, 1, 1, ReadRound: 0));       // answers what was sent before
        Assert.DoesNotContain(7, Drain(leader).Confirmed);
        leader.Receive(new RaftMessage.AppendReply(2, 0, leader.Term, true, 1, 1, ReadRound: 1));
        Assert.Contains(7, Drain(leader).Confirmed);
    }

    [Fact(DisplayName = "A leader that hears no quorum steps down, and its waiting reads fail")]
    public void Steps_down_without_quorum()
    {
        var leader = Leader(members: 3);
        leader.ReadBarrier(7);
        leader.Advance(100_000);
        leader.Advance(200_000);
        Assert.NotEqual(RaftRole.Leader, leader.Role);
        Assert.Contains(7, Drain(leader).Failed);
    }

    [Fact(DisplayName = "One vote per term, also across a restart")]
    public void One_vote_per_term()
    {
        var voter = new RaftMachine(new RaftSettings(0), RaftDurable.Empty(TestMembers.Voters(3)), 1, 0);
        voter.Receive(new RaftMessage.Vote(1, 0, 5, 0, 0));
        var ready = voter.TakeReady()!;
        Assert.Equal(new RaftVote(5, 1), ready.Vote);
        Assert.True(Assert.IsType<RaftMessage.VoteReply>(Assert.Single(ready.SendAfterSync)).Granted);
        var again = new RaftMachine(new RaftSettings(0), new RaftDurable(ready.Vote!.Value, TestMembers.Voters(3), null, []), 2, 0);
        again.Receive(new RaftMessage.Vote(2, 0, 5, 9, 4));
        Assert.False(Assert.IsType<RaftMessage.VoteReply>(Assert.Single(again.TakeReady()!.SendAfterSync)).Granted);
    }

    [Fact(DisplayName = "A member that hears a leader grants no pre-vote; once the leader's connection broke, it does and stands early itself")]
    public void Lost_leader_is_missed_early()
    {
        var settings = new RaftSettings(0);
        var follower = new RaftMachine(settings, RaftDurable.Empty(TestMembers.Voters(3)), 1, 0);
        follower.Receive(new RaftMessage.Append(1, 0, 1, 0, 0, [], 0, 0));
        Drain(follower);
        follower.Receive(new RaftMessage.PreVote(2, 0, 2, 9, 1));
        Assert.False(Assert.IsType<RaftMessage.PreVoteReply>(Assert.Single(follower.TakeReady()!.SendAfterSync)).Granted);
        Assert.True(follower.NextDeadlineMs >= settings.ElectionMinMs);
        follower.PeerLost(1);
        Assert.True(follower.NextDeadlineMs <= settings.EarlyElectionMaxMs);
        follower.Receive(new RaftMessage.PreVote(2, 0, 2, 9, 1));
        Assert.True(Assert.IsType<RaftMessage.PreVoteReply>(Assert.Single(follower.TakeReady()!.SendAfterSync)).Granted);
    }

    private static RaftMachine Leader(int members, RaftDurable? durable = null)
    {
        var machine = new RaftMachine(new RaftSettings(0), durable ?? RaftDurable.Empty(TestMembers.Voters(members)), 1, 0);
        machine.Advance(10_000);
        for (var i = 1; i < members; i++) machine.Receive(new RaftMessage.PreVoteReply(i, 0, machine.Term + 1, true));
        Drain(machine);
        for (var i = 1; i < members; i++) machine.Receive(new RaftMessage.VoteReply(i, 0, machine.Term, true));
        Drain(machine);
        Assert.Equal(RaftRole.Leader, machine.Role);
        return machine;
    }

    private static void Acknowledge(RaftMachine leader, int from, long match)
    {
        leader.Receive(new RaftMessage.AppendReply(from, 0, leader.Term, true, match, match, 0));
        leader.Persisted();
    }

    private static (List<long> Confirmed, List<long> Failed) Drain(RaftMachine machine)
    {
        var (confirmed, failed) = (new List<long>(), new List<long>());
        while (machine.TakeReady() is { } ready)
        {
            machine.Persisted();
            confirmed.AddRange(ready.ReadsConfirmed);
            failed.AddRange(ready.ReadsFailed);
        }
        return (confirmed, failed);
    }
}
