using System.Collections.Concurrent;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Node.Journal;
using Cluster.Node.Owner;
using Cluster.Node.Placement;

namespace Cluster.Node.Hosting.Control;

/// <summary>
/// The states of volumes and of placement as the journal has them, for those who are not their actors: folded, kept, and read on from there.
/// Any thread. Reads throw <see cref="MetaLogUnavailableException"/>.
/// </summary>
internal sealed class JournalFolds(IMetaLog log)
{
    private readonly ConcurrentDictionary<VolumeId, Folded<VolumeState>> _volumes = new();
    private Folded<PlacementState> _placement = new(PlacementState.Empty, 0);

    private sealed record Folded<T>(T State, long SequenceNr);

    /// <summary>What the last read found, or null.</summary>
    public VolumeState? LastOf(VolumeId volume) => _volumes.TryGetValue(volume, out var known) ? known.State : null;

    public async Task<VolumeState> ReadAsync(VolumeId volume, CancellationToken cancellation)
    {
        var known = _volumes.GetValueOrDefault(volume) ?? new Folded<VolumeState>(VolumeState.Empty, 0);
        var read = await ReadOnAsync<VolumeState, VolumeEvent>(
            VolumeActor.PersistenceIdOf(volume), known, (state, e) => state.Apply(e), cancellation);
        return _volumes.AddOrUpdate(volume, read, (_, other) => other.SequenceNr > read.SequenceNr ? other : read).State;
    }

    public async Task<PlacementState> ReadPlacementAsync(CancellationToken cancellation)
    {
        var read = await ReadOnAsync<PlacementState, PlacementEvent>(
            PlacementActor.StreamId, Volatile.Read(ref _placement), (state, e) => state.Apply(e), cancellation);
        // One that was read meanwhile may be newer; the next read goes on from either.
        Volatile.Write(ref _placement, read);
        return read.State;
    }

    private async Task<Folded<TState>> ReadOnAsync<TState, TEvent>(
        string stream, Folded<TState> known, Func<TState, TEvent, TState> apply, CancellationToken cancellation)
    {
        await foreach (var e in log.ReadEventsAsync(stream, known.SequenceNr + 1, long.MaxValue, long.MaxValue, cancellation))
        {
            var decoded = (TEvent)EventCodec.Decode(e.Payload.Manifest, e.Payload.Bytes);
            known = new Folded<TState>(apply(known.State, decoded), e.SequenceNr);
        }
        return known;
    }
}
