using System.Collections.Concurrent;
using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Node.Journal;
using Cluster.Node.Owner;
using Cluster.Node.Placement;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Hosting.Control;

/// <summary>The allocation strategy's view of volumes: each one's journaled state, or where placement put it. Any thread.</summary>
public sealed partial class JournalPlacementView(IMetaLog log, VolumeMoves moves, ILogger<JournalPlacementView> logger)
    : IVolumePlacementView
{
    /// <summary>Longest wait for the journal; sharding itself gives up on an allocation after its own time-out and asks again.</summary>
    private static readonly TimeSpan LookMax = TimeSpan.FromSeconds(2);

    private readonly JournalFolds _folds = new(log);
    private readonly Seldom _notRead = new(TimeProvider.System);
    private ImmutableDictionary<VolumeId, string> _moves = ImmutableDictionary<VolumeId, string>.Empty;

    /// <summary>What was read for rounds while the journal was at one number; replaced as a whole when it is at another, so that no volume is kept that is gone.</summary>
    private volatile ReadAt _read = new(-1);

    /// <summary>The same of the moves; -1: never.</summary>
    private long _movesAt = -1;

    private sealed record ReadAt(long Number)
    {
        public ConcurrentDictionary<VolumeId, bool> Volumes { get; } = new();
    }

    /// <summary>Volumes of which it is known that a look would find nothing new.</summary>
    internal int KnownCount => _read.Volumes.Count;

    public VolumeWhereabouts Last(VolumeId volume)
    {
        if (_folds.LastOf(volume) is not { } state) return VolumeWhereabouts.Unknown;
        var where = Whereabouts(state);
        return OriginOf(state, state.Spec) is { } origin && _folds.LastOf(origin) is { } begun ? where.BegunFrom(Whereabouts(begun)) : where;
    }

    public async Task<VolumeWhereabouts> LookAsync(VolumeId volume)
    {
        return await ReadAsync(volume, cancellation => WhereaboutsAsync(volume, cancellation)) ?? Last(volume);
    }

    public async Task<long?> NowAsync()
    {
        try
        {
            using var limit = new CancellationTokenSource(LookMax);
            return (await log.ReadMembersAsync(limit.Token)).CommitIndex;
        }
        catch (Exception e) when (e is MetaLogUnavailableException or OperationCanceledException)
        {
            return null;
        }
    }

    public async Task LookAsync(VolumeId volume, long? now)
    {
        var read = _read;
        if (read.Number == now && read.Volumes.ContainsKey(volume)) return;
        // What could not be read is read in the next round.
        if (await ReadAsync(volume, cancellation => WhereaboutsAsync(volume, cancellation)) is null || now is not { } number) return;
        // Rounds are one at a time; of two at once one's volumes would be read again.
        if (read.Number != number) _read = read = new ReadAt(number);
        read.Volumes[volume] = true;
    }

    /// <summary>For an early claim: null when no quorum answers in time.</summary>
    public Task<ClaimFacts?> FactsAsync(VolumeId volume) =>
        ReadAsync(volume, async cancellation => Facts(volume, await _folds.ReadAsync(volume, cancellation)));

    private async Task<VolumeWhereabouts> WhereaboutsAsync(VolumeId volume, CancellationToken cancellation)
    {
        VolumeState state;
        try
        {
            state = await _folds.ReadAsync(volume, cancellation);
        }
        catch (Exception e) when (IsUnreadable(e))
        {
            // A newer program wrote there. Its shard is to have a home all the same: whoever has that says why, or can read it.
            LogNotReadNow(volume, e.Message);
            return Placed((await _folds.ReadPlacementAsync(cancellation)).Volumes.GetValueOrDefault(volume));
        }
        // Its owner has journaled nothing yet: where its copies are to be is placement's word, which was journaled before anyone was told.
        var placed = state.Spec is null ? (await _folds.ReadPlacementAsync(cancellation)).Volumes.GetValueOrDefault(volume) : null;
        var where = state.Spec is null ? Placed(placed) : Whereabouts(state);
        return OriginOf(state, state.Spec ?? placed?.Spec) is { } origin ? where.BegunFrom(Whereabouts(await _folds.ReadAsync(origin, cancellation))) : where;
    }

    /// <summary>What a clone that was never served is to begin from; null of any other volume.</summary>
    private static VolumeId? OriginOf(VolumeState state, VolumeSpec? spec) => state.Opened == Epoch.None && !state.Deleted ? spec?.Source?.Origin : null;

    private static ClaimFacts Facts(VolumeId volume, VolumeState state)
    {
        if (state.Deleted || state.Spec is not { } spec || state.Opened == Epoch.None) return new ClaimFacts(state.Epoch.Value, default, [], 0);
        // A node that was made anew has the name of the one before it, whose copy may still be there: the one in sync counts, then the newer.
        var nodes = state.Replicas.OrderByDescending(replica => state.Member(replica.Id) is not null).ThenByDescending(replica => replica.Id.Number)
            .DistinctBy(replica => replica.NodeName).ToDictionary(replica => replica.NodeName, replica => replica.Node);
        var inSync = OwnerChoice.Order(volume, Whereabouts(state)).Select(name => nodes[name]).Distinct().ToImmutableArray();
        return new ClaimFacts(
            state.Epoch.Value, nodes.GetValueOrDefault(state.EpochNodeName), inSync, Math.Min(spec.InSyncMin, state.InSync.Length));
    }

    private async Task<T?> ReadAsync<T>(VolumeId volume, Func<CancellationToken, Task<T>> read) where T : class
    {
        try
        {
            using var limit = new CancellationTokenSource(LookMax);
            return await read(limit.Token);
        }
        catch (Exception e) when (e is MetaLogUnavailableException or OperationCanceledException || IsUnreadable(e))
        {
            LogNotReadNow(volume, e is OperationCanceledException ? $"it did not answer within {LookMax.TotalSeconds} s" : e.Message);
            return null;
        }
    }

    private static bool IsUnreadable(Exception e) => e is EventFormatException or InvariantException;

    private void LogNotReadNow(VolumeId volume, string reason)
    {
        if (_notRead.MaySay() is { } unsaid) LogNotRead(volume, reason, unsaid);
    }

    public Task<ImmutableDictionary<VolumeId, string>> MovesAsync() => MovesAsync(null);

    public async Task<ImmutableDictionary<VolumeId, string>> MovesAsync(long? now)
    {
        if (now is { } known && Volatile.Read(ref _movesAt) == known) return _moves;
        try
        {
            using var limit = new CancellationTokenSource(LookMax);
            _moves = await moves.ListAsync(limit.Token);
            if (now is { } read) Volatile.Write(ref _movesAt, read);
            return _moves;
        }
        catch (Exception e) when (e is MetaLogUnavailableException or OperationCanceledException)
        {
            return _moves;
        }
    }

    public async Task ForgetMoveAsync(VolumeId volume, string node)
    {
        try
        {
            using var limit = new CancellationTokenSource(LookMax);
            await moves.ForgetAsync(volume, node, limit.Token);
        }
        catch (Exception e) when (e is MetaLogUnavailableException or OperationCanceledException)
        {
            // It stays a wish that is fulfilled already, and is forgotten in a later round.
        }
    }

    private static VolumeWhereabouts Placed(PlacedVolume? volume) => volume is null ? VolumeWhereabouts.Unknown
        : new VolumeWhereabouts([.. volume.Replicas.Select(replica => replica.NodeName)], []);

    private static VolumeWhereabouts Whereabouts(VolumeState state)
    {
        var inSync = state.Replicas.Where(replica => state.Member(replica.Id) is not null).Select(replica => replica.NodeName);
        var attached = state.Attachment.Mode == AttachmentMode.Exclusive && state.Spec is not { FollowsFrontEnd: false } ? state.Attachment.NodeName : "";
        return new VolumeWhereabouts(
            [.. state.Replicas.Select(replica => replica.NodeName)], [.. inSync], attached, state.EpochNodeName, state.Epoch.Value);
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "where volume {Volume} may be owned was not read from the journal, and is asked for again: {Reason} (so it was {Unsaid} times since this was last logged, for any volume)")]
    private partial void LogNotRead(VolumeId volume, string reason, long unsaid);
}
