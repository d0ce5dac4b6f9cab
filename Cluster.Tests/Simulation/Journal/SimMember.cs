using Cluster.Node.Journal;
using Cluster.Node.Journal.Formation;
using Cluster.Node.Journal.Raft;

namespace Cluster.Tests.Simulation.Journal;

/// <summary>What a planted bug makes of a member. Each must be seen by the simulation.</summary>
internal sealed record SimBugs
{
    public static readonly SimBugs None = new();

    /// <summary>A machine with one rule taken out.</summary>
    public Func<RaftSettings, RaftDurable, ulong, long, RaftMachine> Machine { get; init; } =
        (settings, durable, seed, now) => new RaftMachine(settings, durable, seed, now);

    /// <summary>Promises leave the process before what they promise is on media.</summary>
    public bool SendsBeforeSync { get; init; }

    /// <summary>A compaction forgets who the members are, and falls back to those of the formation.</summary>
    public bool ForgetsMembers { get; init; }

    /// <summary>A node whose directory was lost goes on under its old identity.</summary>
    public bool KeepsIdentity { get; init; }
}

/// <summary>
/// One node: a disk that forgets what was not synced, and on it perhaps a member of the group. Does what the shells (RaftNode and
/// GroupMember) do, in the same order, and may crash between.
/// </summary>
internal sealed class SimMember
{
    private readonly RaftSim _sim;
    private readonly SimBugs _bugs;
    private readonly ulong _seed;
    private readonly List<RaftEntry> _entries = [];
    private readonly Dictionary<long, long> _mine = [];
    private RaftVote _vote = RaftVote.None;
    private RaftSnapshot? _snapshot;
    private RaftMembers _book;
    private ulong _starts;
    private int _lives;

    public SimMember(int place, RaftSim sim, SimBugs bugs, ulong seed)
    {
        (Place, _sim, _bugs, _seed, _book) = (place, sim, bugs, seed, sim.Formed);
        Node = NodeOf(place, 0);
    }

    /// <summary>The place of the node; its name is made of it.</summary>
    public int Place { get; }

    /// <summary>The node with the data directory that it has now.</summary>
    public FormationMember Node { get; private set; }

    public bool IsUp { get; private set; }

    /// <summary>The member that runs here, under <see cref="Number"/>; null while the node is down or no member.</summary>
    public RaftMachine? Machine { get; private set; }

    public int Number { get; private set; } = -1;

    public long AppliedIndex { get; private set; }

    /// <summary>Every list of members that a log here, on disk or in memory, may still go by.</summary>
    public IEnumerable<RaftMembers> MembersKnown
    {
        get
        {
            yield return _snapshot?.Members ?? _sim.Formed;
            foreach (var entry in _entries)
                if (entry.Kind == RaftEntryKind.Members) yield return RaftMembers.Decode(entry.Data);
            if (Machine is { } machine) yield return machine.Members;
        }
    }

    public RaftMembers Book => _book;

    public static FormationMember NodeOf(int place, int life) =>
        new($"node-{place}", new Guid(place + 1, (short)life, 0, new byte[8]), new JournalAddress("127.0.0.1", 7000 + place));

    public void Run(Action<RaftMachine> input)
    {
        if (Machine is null) return;
        input(Machine);
        while (Machine?.TakeReady() is { } ready) Perform(ready);
        if (Machine is not { Role: RaftRole.Leader }) _mine.Clear();
        if (Machine is { } machine) Offer(machine.CommittedMembers);
    }

    public void Propose(string command) => Run(m =>
    {
        var index = m.Propose(System.Text.Encoding.UTF8.GetBytes(command));
        if (index > 0) _mine[index] = m.Term;
    });

    /// <summary>Takes committed members, durably, if they are newer; runs a member exactly while they name this directory.</summary>
    public void Offer(RaftMembers committed)
    {
        if (committed.Index <= _book.Index) return;
        _book = committed;
        Reconcile();
    }

    public void Compact()
    {
        if (Machine is not { } m || AppliedIndex <= m.SnapshotIndex) return;
        var term = m.Entries[(int)(AppliedIndex - m.SnapshotIndex - 1)].Term;
        var members = _bugs.ForgetsMembers ? _sim.Formed : m.CommittedMembers;
        m.Compact(new RaftSnapshot(AppliedIndex, term, members, BitConverter.GetBytes(AppliedIndex)));
        Store(m);
    }

    public void Crash()
    {
        (IsUp, Machine, Number) = (false, null, -1);
        _mine.Clear();
        _sim.OnCrashed();
    }

    /// <summary>The data directory is gone: what comes back under the name is another node.</summary>
    public void LoseDisk()
    {
        Crash();
        if (!_bugs.KeepsIdentity)
        {
            Node = NodeOf(Place, ++_lives);
            _book = _sim.Formed;
        }
        (_vote, _snapshot) = (RaftVote.None, null);
        _entries.Clear();
    }

    public void Restart()
    {
        if (IsUp) return;
        IsUp = true;
        Reconcile();
    }

    private void Reconcile()
    {
        var number = _book.Find(Node.NodeId)?.Number ?? -1;
        if (!IsUp || number == Number) return;
        (Machine, Number) = (null, number);
        _mine.Clear();
        if (number < 0) return;
        AppliedIndex = _snapshot?.Index ?? 0;
        var settings = new RaftSettings(number) { AppendBytesMax = 64, AppendsInFlightMax = 3 };
        Machine = _bugs.Machine(settings, new RaftDurable(_vote, _sim.Formed, _snapshot, [.. _entries]), _seed + ++_starts, _sim.NowMs);
    }

    private void Perform(RaftReady ready)
    {
        if (_bugs.SendsBeforeSync) Send(ready.SendAfterSync);
        if (ready.MustSync && _sim.CrashNow())
        {
            WriteSome(ready);
            Send(ready.SendAtOnce);
            Crash();
            return;
        }
        Send(ready.SendAtOnce);
        if (ready.Snapshot is { } snapshot)
        {
            AppliedIndex = BitConverter.ToInt64(snapshot.Image);
            _sim.SnapshotsInstalled++;
            Store(Machine!);
        }
        else
        {
            if (ready.Vote is { } vote) _vote = vote;
            foreach (var entry in ready.Append) Write(entry);
        }
        if (ready.MustSync && _sim.CrashNow())
        {
            Crash();
            return;
        }
        Machine!.Persisted();
        if (!_bugs.SendsBeforeSync) Send(ready.SendAfterSync);
        foreach (var entry in ready.Committed)
        {
            AppliedIndex = entry.Index;
            _sim.OnApplied(entry, Machine!.Term, _mine.Remove(entry.Index, out var term) && term == entry.Term);
        }
        foreach (var id in ready.ReadsConfirmed) _sim.OnRead(id, this);
    }

    private void Send(IReadOnlyList<RaftMessage> messages)
    {
        foreach (var message in messages) _sim.Send(this, message);
    }

    /// <summary>A crash before the sync: of the records written, any first few may have reached the media.</summary>
    private void WriteSome(RaftReady ready)
    {
        if (ready.Snapshot is not null) return;                              // the new file was not renamed into place
        var left = _sim.Below(ready.Append.Count + 2);
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
