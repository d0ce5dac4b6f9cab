using System.Collections.Concurrent;
using Cluster.Node.Journal.Format;
using Cluster.Node.Journal.Formation;
using Cluster.Node.Journal.Net;
using Cluster.Node.Journal.Raft;
using Cluster.Node.Journal.State;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Journal.Group;

/// <summary>
/// This node's part in the Raft group: runs a Raft member while the newest committed members name this node's data directory, and
/// none while they don't. A node is taken in by the leader's connection, which tells it the members; one that was taken out finds
/// out when nobody lets it in any more, by asking the leader. Thread-safe.
/// </summary>
internal sealed partial class GroupMember : IAsyncDisposable
{
    private static readonly TimeSpan LookEvery = TimeSpan.FromSeconds(2);

    private readonly JournalOptions _options;
    private readonly FormationMember _self;
    private readonly FormationRecord _record;
    private readonly JournalDialer _dialer;
    private readonly MetaLog _log;
    private readonly ILogger _logger;
    private readonly string _directory;
    private readonly MembersBook _book;
    private readonly PeerRoutes _routes;
    private readonly ConcurrentDictionary<Guid, JournalAddress> _seenAt = new();
    private readonly SemaphoreSlim _wake = new(1, 1);
    private volatile RaftNode? _raft;
    private volatile MetaExecutor? _executor;
    private volatile bool _doubted;

    public GroupMember(
        JournalOptions options, FormationFile file, FormationMember self, FormationRecord record, JournalDialer dialer, MetaLog log,
        ILogger logger)
    {
        (_options, _self, _record, _dialer, _log, _logger) = (options, self, record, dialer, log, logger);
        _directory = Path.Combine(options.DataDirectory, "raft");
        _book = new MembersBook(file, record, FileRaftLog.Exists(_directory));
        _routes = new PeerRoutes(Connect);
        _book.Changed += Wake;
    }

    public RaftNode? Raft => _raft;

    public MetaExecutor? Executor => _executor;

    public MembersBook Book => _book;

    /// <summary>Runs until cancelled. Throws when the Raft member had to halt: the process must end then.</summary>
    public async Task RunAsync(CancellationToken ct)
    {
        _log.Attach(_book);
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(ct);
        var looking = LookAsync(ending.Token);
        var never = Task.Delay(Timeout.Infinite, ending.Token);
        try
        {
            while (true)
            {
                await ReconcileAsync().ConfigureAwait(false);
                var woken = _wake.WaitAsync(ct);
                var ended = await Task.WhenAny(woken, _raft?.Stopped ?? never).ConfigureAwait(false);
                await ended.ConfigureAwait(false);
                if (ended != woken) return;
            }
        }
        finally
        {
            await ending.CancelAsync().ConfigureAwait(false);
            await looking.ConfigureAwait(false);
        }
    }

    public async ValueTask DisposeAsync()
    {
        _book.Changed -= Wake;
        await _routes.DisposeAsync().ConfigureAwait(false);
        if (_raft is { } raft) await raft.DisposeAsync().ConfigureAwait(false);
    }

    /// <summary>A member said hello from this address: it may have moved since the members were written down.</summary>
    public void Met(FormationMember node)
    {
        if (_book.Newest.Find(node.NodeId) is not null) _seenAt[node.NodeId] = node.Address;
    }

    public JournalAddress AddressOf(FormationMember node) => _seenAt.GetValueOrDefault(node.NodeId, node.Address);

    /// <summary>Whether this node may refuse one that is no member: only one that hears a leader knows who the members are.</summary>
    public bool IsStranger(Guid nodeId) =>
        _raft is { Status: { Leader: >= 0 } status } && status.Members.Find(nodeId) is null && _book.Newest.Find(nodeId) is null;

    public void OnMembers(byte[] body) => _book.Offer(RaftMembers.Decode(body));

    /// <summary>
    /// A message of a server that is not known here yet is dropped: the list that names it comes before it on its connection.
    /// </summary>
    public ValueTask OnRaftAsync(Guid from, byte[] body, CancellationToken ct)
    {
        var message = RaftMessageCodec.Decode(body);
        if (_raft is not { } raft) return ValueTask.CompletedTask;
        var sender = raft.Status.Members.Find(message.From) ?? _book.Newest.Find(message.From);
        if (sender is null) return ValueTask.CompletedTask;
        if (sender.Node.NodeId != from)
            throw new JournalFormatException($"a message of member {message.From} ({sender.Node.Name}) came from another node, {from}");
        return raft.PostAsync(message, ct);
    }

    private void Wake()
    {
        try
        {
            if (_wake.CurrentCount == 0) _wake.Release();
        }
        catch (SemaphoreFullException)
        {
            // Another thread woke it in the same moment.
        }
    }

    /// <summary>Brings what runs here in line with what is known of the members.</summary>
    private async Task ReconcileAsync()
    {
        if (_raft is { } running) _book.Offer(running.Status.Committed);
        var number = _book.Newest.Find(_self.NodeId)?.Number ?? GroupState.NoLog;
        if (_raft is { } other && other.Number != number) await StopAsync(other).ConfigureAwait(false);
        if (_raft is null && number >= 0) Start(number);
        var servers = _raft is null ? [] : _book.Newest.All.Concat(_raft.Status.Members.All).Where(m => m.Node.NodeId != _self.NodeId);
        await _routes.SetAsync([.. servers]).ConfigureAwait(false);
    }

    private void Start(int number)
    {
        // An empty log that votes and acknowledges as if it were the old one would break what the old one promised.
        if (_book.LogOf == number && !FileRaftLog.Exists(_directory))
        {
            throw new JournalFormatException($"the log of journal member {number} is gone from {_directory}; restore it, or empty "
                + $"{_options.DataDirectory} to come back as a new member");
        }
        var files = FileRaftLog.Open(_directory, _record.ClusterId, _book.Formed, _logger, out var durable);
        _book.NoteLog(number);
        var settings = new RaftSettings(number)
        {
            HeartbeatMs = _options.HeartbeatMs,
            ElectionMinMs = _options.ElectionMinMs,
            ElectionMaxMs = _options.ElectionMaxMs,
            EarlyElectionMaxMs = _options.EarlyElectionMaxMs,
        };
        var state = new MetaState();
        var raft = new RaftNode(settings, files, durable, state, _routes.Send, unchecked((ulong)Random.Shared.NextInt64()), _logger);
        raft.Changed += _ => Wake();
        LogMember(_logger, number, _book.Newest.IsVoter(number) ? "voter" : "learner");
        _executor = new MetaExecutor(raft, state, _book);
        _raft = raft;
        _log.Join(raft, _executor);
    }

    private async Task StopAsync(RaftNode raft)
    {
        LogNoMember(_logger, raft.Number);
        _log.Leave();
        (_raft, _executor) = (null, null);
        await raft.DisposeAsync().ConfigureAwait(false);
    }

    private PeerSender Connect(RaftMember member)
    {
        var target = new PeerTarget(member.Node.Name, member.Node.NodeId, () => AddressOf(member.Node));
        return new PeerSender(target, _dialer, () => _book.Newest,
            new PeerEvents(() => _raft?.PeerLost(member.Number), () => _doubted = true), _logger);
    }

    /// <summary>
    /// A node that is no member, or a member that hears no leader or was not let in, asks the leader who the members are.
    /// </summary>
    private async Task LookAsync(CancellationToken ct)
    {
        while (!ct.IsCancellationRequested)
        {
            var silent = _raft is not { } raft || raft.Status.Leader < 0;
            if (_doubted || silent)
            {
                _doubted = false;
                try
                {
                    _book.Offer((await _log.ReadMembersAsync(ct).ConfigureAwait(false)).Members);
                }
                catch (Exception e) when (e is MetaLogUnavailableException or OperationCanceledException)
                {
                    LogNotRead(_logger, e.Message);
                }
            }
            await Task.Delay(LookEvery, ct).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Journal: this node is member {Number}, a {Kind}")]
    private static partial void LogMember(ILogger logger, int number, string kind);

    [LoggerMessage(Level = LogLevel.Information, Message = "Journal: this node is member {Number} no more")]
    private static partial void LogNoMember(ILogger logger, int number);

    [LoggerMessage(Level = LogLevel.Debug, Message = "Journal: the members were not read: {Why}")]
    private static partial void LogNotRead(ILogger logger, string why);
}
