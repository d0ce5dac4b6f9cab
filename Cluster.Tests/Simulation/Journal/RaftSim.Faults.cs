using Cluster.Node.Journal.Group;
using Cluster.Node.Journal.Raft;

namespace Cluster.Tests.Simulation.Journal;

/// <summary>What goes wrong, and who changes the members.</summary>
internal sealed partial class RaftSim
{
    private static readonly GroupTimes Times = new() { AliveMs = 300, LearnerSilentMs = 1000, ReplaceAfterMs = 800 };
    private readonly Dictionary<long, SimMember> _looks = [];

    private void Misbehave()
    {
        if (_random.PerMille(_plan.CutPerMille))
        {
            int a = _random.Below(_members.Length), b = _random.Below(_members.Length);
            _cut[a, b] = !_cut[a, b];                                        // one direction at a time: asymmetric cuts too
        }
        foreach (var member in _members)
        {
            if (!member.IsUp && _random.PerMille(20)) member.Restart();
            else if (member.IsUp && _random.PerMille(_plan.CrashPerMille)) Crash(member);
            if (member.Machine is not null && _random.PerMille(2)) member.Compact();
            if (_random.PerMille(1)) member.Run(m => m.HandOver());
        }
        if (_random.PerMille(_plan.DiskLossPerMille)) LoseDisk(_members[_random.Below(_members.Length)]);
        if (_random.PerMille(_plan.ChangePerMille)) ChangeAtRandom();
    }

    private void Crash(SimMember member)
    {
        var number = member.Number;
        member.Crash();
        foreach (var other in _members)
            if (_random.PerMille(500)) other.Run(m => m.PeerLost(number));
    }

    /// <summary>
    /// One disk at a time, and only while every list of members that anybody may still go by keeps a majority of members whose disks are
    /// there: that much is promised, no more.
    /// </summary>
    private void LoseDisk(SimMember victim)
    {
        if (_members.SelectMany(m => m.MembersKnown).Any(known => !Survives(known, victim.Node.NodeId))) return;
        DisksLost++;
        foreach (var other in _members)
            if (_random.PerMille(500)) other.Run(m => m.PeerLost(victim.Number));
        victim.LoseDisk();
    }

    private bool Survives(RaftMembers members, Guid without)
    {
        var voters = members.All.Where(m => m.IsVoter && m.Node.NodeId != without);
        return voters.Count(m => _members.Any(n => n.Node.NodeId == m.Node.NodeId)) >= members.Quorum;
    }

    private void ChangeAtRandom()
    {
        foreach (var member in _members)
        {
            if (member.Machine is not { Role: RaftRole.Leader } machine || Draw(machine.Members) is not { } wanted) continue;
            if (Survives(wanted, Guid.Empty)) member.Run(m => m.ProposeMembers(machine.Members, wanted));
        }
    }

    private RaftMembers? Draw(RaftMembers members)
    {
        var outside = _members.Where(n => members.Find(n.Node.NodeId) is null).ToArray();
        var any = members.All[_random.Below(members.All.Length)];
        return _random.Below(3) switch
        {
            0 when outside.Length > 0 => members.WithLearner(outside[_random.Below(outside.Length)].Node),
            1 when !any.IsVoter => members.WithVoter(any.Number),
            2 when members.Voters > 1 => members.Without(any.Number),
            _ => null,
        };
    }

    /// <summary>
    /// What GroupKeeper and GroupMember do from time to time: the leader decides, and who hears no leader asks who the members are.
    /// </summary>
    private void Govern()
    {
        foreach (var member in _members)
        {
            if (!member.IsUp) continue;
            if (member.Machine is { Role: RaftRole.Leader } machine)
            {
                if (_plan.Policy) Decide(member, machine);
            }
            else if (member.Machine is null or { Leader: < 0 } && _random.PerMille(200)) Look(member);
        }
    }

    private void Decide(SimMember leader, RaftMachine machine)
    {
        var nodes = _members.Select(n => new GroupNode(n.Node, "", machine.Members.Find(n.Node.NodeId) is null && n.IsUp
            && !_cut[leader.Place, n.Place] && !_cut[n.Place, leader.Place]));
        var situation = new GroupSituation(machine.Members, leader.Number, machine.Progress(), [.. nodes], Times);
        if (GroupPolicy.Next(situation) is { } step) leader.Run(m => m.ProposeMembers(machine.Members, step.Wanted));
    }

    private void Look(SimMember asker)
    {
        var leaders = _members.Where(m => m.Machine is { Role: RaftRole.Leader } && !_cut[m.Place, asker.Place]).ToArray();
        if (leaders.Length == 0) return;
        var id = ++_nextRead;
        _looks[id] = asker;
        leaders[_random.Below(leaders.Length)].Run(m => m.ReadBarrier(id));
    }
}
