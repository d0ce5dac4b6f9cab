using System.Collections.Concurrent;
using Cluster.Node.Journal.Formation;
using Cluster.Node.Journal.Net;
using Cluster.Node.Journal.Raft;
using Cluster.Node.Journal.State;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Journal;

/// <summary>
/// A node's part in the metadata journal: listens on the journal port, finds or forms the cluster, runs a Raft member when this
/// node is a
/// control member, and gives everybody in the process an <see cref="IMetaLog"/>. Thread-safe.
/// </summary>
public sealed partial class JournalNode : IJournalService, IAsyncDisposable
{
    private const int HandOverWaitMs = 300;

    private readonly JournalOptions _options;
    private readonly ILogger _logger;
    private readonly Func<AkkaSelf?> _akka;
    private readonly FormationMember _self;
    private readonly ClusterFormation _formation;
    private readonly JournalDialer _dialer;
    private readonly JournalListener _listener;
    private readonly MetaLog _log;
    private readonly ConcurrentDictionary<string, JournalAddress> _addresses = new(StringComparer.Ordinal);
    private readonly CancellationTokenSource _stop = new();
    private readonly TaskCompletionSource _stopped = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile RaftNode? _raft;
    private volatile MetaExecutor? _executor;
    private volatile PeerSender?[] _senders = [];
    private Task _running = Task.CompletedTask;

    private JournalNode(JournalOptions options, ILoggerFactory loggers, Func<AkkaSelf?> akka)
    {
        (_options, _akka) = (options, akka);
        _logger = loggers.CreateLogger("Cluster.Node.Journal");
        var file = FormationFile.Open(options.DataDirectory, options.NodeId);
        _listener = new JournalListener(options.ListenHost, options.ListenPort, options.ConnectTimeoutMs, this, _logger);
        Address = new JournalAddress(options.AdvertisedHost ?? options.ListenHost, _listener.Port);
        _self = new FormationMember(options.NodeName, file.NodeId, Address);
        _dialer = new JournalDialer(MyHello, options.ConnectTimeoutMs);
        _formation = new ClusterFormation(options, file, _self, _dialer, _logger);
        _log = new MetaLog(options, _dialer, AddressOf);
    }

    /// <summary>Where others reach this node's journal.</summary>
    public JournalAddress Address { get; }

    public Guid NodeId => _self.NodeId;

    /// <summary>Usable at once; operations wait (within their time limit) until a cluster is there.</summary>
    public IMetaLog Log => _log;

    /// <summary>Completes with the cluster once this node belongs to one, durably.</summary>
    public Task<FormationRecord> Formed => _formation.Formed;

    /// <summary>Ends with the journal. Faults when the Raft member had to halt: the process must then end too, loudly.</summary>
    public Task Stopped => _stopped.Task;

    /// <summary>Starts listening and looking for the cluster. Throws on settings or files that can't be right.</summary>
    public static JournalNode Start(JournalOptions options, ILoggerFactory loggers, Func<AkkaSelf?>? akka = null)
    {
        if (string.IsNullOrWhiteSpace(options.NodeName)) throw new ArgumentException("a node needs a name", nameof(options));
        if (options.ExpectedNodes > 1 && options.Seeds.Count == 0)
            throw new ArgumentException(
                $"bootstrap-expect {options.ExpectedNodes} needs seeds: the same list on every node", nameof(options));
        if (options.ExpectedNodes > 0 && options.Seeds.Count >= 2 * options.ExpectedNodes)
        {
            throw new ArgumentException(
                $"{options.Seeds.Count} seeds are too many for bootstrap-expect {options.ExpectedNodes}: more than half of them must take part",
                nameof(options));
        }
        var node = new JournalNode(options, loggers, akka ?? (() => null));
        node._listener.Start();
        node._running = Task.Run(node.RunAsync);
        return node;
    }

    /// <summary>
    /// What the node at <paramref name="address"/> says of itself, or null if it does not answer or is not of this cluster.
    /// </summary>
    public async Task<HelloAnswer?> AskAsync(JournalAddress address, CancellationToken ct)
    {
        try
        {
            var (connection, answer) = await _dialer.ConnectAsync(address, HelloPurpose.Ask, ct).ConfigureAwait(false);
            await connection.DisposeAsync().ConfigureAwait(false);
            return answer;
        }
        catch (Exception e)
            when (e is IOException or System.Net.Sockets.SocketException or JournalRefusedException or Format.JournalFormatException)
        {
            return null;
        }
    }

    /// <summary>
    /// Leaves the leadership to another member if this node has it, so that a planned stop is no failover. Waits a moment at most.
    /// </summary>
    public async Task HandOverAsync()
    {
        if (_raft is not { } raft || raft.Status.Role != RaftRole.Leader) return;
        var left = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        void OnChange(RaftStatus status)
        {
            if (status.Role != RaftRole.Leader && status.Leader >= 0) left.TrySetResult();
        }
        raft.Changed += OnChange;
        raft.HandOver();
        await Task.WhenAny(left.Task, Task.Delay(HandOverWaitMs)).ConfigureAwait(false);
        raft.Changed -= OnChange;
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _log.DisposeAsync().ConfigureAwait(false);
        foreach (var sender in _senders)
            if (sender is not null) await sender.DisposeAsync().ConfigureAwait(false);
        if (_raft is { } raft) await raft.DisposeAsync().ConfigureAwait(false);
        await _listener.DisposeAsync().ConfigureAwait(false);
        _stopped.TrySetResult();
    }

    HelloAnswer IJournalService.Welcome(Hello hello)
    {
        var state = _formation.State;
        var refusal = Judge(hello, state.Record);
        if (refusal.Length == 0) Note(hello, state.Record);
        return new HelloAnswer(refusal, _self, state, _options.ExpectedNodes)
        {
            LeaderName = _log.Status.LeaderName ?? "",
            Akka = _akka(),
            Known = state.Record is null ? _formation.Known : [],
        };
    }

    ValueTask IJournalService.OnRaftAsync(Hello from, byte[] body, CancellationToken ct)
    {
        var message = RaftMessageCodec.Decode(body);
        if (_formation.State.Record?.NumberOf(from.Node.Name, from.Node.NodeId) != message.From)
            throw new Format.JournalFormatException($"a Raft message of member {message.From} came from {from.Node.Name}");
        return _raft is { } raft ? raft.PostAsync(message, ct) : ValueTask.CompletedTask;
    }

    async Task<byte[]> IJournalService.OnProposeAsync(byte[] body, CancellationToken ct) =>
        (_executor is { } e ? await e.ProposeAsync(body).WaitAsync(ct).ConfigureAwait(false) : NotHere()).Encode();

    async Task<byte[]> IJournalService.OnReadAsync(byte[] body, CancellationToken ct) =>
        (_executor is { } e ? await e.ReadAsync(body).WaitAsync(ct).ConfigureAwait(false) : NotHere()).Encode();

    Task<byte[]> IJournalService.OnFormationAsync(byte[] body, CancellationToken ct) =>
        Task.FromResult(_formation.Answer(FormationRequest.Decode(body)).Encode());

    private async Task RunAsync()
    {
        try
        {
            await _formation.RunAsync(_stop.Token).ConfigureAwait(false);
            if (_stop.IsCancellationRequested) return;
            var record = await _formation.Formed.ConfigureAwait(false);
            StartMember(record);
            if (_raft is { } raft) await raft.Stopped.WaitAsync(_stop.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            return;
        }
        catch (Exception e)
        {
            LogFailed(_logger, e);
            _stopped.TrySetException(e);
        }
    }

    private void StartMember(FormationRecord record)
    {
        var number = record.NumberOf(_self.Name, _self.NodeId);
        if (number < 0)
        {
            LogClient(_logger, record.ClusterId);
            _log.Attach(record, null, null);
            return;
        }
        var files = FileRaftLog.Open(Path.Combine(_options.DataDirectory, "raft"), record.ClusterId, _logger, out var durable);
        var settings = new RaftSettings(number, record.Members.Count)
        {
            HeartbeatMs = _options.HeartbeatMs,
            ElectionMinMs = _options.ElectionMinMs,
            ElectionMaxMs = _options.ElectionMaxMs,
            EarlyElectionMaxMs = _options.EarlyElectionMaxMs,
        };
        var state = new MetaState();
        var raft = new RaftNode(settings, files, durable, state, Send, unchecked((ulong)Random.Shared.NextInt64()), _logger);
        var executor = new MetaExecutor(raft, state, [.. record.Members.Select(m => m.Name)]);
        _senders = [.. record.Members.Select((m, i) => i == number ? null : SenderTo(m, i, raft))];
        _executor = executor;
        _raft = raft;
        _log.Attach(record, raft, executor);
    }

    private PeerSender SenderTo(FormationMember member, int number, RaftNode raft) =>
        new(member.Name, () => AddressOf(member), _dialer, () => raft.PeerLost(number), _logger);

    private void Send(RaftMessage message)
    {
        var senders = _senders;
        if (message.To < senders.Length) senders[message.To]?.Send(message);
    }

    private JournalAddress AddressOf(FormationMember member) => _addresses.GetValueOrDefault(member.Name, member.Address);

    private Hello MyHello(HelloPurpose purpose)
    {
        var record = _formation.State.Record;
        return new Hello(purpose, _self, record?.ClusterId ?? Guid.Empty, record?.Era ?? Guid.Empty);
    }

    /// <summary>Why this caller is refused, or an empty text.</summary>
    private string Judge(Hello hello, FormationRecord? record)
    {
        if (record is not null && hello.ClusterId != Guid.Empty && hello.ClusterId != record.ClusterId)
            return $"this node is of cluster {record.ClusterId}, you are of {hello.ClusterId}";
        if (record is not null && hello.Era != Guid.Empty && hello.Era != record.Era)
            return $"this node is of recovery era {record.Era}, you are of {hello.Era}";
        if (hello.Purpose == HelloPurpose.Ask) return "";
        if (record is null || hello.ClusterId != record.ClusterId) return "this connection is for nodes of one cluster";
        if (record.NumberOf(_self.Name, _self.NodeId) < 0) return "this node is no control member";
        if (hello.Purpose == HelloPurpose.Peer && record.NumberOf(hello.Node.Name, hello.Node.NodeId) < 0)
            return "you are no control member of this cluster";
        return "";
    }

    private void Note(Hello hello, FormationRecord? record)
    {
        if (record is null && hello.ClusterId == Guid.Empty) _formation.Met(hello.Node);
        else if (record?.NumberOf(hello.Node.Name, hello.Node.NodeId) >= 0) _addresses[hello.Node.Name] = hello.Node.Address;
    }

    private MetaReply NotHere() => new(MetaReplyStatus.NotLeader, _log.Status.LeaderName ?? "", []);

    [LoggerMessage(Level = LogLevel.Information, Message = "Joined cluster {ClusterId} as a node that is no control member")]
    private static partial void LogClient(ILogger logger, Guid clusterId);

    [LoggerMessage(Level = LogLevel.Critical, Message = "The metadata journal of this node failed")]
    private static partial void LogFailed(ILogger logger, Exception e);
}
