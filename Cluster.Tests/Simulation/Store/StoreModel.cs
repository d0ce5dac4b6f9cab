using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>What a block should hold: the sequence that last touched it, the content (null: reads as zeroes), and whether that was written, or trimmed; and whether a clone has the bytes of its origin.</summary>
public readonly record struct ModelBlock(ulong Sequence, byte[]? Content, bool IsWritten = false, bool IsBorrowed = false);

public sealed record ModelRecord(ulong Epoch, BlockRange Range, byte[][]? Contents, SnapshotMarker? Marker = null);

/// <summary>One step on a store as the model understands it, in the order of the log.</summary>
public abstract record ModelStep(VolumeId Volume)
{
    public sealed record Create(VolumeId Volume, byte[] Header) : ModelStep(Volume);

    public sealed record MakeClone(VolumeId Volume, byte[] Header, VolumeId Origin, ulong Snapshot) : ModelStep(Volume);

    public sealed record Delete(VolumeId Volume) : ModelStep(Volume);

    public sealed record Append(VolumeId Volume, ModelRecord Record) : ModelStep(Volume);

    public sealed record Commit(VolumeId Volume, ulong Watermark) : ModelStep(Volume);

    public sealed record Truncate(VolumeId Volume, ulong To) : ModelStep(Volume);

    public sealed record Resync(VolumeId Volume, ulong Sequence, ModelRecord Record) : ModelStep(Volume);

    public sealed record SetPosition(VolumeId Volume, ulong Sequence, ulong Epoch, bool DiscardAll) : ModelStep(Volume);

    public sealed record SaveHeader(VolumeId Volume, byte[] Header) : ModelStep(Volume);
}

/// <summary>A volume the slow and obvious way: every block in a dictionary, trims applied to the blocks that the test uses.</summary>
public sealed class ModelVolume
{
    public byte[] Header = [];
    public ulong Watermark;
    public ulong CommittedEpoch;
    public List<ModelRecord> Tail = [];
    public Dictionary<ulong, ModelBlock> Blocks = [];

    /// <summary>All that ever happened to each block, by sequence.</summary>
    public Dictionary<ulong, SortedDictionary<ulong, ModelBlock>> History = [];
    public SortedSet<ulong> Snapshots = [];

    /// <summary>What happened up to here is shared with clones, or with the volume that it was cloned from: nothing is added to it any more.</summary>
    public ulong SharedUpTo;

    /// <summary>Of a clone: the snapshot that it began as.</summary>
    public ulong BornAt;

    /// <summary>A volume that begins as what this one's snapshot holds: it has its own copy of all of it.</summary>
    public ModelVolume CloneOf(ulong snapshot, byte[] header)
    {
        var clone = new ModelVolume { Header = header, Watermark = snapshot, SharedUpTo = snapshot, BornAt = snapshot };
        foreach (var block in History.Keys)
        {
            if (At(snapshot, block) is { IsWritten: true } seen) clone.Set(block, seen with { IsBorrowed = true });
        }
        SharedUpTo = Math.Max(SharedUpTo, snapshot);
        return clone;
    }

    /// <summary>What the snapshot sees of the block: what happened last before it.</summary>
    public ModelBlock At(ulong snapshot, ulong block) =>
        History.TryGetValue(block, out var versions) ? versions.LastOrDefault(version => version.Key < snapshot).Value : default;

    /// <summary>
    /// What the snapshot has that no other one of these, nor the volume, has, and what it shares with them: each version of a block by itself, looked for everywhere.
    /// </summary>
    /// <param name="snapshot">Which.</param>
    /// <param name="others">The other snapshots, and those that only clones know.</param>
    /// <param name="isKept">A clone stands on it: nothing goes with it.</param>
    /// <param name="ownsAll">A copy that was made anew: nothing in it is borrowed.</param>
    public SnapshotUsage UsageOf(ulong snapshot, IReadOnlyList<ulong> others, bool isKept, bool ownsAll)
    {
        var (unique, blocks, shared) = (0L, 0L, 0L);
        foreach (var block in History.Keys)
        {
            if (At(snapshot, block) is not { IsWritten: true } seen || (seen.IsBorrowed && !ownsAll && (seen.Content?.Length ?? 0) > 0)) continue;
            // A clone has no version of its own of what it has not touched.
            if (seen.Sequence <= BornAt && !ownsAll) continue;
            var isShared = isKept || Blocks.GetValueOrDefault(block) is { IsWritten: true } now && now.Sequence == seen.Sequence || others.Any(other => At(other, block).Sequence == seen.Sequence);
            if (isShared) shared += seen.Content?.Length ?? 0;
            else (unique, blocks) = (unique + (seen.Content?.Length ?? 0), blocks + 1);
        }
        return new SnapshotUsage(unique, blocks, shared);
    }

    public ulong Last => Watermark + (ulong)Tail.Count;

    public ulong LastEpoch => Tail.Count > 0 ? Tail[^1].Epoch : CommittedEpoch;

    public ModelVolume Clone() => new()
    {
        Header = Header,
        Watermark = Watermark,
        CommittedEpoch = CommittedEpoch,
        Tail = [.. Tail],
        Blocks = new Dictionary<ulong, ModelBlock>(Blocks),
        History = History.ToDictionary(pair => pair.Key, pair => new SortedDictionary<ulong, ModelBlock>(pair.Value)),
        Snapshots = [.. Snapshots],
        SharedUpTo = SharedUpTo,
        BornAt = BornAt,
    };

    private void Mark(ulong sequence, SnapshotMarker marker)
    {
        Snapshots.IntersectWith(marker.Kept);
        if (marker.Creates) Snapshots.Add(sequence);
        if (marker.RestoreFrom == 0) return;
        foreach (var block in StoreModel.Domain.Where(marker.Part.Contains))
        {
            var (then, now) = (At(marker.RestoreFrom, block), Blocks.GetValueOrDefault(block));
            if (then.IsWritten ? now.IsWritten && now.Sequence == then.Sequence : !now.IsWritten) continue;
            Set(block, new ModelBlock(sequence, then.Content, then.IsWritten, then.IsBorrowed));
        }
    }

    private void Set(ulong block, ModelBlock now)
    {
        if (!History.TryGetValue(block, out var versions)) History.Add(block, versions = []);
        versions.TryAdd(now.Sequence, now);
        if (Blocks.GetValueOrDefault(block).Sequence < now.Sequence) Blocks[block] = now;
    }

    public void CommitUpTo(ulong watermark)
    {
        while (Watermark < watermark && Tail.Count > 0)
        {
            Watermark++;
            CommittedEpoch = Tail[0].Epoch;
            if (Tail[0].Marker is { } marker) Mark(Watermark, marker);
            else Put(Watermark, Tail[0]);
            Tail.RemoveAt(0);
        }
    }

    /// <summary>Per block the higher sequence wins.</summary>
    public void Put(ulong sequence, ModelRecord record)
    {
        foreach (var block in StoreModel.Domain)
        {
            if (!record.Range.Contains(block)) continue;
            var content = record.Contents?[block - record.Range.First];
            Set(block, new ModelBlock(sequence, content is { Length: 0 } ? null : content, record.Contents is not null));
        }
    }
}

/// <summary>A whole store the slow and obvious way.</summary>
public sealed class StoreModel
{
    /// <summary>The blocks that the tests write: neighbours, page borders, and far ones.</summary>
    public static readonly ulong[] Domain =
        [.. Enumerable.Range(0, 24).Select(i => (ulong)i), .. Enumerable.Range(500, 24).Select(i => (ulong)i),
            .. Enumerable.Range(0, 16).Select(i => (1UL << 36) + (ulong)i)];

    public Dictionary<VolumeId, ModelVolume> Volumes { get; private set; } = [];

    public StoreModel Clone() => new() { Volumes = Volumes.ToDictionary(pair => pair.Key, pair => pair.Value.Clone()) };

    public void Apply(ModelStep step)
    {
        if (step is ModelStep.Create create)
        {
            Volumes.Add(step.Volume, new ModelVolume { Header = create.Header });
            return;
        }
        if (step is ModelStep.MakeClone clone)
        {
            Volumes.Add(step.Volume, Volumes[clone.Origin].CloneOf(clone.Snapshot, clone.Header));
            return;
        }
        var volume = Volumes[step.Volume];
        switch (step)
        {
            case ModelStep.Delete:
                Volumes.Remove(step.Volume);
                break;
            case ModelStep.Append append:
                volume.Tail.Add(append.Record);
                break;
            case ModelStep.Commit commit:
                volume.CommitUpTo(commit.Watermark);
                break;
            case ModelStep.Truncate truncate:
                volume.Tail.RemoveRange((int)(truncate.To - volume.Watermark), (int)(volume.Last - truncate.To));
                break;
            case ModelStep.Resync resync:
                volume.Put(resync.Sequence, resync.Record);
                break;
            case ModelStep.SetPosition position:
                volume.Tail.Clear();
                if (position.DiscardAll)
                {
                    volume.Blocks.Clear();
                    volume.History.Clear();
                    volume.Snapshots.Clear();
                    (volume.SharedUpTo, volume.BornAt) = (0, 0);
                }
                (volume.Watermark, volume.CommittedEpoch) = (position.Sequence, position.Epoch);
                break;
            case ModelStep.SaveHeader save:
                volume.Header = save.Header;
                break;
        }
    }
}
