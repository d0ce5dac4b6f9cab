using System.Collections.Concurrent;
using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Node.Journal;
using Cluster.Node.Owner;
using Cluster.Node.Placement;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Hosting.Control;

/// <summary>The allocation strategy's view of volumes: each one's events folded, kept, and read on from there. Any thread.</summary>
public sealed partial class JournalPlacementView(IMetaLog log, VolumeMoves moves, ILogger<JournalPlacementView> logger)
    : IVolumePlacementView
{
    /// <summary>Longest wait for the journal; sharding itself gives up on an allocation after its own time-out and asks again.</summary>
    private static readonly TimeSpan LookMax = TimeSpan.FromSeconds(2);

    private readonly ConcurrentDictionary<VolumeId, Known> _known = new();
    private ImmutableDictionary<VolumeId, string> _moves = ImmutableDictionary<VolumeId, string>.Empty;

    private sealed record Known(VolumeState State, long SequenceNr)
    {
        public static readonly Known Nothing = new(VolumeState.Empty, 0);
    }

    public VolumeWhereabouts Last(VolumeId volume) =>
        _known.TryGetValue(volume, out var known) ? Whereabouts(known.State) : VolumeWhereabouts.Unknown;

    public async Task<VolumeWhereabouts> LookAsync(VolumeId volume)
    {
        var known = _known.GetValueOrDefault(volume, Known.Nothing);
        try
        {
            using var limit = new CancellationTokenSource(LookMax);
            var read = await ReadOnAsync(volume, known, limit.Token);
            known = _known.AddOrUpdate(volume, read, (_, other) => other.SequenceNr > read.SequenceNr ? other : read);
        }
        catch (Exception e) when (e is MetaLogUnavailableException or OperationCanceledException)
        {
            LogNotRead(volume, e.Message);
        }
        return Whereabouts(known.State);
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

    private async Task<Known> ReadOnAsync(VolumeId volume, Known known, CancellationToken cancellation)
    {
        var id = VolumeActor.PersistenceIdOf(volume);
        await foreach (var e in log.ReadEventsAsync(id, known.SequenceNr + 1, long.MaxValue, long.MaxValue, cancellation))
        {
            var decoded = (VolumeEvent)EventCodec.Decode(e.Payload.Manifest, e.Payload.Bytes);
            known = new Known(known.State.Apply(decoded), e.SequenceNr);
        }
        return known;
    }

    private static VolumeWhereabouts Whereabouts(VolumeState state)
    {
        var inSync = state.Replicas.Where(replica => state.Member(replica.Id) is not null).Select(replica => replica.NodeName);
        var attached = state.Attachment.Mode == AttachmentMode.Exclusive ? state.Attachment.NodeName : "";
        return new VolumeWhereabouts([.. state.Replicas.Select(replica => replica.NodeName)], [.. inSync], attached);
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "where volume {Volume} may be owned was not read from the journal: {Reason}")]
    private partial void LogNotRead(VolumeId volume, string reason);
}
