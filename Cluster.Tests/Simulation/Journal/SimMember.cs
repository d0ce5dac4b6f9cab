using Cluster.Node.Journal.Raft;

namespace Cluster.Tests.Simulation.Journal;

/// <summary>SplitMix64: the same numbers on every runtime.</summary>
internal sealed class SimRandom(ulong seed)
{
    private ulong _state = seed;

    public ulong Next()
    {
        _state += 0x9E3779B97F4A7C15;
        var z = _state;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }

    public int Below(int bound) => (int)(Next() % (ulong)bound);

    public bool PerMille(int chance) => Below(1000) < chance;
}

/// <summary>
/// One member with a disk that forgets what was not synced. Does what the shell does, in the same order, and may crash between.
/// </summary>
internal sealed class SimMember(int number, int members, ulong seed, RaftSim sim)
{
    private RaftVote _vote = RaftVote.None;
    private RaftSnapshot? _snapshot;
    private readonly List<RaftEntry> _entries = [];
    private readonly Dictionary<long, long> _mine = [];
    private ulong _starts;

    public int Number => number;
    public RaftMachine? Machine { get; private set; } = new(Settings(number, members), RaftDurable.Empty, seed, 0);
    public long AppliedIndex { get; private set; }

    public void Run(Action<RaftMachine> input)
    {
        if (Machine is null) return;
        input(Machine);
        while (Machine?.TakeReady() is { } ready) Perform(ready);
        if (Machine is not { Role: RaftRole.Leader }) _mine.Clear();
    }

    public void Propose(string command) => Run(m =>
    {
        var index = m.Propose(System.Text.Encoding.UTF8.GetBytes(command));
        if (index > 0) _mine[index] = m.Term;
    });

    public void Compact()
    {
        if (Machine is not { } m || AppliedIndex <= m.SnapshotIndex) return;
        var term = m.Entries[(int)(AppliedIndex - m.SnapshotIndex - 1)].Term;
        m.Compact(new RaftSnapshot(AppliedIndex, term, BitConverter.GetBytes(AppliedIndex)));
        Store(m);
    }

    public void Crash()
    {
        Machine = null;
        _mine.Clear();
        sim.OnCrashed();
    }

    public void Restart()
    {
        if (Machine is not null) return;
        AppliedIndex = _snapshot?.Index ?? 0;
        Machine = new RaftMachine(Settings(number, members), new RaftDurable(_vote, _snapshot, [.. _entries]), seed + ++_starts, sim.NowMs);
    }

    private static RaftSettings Settings(int number, int members) => new(number, members) { AppendBytesMax = 64, AppendsInFlightMax = 3 };

    private void Perform(RaftReady ready)
    {
        if (ready.MustSync && sim.CrashNow())
        {
            WriteSome(ready);
            foreach (var message in ready.SendAtOnce) sim.Send(message);
            Crash();
            return;
        }
        foreach (var message in ready.SendAtOnce) sim.Send(message);
        if (ready.Snapshot is { } snapshot)
        {
            AppliedIndex = BitConverter.ToInt64(snapshot.Image);
            sim.SnapshotsInstalled++;
            Store(Machine!);
        }
        else
        {
            if (ready.Vote is { } vote) _vote = vote;
            foreach (var entry in ready.Append) Write(entry);
        }
        if (ready.MustSync && sim.CrashNow())
        {
            Crash();
            return;
        }
        Machine!.Persisted();
        foreach (var message in ready.SendAfterSync) sim.Send(message);
        foreach (var entry in ready.Committed)
        {
            AppliedIndex = entry.Index;
            sim.OnApplied(entry, _mine.Remove(entry.Index, out var term) && term == entry.Term);
        }
        foreach (var id in ready.ReadsConfirmed) sim.OnRead(id, this);
    }

    /// <summary>A crash before the sync: of the records written, any first few may have reached the media.</summary>
    private void WriteSome(RaftReady ready)
    {
        if (ready.Snapshot is not null) return;                              // the new file was not renamed into place
        var left = sim.Below(ready.Append.Count + 2);
        if (ready.Vote is { } vote && left-- > 0) _vote = vote;
        foreach (var entry in ready.Append)
            if (left-- > 0 && (ready.Vote is null || _vote == ready.Vote)) Write(entry);
    }

    private void Write(RaftEntry entry)
    {
        var at = (int)(entry.Index - (_snapshot?.Index ?? 0) - 1);
        _entries.RemoveRange(at, _entries.Count - at);
        _entries.Add(entry);
    }

    private void Store(RaftMachine m)
    {
        (_vote, _snapshot) = (m.Vote, m.Snapshot);
        _entries.Clear();
        _entries.AddRange(m.Entries);
    }
}
