using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.CompilerServices;
using Cluster.Node.Journal.Format;
using Cluster.Node.Journal.Formation;
using Cluster.Node.Journal.Group;
using Cluster.Node.Journal.Net;
using Cluster.Node.Journal.Raft;
using Cluster.Node.Journal.State;

namespace Cluster.Node.Journal;

/// <summary>
/// <see cref="IMetaLog"/> on any node. Executes here when this node leads, else asks the leader, following hints, until the time limit.
/// Asking again is safe: reads change nothing, and a proposal keeps its id.
/// </summary>
internal sealed class MetaLog : IMetaLog
{
    /// <summary>Hints followed at once; then a pause, so that two nodes that point at each other are not hammered.</summary>
    private const int HintsInARowMax = 2;

    private readonly JournalOptions _options;
    private readonly JournalDialer _dialer;
    private readonly Func<FormationMember, JournalAddress> _addressOf;
    private readonly TaskCompletionSource<MembersBook> _formed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly ConcurrentDictionary<string, Task<RequestConnection>> _connections = new(StringComparer.Ordinal);
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _gate = new();
    private CancellationTokenSource _leaderLeft = new();
    private volatile MetaExecutor? _local;
    private volatile MetaLogStatus _status = new(MetaLogRole.Client, 0, null, 0, RaftMembers.Formed([]));
    private volatile RaftNode? _raft;

    /// <summary>Stopwatch's. Since then no leader is known, if none is.</summary>
    private long _leaderUnknownSince = Stopwatch.GetTimestamp();

    public MetaLog(JournalOptions options, JournalDialer dialer, Func<FormationMember, JournalAddress> addressOf)
    {
        (_options, _dialer, _addressOf) = (options, dialer, addressOf);
    }

    public event Action<MetaLogStatus>? LeaderChanged;

    public MetaLogStatus Status
    {
        get
        {
            var status = _raft is { } raft ? StatusOf(raft) : _status with { Members = Book?.Newest ?? _status.Members };
            // The second: its loss is only being told just now.
            return status.LeaderName is not null || _status.LeaderName is not null ? status : status with { LeaderUnknownFor = Stopwatch.GetElapsedTime(Volatile.Read(ref _leaderUnknownSince)) };
        }
    }

    private MembersBook? Book => _formed.Task.IsCompletedSuccessfully ? _formed.Task.Result : null;

    /// <summary>From now on the cluster is known; before, every operation waits.</summary>
    public void Attach(MembersBook book) => _formed.TrySetResult(book);

    /// <summary>This node is a member of the group from now on.</summary>
    public void Join(RaftNode raft, MetaExecutor local)
    {
        (_raft, _local) = (raft, local);
        raft.Changed += _ => OnChanged(raft);
        OnChanged(raft);
    }

    /// <summary>This node is a member no more: everything is forwarded.</summary>
    public void Leave()
    {
        (_raft, _local) = (null, null);
        Tell(_status with { Role = MetaLogRole.Client, LeaderName = null });
    }

    public async Task<MetaAnswer> ProposeAsync(MetaCommand command, CancellationToken ct)
    {
        var body = await AskAsync(JournalFrameKind.Propose, MetaCommandCodec.Encode(command), ct).ConfigureAwait(false);
        return MetaExecutor.DecodeAnswer(body);
    }

    public Task ReadBarrierAsync(CancellationToken ct) => ReadAsync(new MetaRead.Barrier(), ct);

    public async IAsyncEnumerable<MetaEvent> ReadEventsAsync(
        string persistenceId, long from, long to, long max, [EnumeratorCancellation] CancellationToken ct)
    {
        while (max > 0 && from <= to)
        {
            var page = Events(await ReadAsync(new MetaRead.Events(persistenceId, from, to, max), ct).ConfigureAwait(false));
            if (page.Count == 0) yield break;
            foreach (var e in page) yield return e;
            from = page[^1].SequenceNr + 1;
            max -= page.Count;
        }
    }

    public async Task<long> HighestSequenceNrAsync(string persistenceId, CancellationToken ct) =>
        Number(await ReadAsync(new MetaRead.Highest(persistenceId), ct).ConfigureAwait(false));

    public async Task<MetaSnapshot?> LoadSnapshotAsync(string persistenceId, MetaSnapshotRange range, CancellationToken ct) =>
        Snapshot(await ReadAsync(new MetaRead.Snapshot(persistenceId, range), ct).ConfigureAwait(false));

    public async Task<MetaKeyValue?> ReadKeyAsync(string key, CancellationToken ct) =>
        Keys(await ReadAsync(new MetaRead.Key(key), ct).ConfigureAwait(false)) is [var found, ..] ? found : null;

    public async Task<IReadOnlyList<MetaKeyValue>> ReadKeysAsync(string prefix, CancellationToken ct) =>
        Keys(await ReadAsync(new MetaRead.Keys(prefix), ct).ConfigureAwait(false));

    public async Task<GroupView> ReadMembersAsync(CancellationToken ct) =>
        GroupView.Decode(await ReadAsync(new MetaRead.Members(), ct).ConfigureAwait(false));

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        foreach (var name in _connections.Keys) await ForgetAsync(name, null).ConfigureAwait(false);
    }

    private Task<byte[]> ReadAsync(MetaRead read, CancellationToken ct) => AskAsync(JournalFrameKind.Read, read.Encode(), ct);

    private async Task<byte[]> AskAsync(JournalFrameKind kind, byte[] body, CancellationToken ct)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct, _stop.Token);
        limit.CancelAfter(_options.OperationTimeoutMs);
        var started = Stopwatch.GetTimestamp();
        var last = "no cluster is formed yet";
        try
        {
            var book = await _formed.Task.WaitAsync(limit.Token).ConfigureAwait(false);
            string? hint = null;
            for (var (attempt, hints) = (Random.Shared.Next(JournalLimits.GroupMax), 0); ; attempt++)
            {
                var target = TargetOf(book, hint, attempt);
                var reply = await TryOnceAsync(target, kind, body, limit.Token).ConfigureAwait(false);
                if (reply.Status == MetaReplyStatus.Done) return reply.Body;
                if (reply.Status == MetaReplyStatus.Invalid)
                    throw new JournalFormatException($"{target.Name} refused the request: {reply.Text}");
                if (reply.Status == MetaReplyStatus.NotLeader && reply.Body.Length > 0) book.Offer(RaftMembers.Decode(reply.Body));
                last = $"{target.Name}: {reply.Status} {reply.Text}";
                hint = reply.Status == MetaReplyStatus.NotLeader && reply.Text.Length > 0 && reply.Text != target.Name ? reply.Text : null;
                hints = hint is null ? 0 : hints + 1;
                if (hint is null || hints > HintsInARowMax)
                    await Task.Delay(Random.Shared.Next(1, _options.RetryPauseMaxMs + 1), limit.Token).ConfigureAwait(false);
            }
        }
        catch (OperationCanceledException) when (!ct.IsCancellationRequested)
        {
            throw new MetaLogUnavailableException(
                $"no leader of the journal answered in {Stopwatch.GetElapsedTime(started).TotalMilliseconds:F0} ms (last: {last})");
        }
    }

    /// <summary>
    /// Whom to ask: the one that was hinted at, the leader as far as it is known, else the members and the seeds in turn. A seed
    /// need be no member: any node tells who the members are.
    /// </summary>
    private Target TargetOf(MembersBook book, string? hint, int attempt)
    {
        if ((hint ?? KnownLeader()) is { } leader)
        {
            if (leader == _options.NodeName) return new Target(leader, null, IsMember: true);
            if (book.Newest.All.FirstOrDefault(m => m.Node.Name == leader) is { } known)
                return new Target(leader, _addressOf(known.Node), IsMember: true);
        }
        var members = book.Newest.All;
        var at = attempt % (members.Length + _options.Seeds.Count);
        if (at >= members.Length) return Seed(_options.Seeds[at - members.Length]);
        var node = members[at].Node;
        return new Target(node.Name, node.Name == _options.NodeName ? null : _addressOf(node), IsMember: true);
    }

    private static Target Seed(JournalAddress address) => new(address.ToString(), address, IsMember: false);

    private async Task<MetaReply> TryOnceAsync(Target target, JournalFrameKind kind, byte[] body, CancellationToken ct)
    {
        if (_local is { IsLeader: true } local)
        {
            var here = kind == JournalFrameKind.Propose ? local.ProposeAsync(body) : local.ReadAsync(body);
            return await here.WaitAsync(ct).ConfigureAwait(false);
        }
        if (target.Address is not { } address) return new MetaReply(MetaReplyStatus.NotLeader, KnownLeader() ?? "", []);
        var reply = await AskOtherAsync(target.Name, address, kind, body, ct).ConfigureAwait(false);
        if (!target.IsMember) return reply;
        if (reply.Status == MetaReplyStatus.Done) Learn(target.Name);
        else if (reply.Status != MetaReplyStatus.Busy) Unlearn(target.Name);
        return reply;
    }

    private async Task<MetaReply> AskOtherAsync(
        string name, JournalAddress address, JournalFrameKind kind, byte[] body, CancellationToken ct)
    {
        RequestConnection? connection = null;
        using var either = CancellationTokenSource.CreateLinkedTokenSource(ct, Volatile.Read(ref _leaderLeft).Token);
        try
        {
            connection = await ConnectAsync(name, address).WaitAsync(either.Token).ConfigureAwait(false);
            var answer = await connection.AskAsync(kind, body, _options.RequestTimeoutMs, either.Token).ConfigureAwait(false);
            return MetaReply.Decode(answer);
        }
        catch (OperationCanceledException) when (!ct.IsCancellationRequested)
        {
            return new MetaReply(MetaReplyStatus.Unknown, "the leader changed meanwhile", []);
        }
        catch (Exception e) when (JournalDialer.IsNoAnswer(e))
        {
            await ForgetAsync(name, connection).ConfigureAwait(false);
            return new MetaReply(MetaReplyStatus.Unknown, e.Message, []);
        }
    }

    private Task<RequestConnection> ConnectAsync(string name, JournalAddress address)
    {
        lock (_gate)
        {
            if (_connections.TryGetValue(name, out var known) && !known.IsFaulted
                && !(known.IsCompletedSuccessfully && known.Result.IsBroken))
                return known;
            return _connections[name] = OpenAsync(address);
        }
    }

    private async Task<RequestConnection> OpenAsync(JournalAddress address)
    {
        var (connection, _) = await _dialer.ConnectAsync(address, HelloPurpose.Client, _stop.Token).ConfigureAwait(false);
        return new RequestConnection(connection);
    }

    /// <summary>Closes the connection to a member; if <paramref name="broken"/> is given, only when it is still that one.</summary>
    private async Task ForgetAsync(string name, RequestConnection? broken)
    {
        Task<RequestConnection>? known;
        lock (_gate)
        {
            if (!_connections.TryGetValue(name, out known)) return;
            if (broken is not null && known.IsCompletedSuccessfully && known.Result != broken) return;
            if (broken is null && !known.IsCompleted && !_stop.IsCancellationRequested) return;
            _connections.TryRemove(name, out _);
        }
        await ((Task)known).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (known.IsCompletedSuccessfully) await known.Result.DisposeAsync().ConfigureAwait(false);
    }

    private string? KnownLeader() => _raft is { } raft ? StatusOf(raft).LeaderName : _status.LeaderName;

    private void Learn(string leader)
    {
        if (_raft is null && _status.LeaderName != leader) Tell(_status with { LeaderName = leader });
    }

    private void Unlearn(string leader)
    {
        if (_raft is null && _status.LeaderName == leader) Tell(_status with { LeaderName = null });
    }

    private MetaLogStatus StatusOf(RaftNode raft)
    {
        var status = raft.Status;
        var role = status.Role == RaftRole.Leader ? MetaLogRole.Leader
            : status.Members.IsVoter(raft.Number) ? MetaLogRole.Follower : MetaLogRole.Learner;
        var leader = status.Members.NameOf(status.Leader) ?? Book?.Newest.NameOf(status.Leader);
        return new MetaLogStatus(role, status.Term, leader, status.CommitIndex, status.Committed) { LogBytes = status.LogBytes };
    }

    private void OnChanged(RaftNode raft)
    {
        if (_raft == raft) Tell(StatusOf(raft));
    }

    private void Tell(MetaLogStatus status)
    {
        CancellationTokenSource? left = null;
        lock (_gate)
        {
            if (_raft is not null && _status.LeaderName is not null && _status.LeaderName != status.LeaderName)
                left = Interlocked.Exchange(ref _leaderLeft, new());
            if (_status.LeaderName is not null && status.LeaderName is null) Volatile.Write(ref _leaderUnknownSince, Stopwatch.GetTimestamp());
            _status = status;
        }
        left?.Cancel();
        LeaderChanged?.Invoke(status);
    }

    private static IReadOnlyList<MetaEvent> Events(byte[] body)
    {
        var reader = new JournalReader(body);
        var events = MetaRead.ReadEvents(ref reader);
        reader.End();
        return events;
    }

    private static IReadOnlyList<MetaKeyValue> Keys(byte[] body)
    {
        var reader = new JournalReader(body);
        var keys = MetaRead.ReadKeys(ref reader);
        reader.End();
        return keys;
    }

    private static long Number(byte[] body)
    {
        var reader = new JournalReader(body);
        var number = reader.I64();
        reader.End();
        return number;
    }

    private static MetaSnapshot? Snapshot(byte[] body)
    {
        var reader = new JournalReader(body);
        var snapshot = reader.Flag() ? MetaCommandCodec.ReadSnapshot(ref reader) : null;
        reader.End();
        return snapshot;
    }

    /// <summary>A node to ask. Address: null for this node itself.</summary>
    private readonly record struct Target(string Name, JournalAddress? Address, bool IsMember);
}
