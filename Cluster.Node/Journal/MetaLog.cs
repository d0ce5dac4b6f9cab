using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using Cluster.Node.Journal.Format;
using Cluster.Node.Journal.Formation;
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
    private readonly TaskCompletionSource<FormationRecord> _formed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly ConcurrentDictionary<string, Task<RequestConnection>> _connections = new(StringComparer.Ordinal);
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _gate = new();
    private CancellationTokenSource _leaderLeft = new();
    private volatile MetaExecutor? _local;
    private volatile MetaLogStatus _status = new(MetaLogRole.Client, 0, null, 0, []);
    private RaftNode? _raft;
    private string[] _names = [];

    public MetaLog(JournalOptions options, JournalDialer dialer, Func<FormationMember, JournalAddress> addressOf)
    {
        (_options, _dialer, _addressOf) = (options, dialer, addressOf);
    }

    public event Action<MetaLogStatus>? LeaderChanged;

    public MetaLogStatus Status => _raft is { } raft ? StatusOf(raft.Status) : _status;

    /// <summary>
    /// From now on the cluster is known; before, every operation waits. Raft is null on a node that is no control member.
    /// </summary>
    public void Attach(FormationRecord record, RaftNode? raft, MetaExecutor? local)
    {
        _names = [.. record.Members.Select(m => m.Name)];
        _status = _status with { Members = _names };
        _raft = raft;
        _local = local;
        if (raft is not null)
        {
            raft.Changed += status => Tell(StatusOf(status));
            Tell(StatusOf(raft.Status));
        }
        _formed.TrySetResult(record);
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
            var record = await _formed.Task.WaitAsync(limit.Token).ConfigureAwait(false);
            string? hint = null;
            for (var (attempt, hints) = (Random.Shared.Next(record.Members.Count), 0); ; attempt++)
            {
                var (reply, target) = await TryOnceAsync(record, hint, attempt, kind, body, limit.Token).ConfigureAwait(false);
                if (reply.Status == MetaReplyStatus.Done) return reply.Body;
                if (reply.Status == MetaReplyStatus.Invalid)
                    throw new JournalFormatException($"{target} refused the request: {reply.Text}");
                last = $"{target}: {reply.Status} {reply.Text}";
                hint = reply.Status == MetaReplyStatus.NotLeader && reply.Text.Length > 0 && reply.Text != target ? reply.Text : null;
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

    private async Task<(MetaReply Reply, string Target)> TryOnceAsync(
        FormationRecord record, string? hint, int attempt, JournalFrameKind kind, byte[] body, CancellationToken ct)
    {
        if (_local is { IsLeader: true } local)
        {
            var here = kind == JournalFrameKind.Propose ? local.ProposeAsync(body) : local.ReadAsync(body);
            return (await here.WaitAsync(ct).ConfigureAwait(false), _options.NodeName);
        }
        var target = hint ?? KnownLeader() ?? record.Members[attempt % record.Members.Count].Name;
        if (target == _options.NodeName) return (new MetaReply(MetaReplyStatus.NotLeader, KnownLeader() ?? "", []), target);
        var member = record.Members.FirstOrDefault(m => m.Name == target);
        if (member is null) return (new MetaReply(MetaReplyStatus.NotLeader, "", []), target);
        var reply = await AskOtherAsync(member, kind, body, ct).ConfigureAwait(false);
        if (reply.Status == MetaReplyStatus.Done) Learn(target);
        else if (reply.Status != MetaReplyStatus.Busy) Unlearn(target);
        return (reply, target);
    }

    private async Task<MetaReply> AskOtherAsync(FormationMember member, JournalFrameKind kind, byte[] body, CancellationToken ct)
    {
        RequestConnection? connection = null;
        using var either = CancellationTokenSource.CreateLinkedTokenSource(ct, Volatile.Read(ref _leaderLeft).Token);
        try
        {
            connection = await ConnectAsync(member).WaitAsync(either.Token).ConfigureAwait(false);
            var answer = await connection.AskAsync(kind, body, _options.RequestTimeoutMs, either.Token).ConfigureAwait(false);
            return MetaReply.Decode(answer);
        }
        catch (OperationCanceledException) when (!ct.IsCancellationRequested)
        {
            return new MetaReply(MetaReplyStatus.Unknown, "the leader changed meanwhile", []);
        }
        catch (Exception e)
            when (e is IOException or SocketException or JournalFormatException or JournalRefusedException or ObjectDisposedException)
        {
            await ForgetAsync(member.Name, connection).ConfigureAwait(false);
            return new MetaReply(MetaReplyStatus.Unknown, e.Message, []);
        }
    }

    private Task<RequestConnection> ConnectAsync(FormationMember member)
    {
        lock (_gate)
        {
            if (_connections.TryGetValue(member.Name, out var known) && !known.IsFaulted
                && !(known.IsCompletedSuccessfully && known.Result.IsBroken))
                return known;
            return _connections[member.Name] = OpenAsync(member);
        }
    }

    private async Task<RequestConnection> OpenAsync(FormationMember member)
    {
        var (connection, _) = await _dialer.ConnectAsync(_addressOf(member), HelloPurpose.Client, _stop.Token).ConfigureAwait(false);
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

    private string? KnownLeader() => _raft is { } raft ? StatusOf(raft.Status).LeaderName : _status.LeaderName;

    private void Learn(string leader)
    {
        if (_raft is null && _status.LeaderName != leader) Tell(_status with { LeaderName = leader });
    }

    private void Unlearn(string leader)
    {
        if (_raft is null && _status.LeaderName == leader) Tell(_status with { LeaderName = null });
    }

    private MetaLogStatus StatusOf(RaftStatus status)
    {
        var role = status.Role == RaftRole.Leader ? MetaLogRole.Leader : MetaLogRole.Follower;
        return new MetaLogStatus(role, status.Term, status.Leader >= 0 ? _names[status.Leader] : null, status.CommitIndex, _names);
    }

    private void Tell(MetaLogStatus status)
    {
        CancellationTokenSource? left = null;
        lock (_gate)
        {
            if (_raft is not null && _status.LeaderName is not null && _status.LeaderName != status.LeaderName)
                left = Interlocked.Exchange(ref _leaderLeft, new());
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
}
