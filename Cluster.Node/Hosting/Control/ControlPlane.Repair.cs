using Cluster.Messages.Protocol;
using Cluster.Node.Api;

namespace Cluster.Node.Hosting.Control;

public sealed partial class ControlPlane
{
    public async Task<ControlResult<ScrubResource>> ScrubAsync(VolumeName name, bool start, CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotReady;
        var found = await FindAsync(parts, name, null, cancellation);
        if (!found.IsOk) return new ControlFailure(found.Status, found.Reason);
        var view = await AskOwnerAsync<VolumeProtocol.ScrubView>(
            parts, name, new VolumeProtocol.Scrub(found.Value!.Entry.Id, start), AskMax, cancellation);
        return view.IsOk ? Of(view.Value!) : new ControlFailure(view.Status, view.Reason);
    }

    private static ScrubResource Of(VolumeProtocol.ScrubView view) => new()
    {
        State = view.State,
        Reason = view.Reason,
        Now = Of(view.Now),
        Last = Of(view.Last),
        LastEndedAt = view.Last.StartedUnixMs == 0 ? null : TimeOf(view.LastEndedUnixMs),
        NextAt = TimeOf(view.NextUnixMs),
        StoredBytes = view.StoredBytes,
        BytesPerSecond = view.BytesPerSecond,
    };

    private static ScrubCountsResource? Of(VolumeProtocol.ScrubCounts counts) => TimeOf(counts.StartedUnixMs) is not { } started ? null : new ScrubCountsResource
    {
        StartedAt = started,
        CheckedBytes = counts.CheckedBytes,
        MendedBlocks = counts.MendedBlocks,
        DifferingBlocks = counts.DifferingBlocks,
        LostBlocks = counts.LostBlocks,
    };

    private static DateTimeOffset? TimeOf(ulong unixMs) => unixMs == 0 ? null : DateTimeOffset.FromUnixTimeMilliseconds((long)unixMs);
}
