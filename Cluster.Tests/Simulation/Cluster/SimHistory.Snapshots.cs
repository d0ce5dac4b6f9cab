using Cluster.Messages.Events;
using Cluster.Messages.Wire;
using Cluster.Node.Owner;

namespace Cluster.Tests.Simulation.Volumes;

// R19: what the journal says of snapshots, and what copies hold of them.
internal sealed partial class SimHistory
{
    private readonly SimOrder _records = new();

    /// <summary>What each snapshot that was ever journaled holds: as the order was then, and is for ever, since its marker was on media everywhere.</summary>
    private readonly Dictionary<ulong, SimOrder.Content> _snapshots = [];

    /// <summary>Of snapshots of groups that were prepared, by name and time: the marker's sequence; whether the other volumes had their markers, and the first write behind it that was answered before that.</summary>
    private readonly Dictionary<(string Name, ulong UnixMs), Held> _held = [];

    private sealed class Held(ulong sequence)
    {
        public ulong Sequence => sequence;

        public bool IsCommitted { get; set; }

        public ulong? Overtaken { get; set; }
    }

    /// <summary>What happened to snapshots, and how often.</summary>
    public SimTally Snapshots { get; } = new();

    /// <summary>A replica's map takes a marker.</summary>
    public void OnCommitted(SimNode node, in RecordHeader record, SnapshotMarker marker)
    {
        CheckPlace(node, in record, default);
        foreach (var (sequence, name, _) in world.Journal.State.Snapshots)
        {
            // A marker of an order that a loss of power has undone knows nothing of what came instead.
            if (sequence < record.Sequence && _records.EpochAt(sequence) <= record.Epoch && !marker.Kept.Contains(sequence))
                throw Broken($"marker {record.Sequence} leaves out the snapshot '{name}' at {sequence}, which the journal has");
        }
        if (!_records.Add(in record, 0, marker)) return;
        world.Trace(record.Sequence);
        if (marker.RestoreFrom != 0)
        {
            OrderRestore(record.Sequence, marker);
            world.Snapshots.OnPart();
        }
        else if (!marker.Creates) Snapshots.Add("Swept");
    }

    /// <summary>To readers and writers it is a write of all that the snapshot holds and that has changed since, and a trim of the rest, at its place.</summary>
    private void OrderRestore(ulong sequence, SnapshotMarker marker)
    {
        if (world.Journal.State.RestoringTo != marker.RestoreFrom) throw Broken($"marker {sequence} goes back to {marker.RestoreFrom}, and that was not journaled to be under way");
        foreach (var (block, isThere) in RestoredBy(sequence, marker))
        {
            _newest[block] = sequence;
            if (!isThere) NoteTrim(block, sequence);
        }
    }

    private List<(ulong Block, bool IsThere)> RestoredBy(ulong sequence, SnapshotMarker marker)
    {
        if (!_snapshots.TryGetValue(marker.RestoreFrom, out var then)) throw Broken($"marker {sequence} goes back to {marker.RestoreFrom}, which was never journaled as a snapshot");
        var before = _records.Below(sequence) ?? throw Broken($"marker {sequence} was committed before all below it were");
        var changed = then.Where(pair => marker.Part.Contains(pair.Key)).Where(pair => !before.TryGetValue(pair.Key, out var now) || now.Sequence != pair.Value.Sequence).Select(pair => (pair.Key, true));
        return [.. changed, .. before.Keys.Where(block => marker.Part.Contains(block) && !then.ContainsKey(block)).Select(block => (block, false))];
    }

    /// <summary>The volume has its marker; others of its group may not have theirs (C22).</summary>
    public void OnPrepared(ulong sequence, string name, ulong unixMs) => _held[(name, unixMs)] = new Held(sequence);

    /// <summary>All of the group have their markers.</summary>
    public void OnCommitting(string name, ulong unixMs) => _held[(name, unixMs)].IsCommitted = true;

    /// <summary>A write was answered, by whatever owner.</summary>
    private void NoteOvertaking(ulong sequence)
    {
        foreach (var held in _held.Values)
        {
            if (!held.IsCommitted && sequence > held.Sequence) held.Overtaken ??= sequence;
        }
    }

    private void CheckHeld(SnapshotCreated created)
    {
        if (!_held.TryGetValue((created.Name, created.UnixMs), out var held)) return;
        if (held.Overtaken is { } write)
            throw Broken($"snapshot '{created.Name}' at {created.Sequence} is one of a group, and write {write} behind it was answered before the other volumes had their markers");
        Snapshots.Add("OfGroup");
    }

    public void OnJournaled(SnapshotCreated created, VolumeState before)
    {
        Snapshots.Add("Created");
        CheckHeld(created);
        if (before.Snapshots.Any(known => known.Name == created.Name)) throw Broken($"a second snapshot is named '{created.Name}'");
        if (_records.MarkerAt(created.Sequence) is not { Creates: true }) throw Broken($"snapshot {created.Sequence} was journaled, and no marker there made it");
        _snapshots[created.Sequence] = _records.Below(created.Sequence) ?? throw Broken($"snapshot {created.Sequence} was journaled before all below it were committed");
        CheckMedia(created.Sequence, $"snapshot {created.Sequence} was journaled");
        (_acknowledgedUpTo, _durableUpTo) = (Math.Max(_acknowledgedUpTo, created.Sequence), Math.Max(_durableUpTo, created.Sequence));
        CheckRecovery();
    }

    /// <summary>The journal says that a restore has ended: all parts of it came, unless none did, since the snapshot was deleted just before.</summary>
    public void OnRestoreEnded(ulong snapshot)
    {
        if (world.Journal.State.Snapshots.Any(known => known.Sequence == snapshot)) CheckRestored(snapshot);
    }

    /// <summary>An owner has said that the volume is back at that snapshot.</summary>
    public void OnRestored(ulong snapshot)
    {
        Snapshots.Add("Restored");
        CheckRestored(snapshot);
    }

    private void CheckRestored(ulong snapshot)
    {
        var parts = _records.LastRestoreOf(snapshot) ?? throw Broken($"a restore to {snapshot} has ended, and a part of it never came, or something came between two of them");
        if (parts.Count > 1) Snapshots.Add("RestoredByParts");
        var last = parts[^1];
        var (now, then) = (_records.Below(last + 1), _snapshots[snapshot]);
        if (now is null || !now.Select(pair => (pair.Key, pair.Value.Value)).SequenceEqual(then.Select(pair => (pair.Key, pair.Value.Value))))
            throw Broken($"a restore to {snapshot} has ended, and at {last} the volume is not what that holds");
        CheckMedia(last, $"a restore at {last} has ended");
        (_acknowledgedUpTo, _durableUpTo) = (Math.Max(_acknowledgedUpTo, last), Math.Max(_durableUpTo, last));
        CheckRecovery();
        foreach (var sequence in parts)
        {
            foreach (var (block, _) in RestoredBy(sequence, _records.MarkerAt(sequence)!))
            {
                if (world.Profile.PowerLoss) _promises.OnMedia(block, sequence);
                else Raise(block, sequence);
            }
        }
    }

    /// <summary>What a snapshot holds, as the order made it.</summary>
    public SimOrder.Content ContentOf(ulong snapshot) => _snapshots[snapshot];

    private void CheckMedia(ulong sequence, string what)
    {
        foreach (var node in world.Replicas)
        {
            if (world.Journal.State.Member(node.Replica) is not null && !IsReplaced(node) && node.Storage.Media?.Sequence < sequence)
                throw Broken($"{what}, but {node.Name} has {node.Storage.Media?.Sequence} on media");
        }
    }

    /// <summary>Of the snapshots that are journaled, a copy that is in sync has each that its map has come to, as the order made it.</summary>
    public void CheckSnapshots(SimNode node, VolumeState state)
    {
        if (!world.Profile.TakesSnapshots || node.Store is not { } store) return;
        foreach (var (sequence, name, _) in state.Snapshots)
        {
            if (sequence > store.CommitWatermark) continue;
            if (!store.Snapshots.Contains(sequence)) throw Broken($"{node.Name} is in sync up to {store.CommitWatermark} and has no snapshot '{name}' at {sequence}");
            var (held, expected) = (node.Storage.CommittedIn(sequence), _snapshots[sequence].AsList());
            if (held is not null && !IsSame(held, expected)) throw Broken($"{node.Name} holds snapshot '{name}' at {sequence} otherwise than it was made:\n  {Text(held)}\n  {Text(expected)}");
        }
    }

    /// <summary>A version whose bytes have rotted is still the right one, until the end: by then it was mended.</summary>
    private static bool IsSame(IReadOnlyList<(ulong Block, ulong Sequence, ulong Value)> held, IReadOnlyList<(ulong Block, ulong Sequence, ulong Value)> expected) =>
        held.Count == expected.Count && held.Zip(expected).All(pair => pair.First == pair.Second || pair.First == pair.Second with { Value = SimBlockStorage.BadValue });

    private void CheckMembersSnapshots(VolumeState state)
    {
        foreach (var node in world.Replicas)
        {
            if (state.Member(node.Replica) is not null && node.IsVouchedFor && node.Machine is { Header.CatchingUp: false }) CheckSnapshots(node, state);
        }
    }

    /// <summary>At the end: all copies have what the journal has, and the volume is what its order made of it.</summary>
    private void CompareSnapshots()
    {
        if (!world.Profile.TakesSnapshots) return;
        var state = world.Journal.State;
        foreach (var node in world.Replicas)
        {
            var expected = _records.Below(node.Store!.CommitWatermark + 1) ?? throw Broken($"{node.Name} is at {node.Store.CommitWatermark}, and not all below was ever committed");
            var held = node.Storage.Committed().Where(block => block.Value != 0).ToList();
            if (!held.SequenceEqual(expected.AsList())) throw Broken($"{node.Name} is not what the order made of it:\n  {Text(held)}\n  {Text(expected.AsList())}");
            if (!HasJournaled(node, state)) throw Broken($"{node.Name} has the snapshots {string.Join(",", node.Store.Snapshots)}");
            CheckSnapshots(node, state);
        }
    }

    /// <summary>Neither more nor less than the journal.</summary>
    public static bool HasJournaled(SimNode node, VolumeState state) => node.Store!.Snapshots.SequenceEqual(state.Snapshots.Select(snapshot => snapshot.Sequence));

    /// <summary>What a restore shows of a block, or null: no restore is at that place.</summary>
    private ulong? RestoredValue(ulong block, ulong sequence)
    {
        if (_records.MarkerAt(sequence) is not { } marker) return null;
        if (marker.RestoreFrom == 0 || !marker.Part.Contains(block)) throw Broken($"block {block} was read as of {sequence}, which is a marker that does not write it");
        return _snapshots[marker.RestoreFrom].TryGetValue(block, out var then) ? then.Value : 0;
    }
}
