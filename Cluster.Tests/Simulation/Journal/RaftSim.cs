using Cluster.Node.Journal.Raft;

namespace Cluster.Tests.Simulation.Journal;

/// <summary>
/// Members that run the real <see cref="RaftMachine"/> under a seeded network, clock and disk, in virtual milliseconds. A message
/// may be
/// lost, delayed, doubled or reordered, links are cut, members crash in the middle of a write and lose what was not synced.
/// After each step the safety of Raft is checked: one leader per term, matching logs, and one history of applied entries.
/// </summary>
internal sealed class RaftSim
{
    private readonly SimRandom _random;
    private readonly SimMember[] _members;
    private readonly PriorityQueue<RaftMessage, (long At, long Order)> _network = new();
    private readonly bool[,] _cut;
    private readonly Dictionary<long, int> _leaders = [];
    private readonly List<(long Term, string Command)> _history = [];     // what any member applied, by index - 1
    private readonly Dictionary<long, (long CommitThen, int Member)> _reads = [];
    private long _order;
    private long _nextRead;

    public RaftSim(ulong seed, int members)
    {
        _random = new SimRandom(seed);
        _cut = new bool[members, members];
        _members = [.. Enumerable.Range(0, members).Select(i => new SimMember(i, members, _random.Next(), this))];
    }

    public int LossPerMille { get; init; }
    public int CrashPerMille { get; init; }
    public int CutPerMille { get; init; }
    public int DelayMsMax { get; init; } = 20;

    public long NowMs { get; private set; }
    public int Acknowledged { get; private set; }
    public int ReadsAnswered { get; private set; }
    public int Elections => _leaders.Count;
    public int SnapshotsInstalled { get; set; }
    public int Crashes { get; private set; }
    public long Fingerprint { get; private set; }
    public int Applied => _history.Count;
    private bool Healed { get; set; }

    /// <summary>Five virtual milliseconds: faults, messages that are due, timers.</summary>
    public void Step()
    {
        NowMs += 5;
        if (!Healed) Misbehave();
        foreach (var member in _members) member.Run(m => m.Advance(NowMs));
        while (_network.TryPeek(out var message, out var due) && due.At <= NowMs)
        {
            _network.Dequeue();
            if (!_cut[message.From, message.To]) _members[message.To].Run(m => m.Receive(message));
        }
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
            _reads[id] = (_history.Count, member.Number);
            member.Run(m => m.ReadBarrier(id));
        }
    }

    public void Heal()
    {
        Healed = true;
        Array.Clear(_cut);
        foreach (var member in _members) member.Restart();
    }

    public bool AllCaughtUp =>
        _members.All(m => m.Machine is { } machine && machine.CommitIndex == _history.Count && m.AppliedIndex == _history.Count);

    public void Send(RaftMessage message)
    {
        Mix(message.Term + (message.From * 31) + (message.To * 7));
        if (!Healed && _random.PerMille(LossPerMille)) return;
        var copies = !Healed && _random.PerMille(10) ? 2 : 1;
        for (var i = 0; i < copies; i++)
            _network.Enqueue(message, (NowMs + 1 + _random.Below(Healed ? 5 : DelayMsMax), _order++));
    }

    public void OnApplied(RaftEntry entry, bool mine)
    {
        var command = System.Text.Encoding.UTF8.GetString(entry.Data);
        var at = (int)entry.Index - 1;
        Assert.True(at <= _history.Count, "applied entries have no gap");
        if (at == _history.Count) _history.Add((entry.Term, command));
        Assert.Equal(_history[at], (entry.Term, command));             // state-machine safety
        if (mine) Acknowledged++;
        Mix(entry.Index ^ entry.Term);
    }

    public void OnRead(long id, SimMember member)
    {
        var (commitThen, asked) = _reads[id];
        Assert.Equal(asked, member.Number);
        Assert.True(member.AppliedIndex >= commitThen, "a confirmed read sees all that was applied anywhere before it was asked");
        ReadsAnswered++;
    }

    public void OnCrashed() => Crashes++;

    public bool CrashNow() => !Healed && _random.PerMille(CrashPerMille);

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

    private void CheckLeaders()
    {
        foreach (var member in _members)
        {
            if (member.Machine is not { Role: RaftRole.Leader } machine) continue;
            if (!_leaders.TryAdd(machine.Term, member.Number))
                Assert.Equal(_leaders[machine.Term], member.Number);        // election safety
            else
                Assert.True(machine.LastIndex >= _history.Count, "a new leader has every committed entry");
        }
    }

    private void Misbehave()
    {
        if (_random.PerMille(CutPerMille))
        {
            int a = _random.Below(_members.Length), b = _random.Below(_members.Length);
            _cut[a, b] = !_cut[a, b];                                        // one direction at a time: asymmetric cuts too
        }
        foreach (var member in _members)
        {
            if (member.Machine is null && _random.PerMille(20)) member.Restart();
            else if (member.Machine is not null && _random.PerMille(CrashPerMille)) Crash(member);
            if (member.Machine is not null && _random.PerMille(2)) member.Compact();
            if (_random.PerMille(1)) member.Run(m => m.HandOver());
        }
    }

    private void Crash(SimMember member)
    {
        member.Crash();
        foreach (var other in _members)
            if (_random.PerMille(500)) other.Run(m => m.PeerLost(member.Number));
    }

    private void Mix(long value) => Fingerprint = (Fingerprint * 1099511628211) ^ value;
}
