using Cluster.Node.Journal.Raft;

namespace Cluster.Tests.Unit.Journal;

/// <summary>
/// Machines whose messages go, at once, where the test lets them: for scenarios told step by step. Each has a clock of its own.
/// </summary>
internal sealed class MachineGroup
{
    private readonly RaftMachine[] _machines;
    private readonly long[] _nowMs;

    public MachineGroup(int count, RaftMembers formed, Func<RaftSettings, RaftDurable, RaftMachine>? make = null)
    {
        make ??= (settings, durable) => new RaftMachine(settings, durable, seed: 1, nowMs: 0);
        _machines = [.. Enumerable.Range(0, count).Select(i => make(new RaftSettings(i), RaftDurable.Empty(formed)))];
        _nowMs = new long[count];
    }

    /// <summary>Who reaches whom; everybody at first.</summary>
    public Func<int, int, bool> Reaches { get; set; } = (_, _) => true;

    public RaftMachine this[int number] => _machines[number];

    /// <summary>Sets the clock of one machine on and lets everything that follows happen.</summary>
    public void Advance(int number, long byMs)
    {
        _machines[number].Advance(_nowMs[number] += byMs);
        Settle();
    }

    /// <summary>Long silence for all, then this one stands, and it and these reach each other from then on. Whether it won.</summary>
    public bool Elect(int number, params int[] reached)
    {
        Reaches = (_, _) => false;
        for (var i = 0; i < _machines.Length; i++) Advance(i, 2_000);
        Among([number, .. reached]);
        for (var tries = 0; tries < 3 && _machines[number].Role != RaftRole.Leader; tries++)
            Advance(number, 2_000);                            // the first try may only tell it of a higher term
        return _machines[number].Role == RaftRole.Leader;
    }

    /// <summary>Only these reach each other from now on.</summary>
    public void Among(params int[] numbers) => Reaches = (from, to) => numbers.Contains(from) && numbers.Contains(to);

    public MembersChange Change(int leader, Func<RaftMembers, RaftMembers> change)
    {
        var seen = _machines[leader].Members;
        var taken = _machines[leader].ProposeMembers(seen, change(seen));
        Settle();
        return taken;
    }

    public long Propose(int leader)
    {
        var index = _machines[leader].Propose([1]);
        Settle();
        return index;
    }

    /// <summary>Writes, sends and delivers until nothing is left to do.</summary>
    public void Settle()
    {
        var inFlight = new Queue<RaftMessage>();
        do
        {
            if (inFlight.TryDequeue(out var message) && message.To < _machines.Length && Reaches(message.From, message.To))
                _machines[message.To].Receive(message);
            foreach (var machine in _machines)
            {
                while (machine.TakeReady() is { } ready)
                {
                    machine.Persisted();
                    foreach (var m in ready.SendAtOnce.Concat(ready.SendAfterSync)) inFlight.Enqueue(m);
                }
            }
        }
        while (inFlight.Count > 0);
    }
}
