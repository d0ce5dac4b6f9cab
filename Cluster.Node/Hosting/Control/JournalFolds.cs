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
/// <param name="keptMax">Volumes of which the state is kept; those that nobody asked for since so many others, such as deleted ones, are forgotten, and read from the beginning when they are asked for again.</param>
internal sealed class JournalFolds(IMetaLog log, int keptMax = JournalFolds.KeptMax)
{
    /// <summary>Half of them, those asked for last, are kept for certain: more than a cluster has. Below a KiB each, as a rule.</summary>
    private const int KeptMax = 32_768;

    /// <summary>Images that one read goes on from: each one more means that a whole image's events were journaled meanwhile.</summary>
    private const int ImagesMax = 4;

    private readonly Lock _lock = new();

    /// <summary>Asked for since <see cref="_older"/> was this; half of those that are kept at most. Under the lock, like the other.</summary>
    private Dictionary<VolumeId, Folded<VolumeState>> _recent = [];

    private Dictionary<VolumeId, Folded<VolumeState>> _older = [];
    private Folded<PlacementState> _placement = new(PlacementState.Empty, 0);

    private sealed record Folded<T>(T State, long SequenceNr);

    /// <summary>What the last read found, or null.</summary>
    public VolumeState? LastOf(VolumeId volume) => Known(volume)?.State;

    /// <summary>Volumes of which a state is kept.</summary>
    internal int KeptCount
    {
        get
        {
            lock (_lock) return _recent.Count + _older.Count;
        }
    }

    public async Task<VolumeState> ReadAsync(VolumeId volume, CancellationToken cancellation)
    {
        var known = Known(volume) ?? new Folded<VolumeState>(VolumeState.Empty, 0);
        var read = await ReadOnAsync<VolumeState, VolumeEvent>(
            VolumeActor.PersistenceIdOf(volume), known, (state, e) => state.Apply(e), cancellation);
        lock (_lock)
        {
            // Another read of it may have got further meanwhile.
            if (Find(volume) is { } other && other.SequenceNr > read.SequenceNr) return other.State;
            Keep(volume, read);
            return read.State;
        }
    }

    private Folded<VolumeState>? Known(VolumeId volume)
    {
        lock (_lock)
        {
            if (Find(volume) is not { } known) return null;
            if (!_recent.ContainsKey(volume)) Keep(volume, known);
            return known;
        }
    }

    private Folded<VolumeState>? Find(VolumeId volume) => _recent.GetValueOrDefault(volume) ?? _older.GetValueOrDefault(volume);

    private void Keep(VolumeId volume, Folded<VolumeState> known)
    {
        if (_recent.Count >= keptMax / 2 && !_recent.ContainsKey(volume)) (_older, _recent) = (_recent, []);
        _older.Remove(volume);
        _recent[volume] = known;
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
        // The stream was seen to go so far.
        long reaches = 0;
        for (var images = 0; ;)
        {
            var (before, isWhole) = (known.SequenceNr, true);
            await foreach (var e in log.ReadEventsAsync(stream, known.SequenceNr + 1, long.MaxValue, long.MaxValue, cancellation))
            {
                isWhole = e.SequenceNr == known.SequenceNr + 1;
                if (!isWhole) break;
                known = new Folded<TState>(apply(known.State, Decode<TEvent>(e.Payload)), e.SequenceNr);
            }
            if (isWhole && known.SequenceNr == before && reaches <= before)
            {
                // Nothing new, or all of it was let go. Read again in the second case: what was journaled between the two questions is no gap.
                reaches = await log.HighestSequenceNrAsync(stream, cancellation);
                if (reaches <= before) return known;
                continue;
            }
            if (isWhole && known.SequenceNr >= reaches) return known;
            // What comes next was let go: an image has it, which was there before. If that is let go in turn just now, a newer one has.
            var image = await log.LoadSnapshotAsync(stream, MetaSnapshotRange.All, cancellation);
            Invariant.That(images < ImagesMax && image is not null && image.SequenceNr > known.SequenceNr, $"the journal's stream {stream} lacks events behind {known.SequenceNr}, and no image has them");
            known = new Folded<TState>(apply(known.State, Decode<TEvent>(image.Payload)), image.SequenceNr);
            images++;
        }
    }

    private static TEvent Decode<TEvent>(MetaPayload payload) => (TEvent)EventCodec.Decode(payload.Manifest, payload.Bytes);
}
