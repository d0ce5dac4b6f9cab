using System.Diagnostics;
using Cluster.Messages.Model;
using Cluster.Node.Journal.State;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Journal.Raft;

/// <summary>How a proposal ended at this member.</summary>
public enum ProposeOutcome : byte
{
    Unset = 0,
    Done = 1,

    /// <summary>Nothing was appended: ask the leader.</summary>
    NotLeader = 2,

    /// <summary>Nothing was appended: too much waits already.</summary>
    Busy = 3,

    /// <summary>Appended, then the leadership went: it may or may not come to pass. Propose again with the same id.</summary>
    Unknown = 4,
}

public readonly record struct ProposeResult(ProposeOutcome Outcome, MetaAnswer Answer);

/// <summary>
/// A member as others see it. Leader: its number, or -1. Members: those in force here; Committed: the last that are settled.
/// </summary>
public sealed record RaftStatus(
    RaftRole Role, long Term, int Leader, long CommitIndex, long LastIndex, RaftMembers Members, RaftMembers Committed)
{
    /// <summary>Of the log's entries.</summary>
    public long LogBytes { get; init; }
}

/// <summary>
/// The shell around <see cref="RaftMachine"/>: one thread that takes what came in, steps the machine over all of it, writes, syncs
/// once,
/// sends, applies and answers. Any exception in it stops the member for good (<see cref="Stopped"/> faults): a disk that lies or a
/// command
/// that is not understood must not be worked around.
/// </summary>
public sealed partial class RaftNode : IAsyncDisposable
{
    private readonly RaftMachine _machine;
    private readonly FileRaftLog _log;
    private readonly MetaState _state;
    private readonly Action<RaftMessage> _send;
    private readonly ILogger _logger;
    private readonly Lock _gate = new();
    private readonly AutoResetEvent _wake = new(false);
    private readonly SemaphoreSlim _room = new(JournalLimits.LoopQueueMax);
    private readonly Dictionary<long, (long Term, TaskCompletionSource<ProposeResult> Waiter)> _proposals = [];
    private readonly Dictionary<long, TaskCompletionSource<bool>> _reads = [];
    private readonly int _self;
    private readonly RaftMembers _formed;
    private readonly TaskCompletionSource _stopped = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly long _startedAt = Stopwatch.GetTimestamp();
    private List<Input> _inbox = [];
    private List<Input> _taken = [];
    private volatile bool _stopping;
    private volatile RaftStatus _status;
    private long _compactAtBytes = JournalLimits.LogBytesBeforeCompaction;
    private long _nextReadId;

    public RaftNode(
        RaftSettings settings, FileRaftLog log, RaftDurable durable, MetaState state, Action<RaftMessage> send, ulong seed, ILogger logger)
    {
        (_log, _state, _send, _logger, _self) = (log, state, send, logger, settings.Self);
        _formed = durable.Formed;
        _machine = new RaftMachine(settings, durable, seed, nowMs: 0);
        if (durable.Snapshot is { } snapshot) _state.Load(snapshot.Image);
        _status = StatusNow();
        new Thread(Run) { IsBackground = true, Name = "journal-raft" }.Start();
    }

    /// <summary>This member's number in the group.</summary>
    public int Number => _self;

    /// <summary>Raised on the Raft thread after role, term, leader or members changed; handlers must not block.</summary>
    public event Action<RaftStatus>? Changed;

    public RaftStatus Status => _status;

    /// <summary>Ends when the member ends; faults with what stopped it.</summary>
    public Task Stopped => _stopped.Task;

    /// <summary>Takes a message from another member; waits while too much is queued.</summary>
    public async ValueTask PostAsync(RaftMessage message, CancellationToken ct)
    {
        await _room.WaitAsync(ct).ConfigureAwait(false);
        Enqueue(new Input.Message(message));
    }

    public void PeerLost(int peer)
    {
        if (_room.Wait(0)) Enqueue(new Input.Lost(peer));
    }

    /// <summary>
    /// Proposes a command that was checked to decode. Completes when it is committed and applied here, or when it can't be.
    /// </summary>
    public Task<ProposeResult> ProposeAsync(byte[] command)
    {
        if (_status.Role != RaftRole.Leader) return Task.FromResult(new ProposeResult(ProposeOutcome.NotLeader, default));
        if (!_room.Wait(0)) return Task.FromResult(new ProposeResult(ProposeOutcome.Busy, default));
        var waiter = new TaskCompletionSource<ProposeResult>(TaskCreationOptions.RunContinuationsAsynchronously);
        Enqueue(new Input.Proposal(command, waiter));
        return waiter.Task;
    }

    /// <summary>
    /// True once this member was confirmed to lead and has applied all that was committed before the call; else false.
    /// </summary>
    public Task<bool> BarrierAsync()
    {
        if (_status.Role != RaftRole.Leader || !_room.Wait(0)) return Task.FromResult(false);
        var waiter = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
        Enqueue(new Input.Read(waiter));
        return waiter.Task;
    }

    /// <summary>
    /// Gives the leadership away if this member has it; best effort. Completes once it is tried; false if there is nobody to take
    /// it.
    /// </summary>
    public Task<bool> HandOverAsync()
    {
        if (!_room.Wait(0)) return Task.FromResult(false);
        var waiter = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
        Enqueue(new Input.Leave(waiter));
        return waiter.Task;
    }

    /// <summary>
    /// Proposes a change of the members, one step from those <paramref name="seen"/>. Completes with Appended once it is committed; with
    /// Unset when the leadership went before that was known.
    /// </summary>
    public Task<MembersChange> ChangeMembersAsync(RaftMembers seen, RaftMembers wanted)
    {
        if (!_room.Wait(0)) return Task.FromResult(MembersChange.NotNow);
        var waiter = new TaskCompletionSource<MembersChange>(TaskCreationOptions.RunContinuationsAsynchronously);
        Enqueue(new Input.Change(seen, wanted, waiter));
        return waiter.Task;
    }

    /// <summary>How far each other member is; empty unless this one leads.</summary>
    public Task<IReadOnlyList<RaftProgress>> ProgressAsync()
    {
        if (!_room.Wait(0)) return Task.FromResult<IReadOnlyList<RaftProgress>>([]);
        var waiter = new TaskCompletionSource<IReadOnlyList<RaftProgress>>(TaskCreationOptions.RunContinuationsAsynchronously);
        Enqueue(new Input.Look(waiter));
        return waiter.Task;
    }

    /// <summary>
    /// The state as this member's own log leaves it, entries that may never have been committed among it: no more than a hint, for who looks at what is left of a lost majority. Null when the
    /// member ends or has too much to do. Throws <see cref="Format.JournalFormatException"/> on what this program can't read.
    /// </summary>
    public async Task<MetaState?> GuessStateAsync()
    {
        if (!_room.Wait(0)) return null;
        var waiter = new TaskCompletionSource<(RaftSnapshot?, RaftEntry[])?>(TaskCreationOptions.RunContinuationsAsynchronously);
        Enqueue(new Input.Copy(waiter));
        if (await waiter.Task.ConfigureAwait(false) is not var (snapshot, entries)) return null;
        var state = new MetaState();
        if (snapshot is not null) state.Load(snapshot.Image);
        foreach (var entry in entries.Where(entry => entry.Kind == RaftEntryKind.Command)) state.Apply(MetaCommandCodec.Decode(entry.Data));
        return state;
    }

    public async ValueTask DisposeAsync()
    {
        _stopping = true;
        _wake.Set();
        await _stopped.Task.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _log.Dispose();
    }

    private long NowMs => (long)Stopwatch.GetElapsedTime(_startedAt).TotalMilliseconds;

    private void Enqueue(Input input)
    {
        bool ended;
        lock (_gate)
        {
            ended = _stopped.Task.IsCompleted;
            if (!ended) _inbox.Add(input);
        }
        if (ended) Refuse(input);
        else _wake.Set();
    }

    private void Run()
    {
        Exception? why = null;
        try
        {
            while (!_stopping) Turn();
        }
        catch (Exception e)
        {
            LogHalted(_logger, e);
            why = e;
        }
        End(why);
    }

    private void Turn()
    {
        Take();
        _machine.Advance(NowMs);
        foreach (var input in _taken) Step(input);
        Settle();
        var taken = _taken.Count;
        _taken.Clear();
        if (taken > 0) _room.Release(taken);
    }

    private void Take()
    {
        lock (_gate) (_inbox, _taken) = (_taken, _inbox);
        if (_taken.Count > 0) return;
        _wake.WaitOne((int)Math.Clamp(_machine.NextDeadlineMs - NowMs, 0, 1000));
        lock (_gate) (_inbox, _taken) = (_taken, _inbox);
    }

    private void Step(Input input)
    {
        switch (input)
        {
            case Input.Message m: _machine.Receive(m.Value); break;
            case Input.Lost l: _machine.PeerLost(l.Peer); break;
            case Input.Leave l: l.Waiter.SetResult(_machine.HandOver()); break;
            case Input.Look l: l.Waiter.SetResult(_machine.Progress()); break;
            case Input.Copy c: c.Waiter.SetResult((_machine.Snapshot, [.. _machine.Entries])); break;
            case Input.Change c: Change(c); break;
            case Input.Proposal p: Propose(p); break;
            case Input.Read r: Read(r); break;
        }
    }

    private void Propose(Input.Proposal p)
    {
        if (_proposals.Count >= JournalLimits.ProposalsPendingMax)
        {
            p.Waiter.SetResult(new ProposeResult(ProposeOutcome.Busy, default));
            return;
        }
        var index = _machine.Propose(p.Command);
        if (index < 0) p.Waiter.SetResult(new ProposeResult(ProposeOutcome.NotLeader, default));
        else _proposals.Add(index, (_machine.Term, p.Waiter));
    }

    private void Change(Input.Change c)
    {
        var taken = _machine.ProposeMembers(c.Seen, c.Wanted);
        if (taken != MembersChange.Appended)
        {
            c.Waiter.SetResult(taken);
            return;
        }
        var committed = new TaskCompletionSource<ProposeResult>(TaskCreationOptions.RunContinuationsAsynchronously);
        _proposals.Add(_machine.LastIndex, (_machine.Term, committed));
        _ = EndChangeAsync(committed.Task, c.Waiter);
    }

    private static async Task EndChangeAsync(Task<ProposeResult> committed, TaskCompletionSource<MembersChange> waiter)
    {
        var result = await committed.ConfigureAwait(false);
        waiter.SetResult(result.Outcome == ProposeOutcome.Done ? MembersChange.Appended : MembersChange.Unset);
    }

    private void Read(Input.Read r)
    {
        if (_reads.Count >= JournalLimits.ReadsPendingMax)
        {
            r.Waiter.SetResult(false);
            return;
        }
        _reads.Add(++_nextReadId, r.Waiter);
        _machine.ReadBarrier(_nextReadId);
    }

    private void Settle()
    {
        while (_machine.TakeReady() is { } ready) Perform(ready);
        if (_machine.Role != RaftRole.Leader || _machine.Term != _status.Term) FailProposals();
        Publish();
        CompactIfLarge();
    }

    /// <summary>The order a crash depends on: write, sync, and only then anything that promises what was written.</summary>
    private void Perform(RaftReady ready)
    {
        if (ready.Snapshot is { } snapshot)
        {
            _state.Load(snapshot.Image);
            _log.Rewrite(Durable());
        }
        else
        {
            _log.Append(ready.Vote, ready.Append);
        }
        foreach (var message in ready.SendAtOnce) _send(message);
        if (ready.MustSync) _log.Sync();
        _machine.Persisted();
        foreach (var message in ready.SendAfterSync) _send(message);
        foreach (var entry in ready.Committed) Apply(entry);
        foreach (var id in ready.ReadsConfirmed) EndRead(id, true);
        foreach (var id in ready.ReadsFailed) EndRead(id, false);
    }

    private void Apply(RaftEntry entry)
    {
        Invariant.That(
            entry.Kind is RaftEntryKind.NoOp or RaftEntryKind.Command or RaftEntryKind.Members,
            "an entry of an unknown kind halts the member");
        if (entry.Kind == RaftEntryKind.Members) LogMembers(_logger, Describe(RaftMembers.Decode(entry.Data)), entry.Index);
        var answer = entry.Kind == RaftEntryKind.Command ? _state.Apply(MetaCommandCodec.Decode(entry.Data)) : default;
        if (!_proposals.Remove(entry.Index, out var proposal)) return;
        var outcome = proposal.Term == entry.Term ? ProposeOutcome.Done : ProposeOutcome.Unknown;
        proposal.Waiter.SetResult(new ProposeResult(outcome, answer));
    }

    private void EndRead(long id, bool confirmed)
    {
        if (_reads.Remove(id, out var waiter)) waiter.SetResult(confirmed);
    }

    private void FailProposals()
    {
        foreach (var (_, waiter) in _proposals.Values) waiter.SetResult(new ProposeResult(ProposeOutcome.Unknown, default));
        _proposals.Clear();
    }

    private void CompactIfLarge()
    {
        if (_log.EntryBytes < _compactAtBytes || _machine.CommitIndex <= _machine.SnapshotIndex) return;
        if (_log.EntryBytes < 2 * (_machine.Snapshot?.Image.LongLength ?? 0)) return;
        var last = _machine.CommitIndex;
        var term = _machine.Entries[(int)(last - _machine.SnapshotIndex - 1)].Term;
        _machine.Compact(new RaftSnapshot(last, term, _machine.CommittedMembers, _state.ToImage()));
        var isDone = _log.TryRewrite(Durable());
        _compactAtBytes = isDone ? JournalLimits.LogBytesBeforeCompaction : _log.EntryBytes + JournalLimits.LogBytesBeforeRetry;
    }

    private RaftDurable Durable() => new(_machine.Vote, _formed, _machine.Snapshot, _machine.Entries);

    private RaftStatus StatusNow() => new(
        _machine.Role, _machine.Term, _machine.Leader, _machine.CommitIndex, _machine.LastIndex, _machine.Members,
        _machine.CommittedMembers)
    { LogBytes = _log.EntryBytes };

    private static string Describe(RaftMembers members) =>
        string.Join(", ", members.All.Select(m => m.IsVoter ? m.Node.Name : $"{m.Node.Name} (learner)"));

    private void Publish()
    {
        var (old, now) = (_status, StatusNow());
        if (old == now) return;
        _status = now;
        var roleChanged = old.Role != now.Role || old.Term != now.Term || old.Leader != now.Leader;
        if (!roleChanged && old.Members == now.Members && old.Committed == now.Committed) return;
        if (roleChanged) LogRole(_logger, now.Role, now.Term, now.Members.NameOf(now.Leader) ?? "none");
        Changed?.Invoke(now);
    }

    private void End(Exception? why)
    {
        List<Input> left;
        lock (_gate)
        {
            left = [.. _taken, .. _inbox];
            if (why is null) _stopped.SetResult();
            else _stopped.SetException(why);
        }
        _status = _status with { Role = RaftRole.Follower, Leader = -1 };
        foreach (var input in left) Refuse(input);
        FailProposals();
        foreach (var waiter in _reads.Values) waiter.SetResult(false);
        _reads.Clear();
        if (left.Count > 0) _room.Release(left.Count);
    }

    private static void Refuse(Input input)
    {
        if (input is Input.Proposal p) p.Waiter.TrySetResult(new ProposeResult(ProposeOutcome.Unknown, default));
        if (input is Input.Read r) r.Waiter.TrySetResult(false);
        if (input is Input.Leave l) l.Waiter.TrySetResult(false);
        if (input is Input.Look k) k.Waiter.TrySetResult([]);
        if (input is Input.Copy y) y.Waiter.TrySetResult(null);
        if (input is Input.Change c) c.Waiter.TrySetResult(MembersChange.Unset);
    }

    private abstract record Input
    {
        public sealed record Message(RaftMessage Value) : Input;

        public sealed record Lost(int Peer) : Input;

        public sealed record Leave(TaskCompletionSource<bool> Waiter) : Input;

        public sealed record Look(TaskCompletionSource<IReadOnlyList<RaftProgress>> Waiter) : Input;

        public sealed record Copy(TaskCompletionSource<(RaftSnapshot?, RaftEntry[])?> Waiter) : Input;

        public sealed record Change(RaftMembers Seen, RaftMembers Wanted, TaskCompletionSource<MembersChange> Waiter) : Input;

        public sealed record Proposal(byte[] Command, TaskCompletionSource<ProposeResult> Waiter) : Input;

        public sealed record Read(TaskCompletionSource<bool> Waiter) : Input;
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Journal: {Role} in term {Term}, leader {Leader}")]
    private static partial void LogRole(ILogger logger, RaftRole role, long term, string leader);

    [LoggerMessage(Level = LogLevel.Information, Message = "Journal: the members are now {Members} (entry {Index})")]
    private static partial void LogMembers(ILogger logger, string members, long index);

    [LoggerMessage(Level = LogLevel.Critical, Message = "Journal member halted: it can't go on without breaking a promise")]
    private static partial void LogHalted(ILogger logger, Exception e);
}
