using System.Collections.Concurrent;
using System.Net;
using Cluster.Node.Journal.Net;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Journal.Formation;

/// <summary>
/// The shell of <see cref="FormationMachine"/>: says hello to the seeds and everybody they know, in rounds, until this node
/// belongs to a
/// cluster. Each change of the state is on disk before anybody hears of it.
/// </summary>
internal sealed partial class ClusterFormation
{
    private readonly JournalOptions _options;
    private readonly FormationFile _file;
    private readonly FormationMachine _machine;
    private readonly FormationMember _self;
    private readonly JournalDialer _dialer;
    private readonly ILogger _logger;
    private readonly SeedAddresses _seeds;
    private bool _toldTooMany;
    private readonly Lock _gate = new();
    private readonly ConcurrentDictionary<Guid, FormationMember> _known = new();
    private readonly TaskCompletionSource<FormationRecord> _formed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public ClusterFormation(JournalOptions options, FormationFile file, FormationMember self, JournalDialer dialer, ILogger logger)
    {
        (_options, _file, _self, _dialer, _logger) = (options, file, self, dialer, logger);
        _seeds = new SeedAddresses(options.Seeds, options.ListenHost, options.LookUp ?? Dns.GetHostAddressesAsync, TimeProvider.System, logger);
        _machine = new FormationMachine(self, options.ExpectedNodes, options.Seeds.Count, file.State, Guid.NewGuid, options.ClusterOfStore, options.ErasPutAside);
        if (file.State.Record is { } record) _formed.SetResult(record);
    }

    public FormationState State
    {
        get { lock (_gate) return _file.State; }
    }

    /// <summary>Completes once this node belongs to a cluster, durably.</summary>
    public Task<FormationRecord> Formed => _formed.Task;

    public IReadOnlyList<FormationMember> Known => [.. _known.Values.Take(JournalLimits.KnownNodesMax)];

    /// <summary>A node without a cluster said hello: it may be one of those this node waits for.</summary>
    public void Met(FormationMember node)
    {
        if (node.NodeId != _self.NodeId && _known.Count < JournalLimits.KnownNodesMax) _known[node.NodeId] = node;
    }

    public FormationAnswer Answer(FormationRequest request)
    {
        lock (_gate)
        {
            var answer = _machine.Answer(request);
            SaveChanges();
            return answer;
        }
    }

    /// <summary>See <see cref="FormationMachine.Recover"/>; on disk before it returns.</summary>
    public bool Recover(FormationRecord record)
    {
        lock (_gate)
        {
            if (!_machine.Recover(record)) return false;
            SaveChanges();
            return true;
        }
    }

    /// <summary>Rounds until the cluster is there.</summary>
    public async Task RunAsync(CancellationToken ct)
    {
        while (!_formed.Task.IsCompleted && !ct.IsCancellationRequested)
        {
            await RoundAsync(ct).ConfigureAwait(false);
            var pause = Task.Delay(Random.Shared.Next(_options.FormationPauseMs / 2, _options.FormationPauseMs + 1), ct);
            await Task.WhenAny(_formed.Task, pause).ConfigureAwait(false);
        }
    }

    private async Task RoundAsync(CancellationToken ct)
    {
        long serial;
        lock (_gate) serial = _machine.Serial;
        var seeds = await _seeds.GetAsync(ct).ConfigureAwait(false);
        TellTooMany(seeds.Count);
        var asked = seeds.Select((address, i) => LookAsync(address, i, serial, ct))
            .Concat(_known.Values.Where(k => !seeds.Contains(k.Address)).Select(k => LookAsync(k.Address, -1, serial, ct)));
        var views = (await Task.WhenAll(asked).ConfigureAwait(false)).OfType<FormationView>().ToArray();
        FormationStep step;
        lock (_gate)
        {
            step = _machine.Next(views, seeds.Count);
            SaveChanges();
        }
        switch (step)
        {
            case FormationStep.Ask ask:
                await TellAllAsync(ask.Promise, new FormationRequest.Prepare(ask.Promise), note: true, ct).ConfigureAwait(false);
                break;
            case FormationStep.GiveUp gaveUp:
                LogGaveUp(_logger, gaveUp.Promise.FormationId);
                await TellAllAsync(gaveUp.Promise, new FormationRequest.Abort(gaveUp.Promise.FormationId), note: false, ct)
                    .ConfigureAwait(false);
                break;
            case FormationStep.Announce done:
                await TellAllAsync(done.Promise, new FormationRequest.Commit(done.Promise.Record), note: false, ct).ConfigureAwait(false);
                break;
        }
    }

    /// <summary>Of seeds that stand in the settings the node does not start then; names can have more later.</summary>
    private void TellTooMany(int seeds)
    {
        if (_toldTooMany || _options.ExpectedNodes == 0 || seeds < 2 * _options.ExpectedNodes) return;
        _toldTooMany = true;
        LogTooMany(_logger, seeds, _options.ExpectedNodes, (seeds / 2) + 1);
    }

    private async Task<FormationView?> LookAsync(JournalAddress address, int seedIndex, long serial, CancellationToken ct)
    {
        try
        {
            var (connection, answer) = await _dialer.ConnectAsync(address, HelloPurpose.Ask, ct).ConfigureAwait(false);
            await connection.DisposeAsync().ConfigureAwait(false);
            if (answer.State.Record is null) Met(answer.Node);
            foreach (var known in answer.Known) Met(known);
            return new FormationView(answer.Node, answer.State, answer.Expected, seedIndex, serial);
        }
        catch (Exception e) when (IsUnreachable(e, ct))
        {
            LogSilent(_logger, address, e.Message);
            return null;
        }
    }

    private Task TellAllAsync(FormationPromise promise, FormationRequest request, bool note, CancellationToken ct) =>
        Task.WhenAll(
            promise.Participants.Where(p => p.NodeId != _self.NodeId).Select(p => TellAsync(p, promise.FormationId, request, note, ct)));

    private async Task TellAsync(FormationMember participant, Guid formationId, FormationRequest request, bool note, CancellationToken ct)
    {
        FormationAnswer? answer = null;
        try
        {
            var (connection, hello) = await _dialer.ConnectAsync(participant.Address, HelloPurpose.Ask, ct).ConfigureAwait(false);
            var asking = new RequestConnection(connection);
            await using (asking.ConfigureAwait(false))
            {
                if (hello.Node.NodeId != participant.NodeId) return;
                var body = await asking.AskAsync(JournalFrameKind.Formation, request.Encode(), _options.RequestTimeoutMs, ct)
                    .ConfigureAwait(false);
                answer = FormationAnswer.Decode(body);
            }
        }
        catch (Exception e) when (IsUnreachable(e, ct))
        {
            LogSilent(_logger, participant.Address, e.Message);
        }
        if (!note) return;
        lock (_gate) _machine.Answered(participant, formationId, answer);
    }

    private static bool IsUnreachable(Exception e, CancellationToken ct) =>
        JournalDialer.IsNoAnswer(e) || (e is OperationCanceledException && ct.IsCancellationRequested);

    private void SaveChanges()
    {
        if (_machine.State == _file.State) return;
        _file.Save(_machine.State);
        if (_machine.State.Record is not { } record) return;
        LogFormed(_logger, record.ClusterId, string.Join(", ", record.Members.Select(m => m.Name)));
        _formed.TrySetResult(record);
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Cluster {ClusterId}; control members {Members}")]
    private static partial void LogFormed(ILogger logger, Guid clusterId, string members);

    [LoggerMessage(Level = LogLevel.Information, Message = "Formation {FormationId} given up: not all nodes promised")]
    private static partial void LogGaveUp(ILogger logger, Guid formationId);

    [LoggerMessage(Level = LogLevel.Warning,
        Message = "The seeds have {Seeds} addresses: bootstrap-expect {Expected} forms no cluster of them, it must be {Least} or more (it is enough for joining one)")]
    private static partial void LogTooMany(ILogger logger, int seeds, int expected, int least);

    [LoggerMessage(Level = LogLevel.Debug, Message = "No hello from {Address}: {Why}")]
    private static partial void LogSilent(ILogger logger, JournalAddress address, string why);
}
