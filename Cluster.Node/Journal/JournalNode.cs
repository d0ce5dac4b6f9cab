using System.Diagnostics;
using Cluster.Node.Journal.Formation;
using Cluster.Node.Journal.Group;
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
    private const int HandOverWaitMs = 1500;

    /// <summary>Times that an earlier address of this node is asked whether it is somebody.</summary>
    private const int TwinAsksMax = 3;

    private readonly JournalOptions _options;
    private readonly ILogger _logger;
    private readonly Func<AkkaSelf?> _akka;
    private readonly FormationMember _self;
    private readonly ClusterFormation _formation;
    private readonly JournalDialer _dialer;
    private readonly JournalListener _listener;
    private readonly MetaLog _log;
    private readonly FormationFile _file;
    private readonly CancellationTokenSource _stop = new();
    private readonly TaskCompletionSource _stopped = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile GroupMember? _group;
    private Task _running = Task.CompletedTask;

    private JournalNode(JournalOptions options, ILoggerFactory loggers, Func<AkkaSelf?> akka)
    {
        (_options, _akka) = (options, akka);
        _logger = loggers.CreateLogger("Cluster.Node.Journal");
        _file = FormationFile.Open(options.DataDirectory, options.NodeId);
        _listener = new JournalListener(options.ListenHost, options.ListenPort, options.ConnectTimeoutMs, this, _logger);
        Address = new JournalAddress(options.AdvertisedHost ?? options.ListenHost, _listener.Port);
        _self = new FormationMember(options.NodeName, _file.NodeId, Address);
        _dialer = new JournalDialer(MyHello, options.ConnectTimeoutMs);
        _formation = new ClusterFormation(options, _file, _self, _dialer, _logger);
        _log = new MetaLog(options, _dialer, node => _group?.AddressOf(node) ?? node.Address);
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

    /// <summary>The cluster that this node belongs to, durably; null: none yet.</summary>
    public FormationRecord? Record => _formation.State.Record;

    /// <summary>What the control group calls the identity in this directory; null: it is no member, as far as is known here.</summary>
    public string? NameInGroup => _file.Group?.Members.Find(NodeId)?.Node.Name;

    /// <summary>This node is a control member, and the log of that lies in its directory.</summary>
    public bool HasLog => _group?.Raft is not null;

    /// <summary>See <see cref="RaftNode.GuessStateAsync"/>; null also on a node without a log.</summary>
    public Task<MetaState?> GuessStateAsync() => _group?.Raft?.GuessStateAsync() ?? Task.FromResult<MetaState?>(null);

    /// <summary>
    /// An operator has decided that the cluster of this node's store goes on with these control members, in a new era. False: this node has a cluster that has a journal.
    /// On media when it returns.
    /// </summary>
    public bool Recover(FormationRecord record) => _formation.Recover(record);

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
        catch (Exception e) when (JournalDialer.IsNoAnswer(e))
        {
            return null;
        }
    }

    /// <summary>Whether that very node, of this cluster, answers on its journal port. Within <see cref="JournalOptions.ConnectTimeoutMs"/>.</summary>
    public async Task<bool> IsUpAsync(NodeRecord node, CancellationToken ct)
    {
        var answer = await AskAsync(new JournalAddress(node.Host, node.JournalPort), ct).ConfigureAwait(false);
        return answer?.Node.NodeId == node.NodeId && answer.State.Record?.ClusterId == Record?.ClusterId;
    }

    /// <summary>
    /// Whether another process answers there with this node's identity: one on a copy of this data directory, or on the one that this is a copy of. Asked a few times, since one that is there may be too busy to
    /// answer once. By what it says of its Akka side it is told from this process, which may be reached under an earlier address of its own.
    /// </summary>
    public async Task<bool> IsTwinAtAsync(JournalAddress address, CancellationToken ct)
    {
        for (var ask = 0; ask < TwinAsksMax; ask++)
        {
            var answer = await AskAsync(address, ct).ConfigureAwait(false);
            if (answer is not null) return answer.Node.NodeId == NodeId && answer.Akka is { } other && other.Uid != _akka()?.Uid;
        }
        return false;
    }

    /// <summary>
    /// Leaves the leadership to another member if this node has it, so that a planned stop is no failover. Waits a moment at most.
    /// </summary>
    public async Task HandOverAsync()
    {
        if (_group?.Raft is not { } raft || raft.Status.Role != RaftRole.Leader) return;
        var started = Stopwatch.GetTimestamp();
        var left = new TaskCompletionSource<RaftStatus>(TaskCreationOptions.RunContinuationsAsynchronously);
        void OnChange(RaftStatus status)
        {
            if (status.Role != RaftRole.Leader && status.Leader >= 0) left.TrySetResult(status);
        }
        raft.Changed += OnChange;
        try
        {
            if (!await raft.HandOverAsync().ConfigureAwait(false))
            {
                LogNobody(_logger);
                return;
            }
            var status = await left.Task.WaitAsync(TimeSpan.FromMilliseconds(HandOverWaitMs)).ConfigureAwait(false);
            LogHandedOver(_logger, status.Members.NameOf(status.Leader) ?? "", Stopwatch.GetElapsedTime(started).TotalMilliseconds);
        }
        catch (TimeoutException)
        {
            LogNotHandedOver(_logger, HandOverWaitMs);
        }
        finally
        {
            raft.Changed -= OnChange;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _log.DisposeAsync().ConfigureAwait(false);
        if (_group is { } group) await group.DisposeAsync().ConfigureAwait(false);
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

    ValueTask IJournalService.OnRaftAsync(Hello from, byte[] body, CancellationToken ct) =>
        _group is { } group ? group.OnRaftAsync(from.Node.NodeId, body, ct) : ValueTask.CompletedTask;

    void IJournalService.OnMembers(Hello from, byte[] body) => _group?.OnMembers(body);

    async Task<byte[]> IJournalService.OnProposeAsync(byte[] body, CancellationToken ct) =>
        (_group?.Executor is { } e ? await e.ProposeAsync(body).WaitAsync(ct).ConfigureAwait(false) : NotHere()).Encode();

    async Task<byte[]> IJournalService.OnReadAsync(byte[] body, CancellationToken ct) =>
        (_group?.Executor is { } e ? await e.ReadAsync(body).WaitAsync(ct).ConfigureAwait(false) : NotHere()).Encode();

    Task<byte[]> IJournalService.OnFormationAsync(byte[] body, CancellationToken ct) =>
        Task.FromResult(_formation.Answer(FormationRequest.Decode(body)).Encode());

    private async Task RunAsync()
    {
        try
        {
            await _formation.RunAsync(_stop.Token).ConfigureAwait(false);
            if (_stop.IsCancellationRequested) return;
            var record = await _formation.Formed.ConfigureAwait(false);
            await RefuseTwinAsync().ConfigureAwait(false);
            var group = new GroupMember(_options, _file, _self, record, _dialer, _log, _logger);
            _group = group;
            var keeping = new GroupKeeper(_options, record, group, new NodeDirectory(_log), AskAsync, _logger).RunAsync(_stop.Token);
            try
            {
                await group.RunAsync(_stop.Token).ConfigureAwait(false);
            }
            finally
            {
                await _stop.CancelAsync().ConfigureAwait(false);
                await keeping.ConfigureAwait(false);
            }
        }
        catch (OperationCanceledException)
        {
            return;
        }
        catch (NodeTwinException e)
        {
            _stopped.TrySetException(e);
        }
        catch (Exception e)
        {
            LogFailed(_logger, e);
            _stopped.TrySetException(e);
        }
    }

    /// <summary>Before this node takes part in the group: two members with one vote, or one that comes back without what it had acknowledged, could lose what the group agreed on.</summary>
    private async Task RefuseTwinAsync()
    {
        if (_file.Group?.Members.Find(NodeId) is not { } member || member.Node.Address == _self.Address) return;
        if (await IsTwinAtAsync(member.Node.Address, _stop.Token).ConfigureAwait(false)) throw new NodeTwinException(NodeDirectory.TwinText(_options.NodeName, member.Node.Address));
    }

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
        if (hello.Purpose == HelloPurpose.Peer && _group?.IsStranger(hello.Node.NodeId) == true)
            return "you are no control member of this cluster";
        return "";
    }

    private void Note(Hello hello, FormationRecord? record)
    {
        if (record is null && hello.ClusterId == Guid.Empty) _formation.Met(hello.Node);
        else _group?.Met(hello.Node);
    }

    private MetaReply NotHere() => _group is { } group
        ? MetaReply.NotLeader(_log.Status.LeaderName ?? "", group.Book.Newest)
        : new MetaReply(MetaReplyStatus.NotLeader, "", []);

    [LoggerMessage(Level = LogLevel.Information, Message = "Journal: {Leader} leads now, handed over in {Milliseconds:F0} ms")]
    private static partial void LogHandedOver(ILogger logger, string leader, double milliseconds);

    [LoggerMessage(Level = LogLevel.Information, Message = "Journal: no other voter answers that could take the leadership over")]
    private static partial void LogNobody(ILogger logger);

    [LoggerMessage(
        Level = LogLevel.Warning, Message = "Journal: the leadership was not taken over within {Milliseconds} ms; an election will follow")]
    private static partial void LogNotHandedOver(ILogger logger, int milliseconds);

    [LoggerMessage(Level = LogLevel.Critical, Message = "The metadata journal of this node failed")]
    private static partial void LogFailed(ILogger logger, Exception e);
}
