using System.Collections.Immutable;
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
    private ImmutableDictionary<VolumeId, string> _moves = ImmutableDictionary<VolumeId, string>.Empty;

    public VolumeWhereabouts Last(VolumeId volume) =>
        _folds.LastOf(volume) is { } state ? Whereabouts(state) : VolumeWhereabouts.Unknown;

    public async Task<VolumeWhereabouts> LookAsync(VolumeId volume)
    {
        try
        {
            using var limit = new CancellationTokenSource(LookMax);
            var state = await _folds.ReadAsync(volume, limit.Token);
            // Its owner has journaled nothing yet: where its copies are to be is placement's word, which was journaled before anyone was told.
            return state.Spec is null ? Placed((await _folds.ReadPlacementAsync(limit.Token)).Volumes.GetValueOrDefault(volume)) : Whereabouts(state);
        }
        catch (Exception e) when (e is MetaLogUnavailableException or OperationCanceledException)
        {
            LogNotRead(volume, e.Message);
        }
        return Last(volume);
    }

    public async Task<ImmutableDictionary<VolumeId, string>> MovesAsync()
    {
        try
        {
            using var limit = new CancellationTokenSource(LookMax);
            return _moves = await moves.ListAsync(limit.Token);
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
        : new VolumeWhereabouts([.. volume.Replicas.Select(replica => replica.NodeName)], [], "");

    private static VolumeWhereabouts Whereabouts(VolumeState state)
    {
        var inSync = state.Replicas.Where(replica => state.Member(replica.Id) is not null).Select(replica => replica.NodeName);
        var attached = state.Attachment.Mode == AttachmentMode.Exclusive ? state.Attachment.NodeName : "";
        return new VolumeWhereabouts([.. state.Replicas.Select(replica => replica.NodeName)], [.. inSync], attached);
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "where volume {Volume} may be owned was not read from the journal: {Reason}")]
    private partial void LogNotRead(VolumeId volume, string reason);
}
