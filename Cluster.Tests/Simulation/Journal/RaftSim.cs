using Cluster.Node.Journal.Raft;

namespace Cluster.Tests.Simulation.Journal;

/// <summary>How a run goes: who there is, and how much goes wrong, each in chances per thousand and step.</summary>
internal sealed record SimPlan(int Nodes, int Voters)
{
    public int LossPerMille { get; init; }
    public int CrashPerMille { get; init; }
    public int CutPerMille { get; init; }
    public int DelayMsMax { get; init; } = 20;

    /// <summary>Of a change of the members that no policy asked for.</summary>
    public int ChangePerMille { get; init; }

    /// <summary>Of a node that comes back without its data directory.</summary>
    public int DiskLossPerMille { get; init; }

    /// <summary>Whether leaders decide on their group as in the product.</summary>
    public bool Policy { get; init; }

    public SimBugs Bugs { get; init; } = SimBugs.None;
}

/// <summary>
/// Members that run the real <see cref="RaftMachine"/> under a seeded network, clock and disk, in virtual milliseconds. A message
/// may be lost, delayed, doubled or reordered, links are cut, members crash in the middle of a write and lose what was not synced,
/// members come and go, a node loses its disk. After each step the safety of Raft is checked: one leader per term, all that was
/// committed at each new leader, matching logs, and one history of applied entries.
/// </summary>
internal sealed partial class RaftSim
{
    private const int StepMs = 5;
    private readonly SimPlan _plan;
    private readonly SimRandom _random;
    private readonly SimMember[] _members;
    private readonly PriorityQueue<Packet, (long At, long Order)> _network = new();
    private readonly bool[,] _cut;
    private readonly Dictionary<long, (int Place, int Number)> _leaders = [];
    private readonly List<(long Term, string Command, long KnownInTerm)> _history = [];   // what any member applied, by index - 1
    private readonly Dictionary<long, (long CommitThen, SimMember Member)> _reads = [];
    private long _order;
    private long _nextRead;

    /// <summary>
    /// A message, with the newest committed members that its sender knows; it finds its receiver by data directory, as connections
    /// do.
    /// </summary>
    private sealed record Packet(RaftMessage Message, RaftMembers Members, int FromPlace, Guid From, int ToPlace, Guid To);

    public RaftSim(ulong seed, SimPlan plan)
    {
        (_plan, _random) = (plan, new SimRandom(seed));
        Formed = RaftMembers.Formed([.. Enumerable.Range(0, plan.Voters).Select(i => SimMember.NodeOf(i, 0))]);
        _cut = new bool[plan.Nodes, plan.Nodes];
        _members = [.. Enumerable.Range(0, plan.Nodes).Select(i => new SimMember(i, this, plan.Bugs, _random.Next()))];
        foreach (var member in _members) member.Restart();
    }

    public RaftMembers Formed { get; }
    public long NowMs { get; private set; }
    public int Acknowledged { get; private set; }
    public int ReadsAnswered { get; private set; }
    public int Elections => _leaders.Count;
    public int SnapshotsInstalled { get; set; }
    public int Crashes { get; private set; }
    public int DisksLost { get; private set; }
    public int Changes { get; private set; }
    public long Fingerprint { get; private set; }
    private bool Healed { get; set; }

    /// <summary>Five virtual milliseconds: faults, messages that are due, timers, and the leaders' decisions on their group.</summary>
    public void Step()
    {
        NowMs += StepMs;
        if (!Healed) Misbehave();
        foreach (var member in _members) member.Run(m => m.Advance(NowMs));
        while (_network.TryPeek(out var packet, out var due) && due.At <= NowMs)
        {
            _network.Dequeue();
            if (!_cut[packet.FromPlace, packet.ToPlace]) Deliver(packet);
        }
        if (NowMs % (10 * StepMs) == 0) Govern();
        CheckLeaders();
    }

    public void Propose(string command)
    {
        foreach (var member in _members) member.Propose(command);
    }

    /// <summary>Asks each member that thinks it leads; an answer must show all that was applied anywhere before the question.</summary>
    public void Read()
    {
        foreach (var member in _members)
        {
            if (member.Machine is not { Role: RaftRole.Leader }) continue;
            var id = ++_nextRead;
            _reads[id] = (_history.Count, member);
            member.Run(m => m.ReadBarrier(id));
        }
    }

    public void Heal()
    {
        Healed = true;
        Array.Clear(_cut);
        foreach (var member in _members) member.Restart();
    }

    /// <summary>One leader, whose members are all there, have everything, and run nowhere else.</summary>
    public bool AllCaughtUp
    {
        get
        {
            var leader = _members.Where(m => m.Machine is { Role: RaftRole.Leader }).MaxBy(m => m.Machine!.Term);
            return leader?.Machine is { } machine && machine.CommitIndex == _history.Count && machine.Members == machine.CommittedMembers
                && machine.Members.All.All(m => _members.Any(n => n.Number == m.Number && n.Node.NodeId == m.Node.NodeId
                    && n.AppliedIndex == _history.Count && n.Machine!.Members.Index == machine.Members.Index))
                && _members.Count(m => m.Machine is not null) == machine.Members.All.Length;
        }
    }

    /// <summary>The members that the leader of the highest term goes by.</summary>
    public RaftMembers MembersNow =>
        _members.Where(m => m.Machine is { Role: RaftRole.Leader }).MaxBy(m => m.Machine!.Term)!.Machine!.Members;

    /// <summary>The sender connects to whom it knows by that number; a number that it does not know goes nowhere.</summary>
    public void Send(SimMember from, RaftMessage message)
    {
        Mix(message.Term + (message.From * 31) + (message.To * 7));
        var to = from.Machine?.Members.Find(message.To) ?? from.Book.Find(message.To);
        if (to is null || (!Healed && _random.PerMille(_plan.LossPerMille))) return;
        var place = Array.FindIndex(_members, m => m.Node.Name == to.Node.Name);
        var packet = new Packet(message, from.Book, from.Place, from.Node.NodeId, place, to.Node.NodeId);
        var copies = !Healed && _random.PerMille(10) ? 2 : 1;
        for (var i = 0; i < copies; i++)
            _network.Enqueue(packet, (NowMs + 1 + _random.Below(Healed ? 5 : _plan.DelayMsMax), _order++));
    }

    public void OnApplied(RaftEntry entry, long term, bool mine)
    {
        var command = System.Text.Encoding.UTF8.GetString(entry.Data);
        var at = (int)entry.Index - 1;
        Assert.True(at <= _history.Count, "applied entries have no gap");
        if (at == _history.Count) _history.Add((entry.Term, command, term));
        Assert.Equal((_history[at].Term, _history[at].Command), (entry.Term, command));             // state-machine safety
        if (mine) Acknowledged++;
        if (entry.Kind == RaftEntryKind.Members) Changes++;
        Mix(entry.Index ^ entry.Term);
    }

    public void OnRead(long id, SimMember member)
    {
        if (_looks.Remove(id, out var asker)) asker.Offer(member.Machine!.CommittedMembers);
        if (!_reads.TryGetValue(id, out var read)) return;
        Assert.Equal(read.Member, member);
        Assert.True(member.AppliedIndex >= read.CommitThen, "a confirmed read sees all that was applied anywhere before it was asked");
        ReadsAnswered++;
    }

    public void OnCrashed() => Crashes++;

    public bool CrashNow() => !Healed && _random.PerMille(_plan.CrashPerMille);

    public int Below(int bound) => _random.Below(bound);

    public void CheckLogs()
    {
        var live = _members.Where(m => m.Machine is not null).Select(m => m.Machine!).ToArray();
        foreach (var a in live)
        {
            foreach (var b in live)
            {
                var (last, from) = (Math.Min(a.LastIndex, b.LastIndex), Math.Max(a.SnapshotIndex, b.SnapshotIndex));
                var agree = false;
                for (var i = last; i > from; i--)                           // log matching: equal at one index, equal below it
                {
                    var (x, y) = (a.Entries[(int)(i - a.SnapshotIndex - 1)], b.Entries[(int)(i - b.SnapshotIndex - 1)]);
                    agree |= x.Term == y.Term;
                    if (agree) Assert.Equal((x.Term, x.Kind), (y.Term, y.Kind));
                    if (agree) Assert.True(x.Data.AsSpan().SequenceEqual(y.Data), "log matching");
                }
            }
        }
    }

    /// <summary>Each node in a line, for the message of a failure.</summary>
    public string Describe() => string.Join("; ", _members.Select(m => m.Machine is not { } machine
        ? $"{m.Node.Name} up {m.IsUp} book {Show(m.Book)}"
        : $"{m.Node.Name} is {m.Number} {machine.Role} term {machine.Term} log {machine.SnapshotIndex}..{machine.LastIndex} "
            + $"commit {machine.CommitIndex} members {Show(machine.Members)}"));

    private static string Show(RaftMembers members) =>
        $"[{members.Index}: {string.Join(' ', members.All.Select(m => $"{m.Number}{(m.IsVoter ? "" : "l")}={m.Node.Name}"))}]";

    private void Deliver(Packet packet)
    {
        var member = _members[packet.ToPlace];
        if (!member.IsUp || member.Node.NodeId != packet.To) return;
        member.Offer(packet.Members);
        if (member.Machine is not { } machine) return;
        var sender = machine.Members.Find(packet.Message.From) ?? member.Book.Find(packet.Message.From);
        if (sender?.Node.NodeId == packet.From) member.Run(m => m.Receive(packet.Message));
    }

    private void CheckLeaders()
    {
        foreach (var member in _members)
        {
            if (member.Machine is not { Role: RaftRole.Leader } machine) continue;
            if (!_leaders.TryAdd(machine.Term, (member.Place, member.Number)))
                Assert.Equal(_leaders[machine.Term], (member.Place, member.Number));             // election safety
            else
                CheckComplete(machine);
        }
    }

    /// <summary>Leader completeness: what was known to be committed in an earlier term is in the log of each later leader.</summary>
    private void CheckComplete(RaftMachine leader)
    {
        for (var i = (int)leader.SnapshotIndex; i < _history.Count; i++)
        {
            if (_history[i].KnownInTerm >= leader.Term) continue;
            var has = i < leader.LastIndex && leader.Entries[i - (int)leader.SnapshotIndex].Term == _history[i].Term;
            Assert.True(has, $"the leader of term {leader.Term} lacks entry {i + 1}, which was committed before it");
        }
    }

    private void Mix(long value) => Fingerprint = (Fingerprint * 1099511628211) ^ value;
}
