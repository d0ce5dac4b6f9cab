using System.Collections.Immutable;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>Steps are done to store and model alike. What has no meaning as things are (its volume is gone, the snapshot is, the power is) is left out, for both.</summary>
public sealed partial class StoreModelRun
{
    /// <summary>Nothing was done since the store was opened.</summary>
    private bool _isFresh;

    private void Do(StoreStep step)
    {
        switch (step.Kind)
        {
            case StoreStepKind.Crash: Crash((PowerLoss)step.Numbers[0]); break;
            case StoreStepKind.Stop when IsOver: Crash(PowerLoss.LoseAll); break;
            case StoreStepKind.Stop: StopAndReopen(); break;
            case StoreStepKind.Compare when IsOver || (_losesPages && !_isFresh): break;
            case StoreStepKind.Compare: Compare(); break;
            default:
                if (IsOver) return;
                _isFresh = false;
                DoAlive(step);
                // It may fail with its disk, and where a page of its maps is bad, but never by itself.
                if (!Rig.Disk.IsOff && !_losesPages) Assert.Null(Rig.Store.FailureReason);
                break;
        }
    }

    private void DoAlive(StoreStep step)
    {
        var (id, numbers) = (new VolumeId(step.Volume), step.Numbers);
        switch (step.Kind)
        {
            case StoreStepKind.PowerOff: Rig.Disk.PowerOffAt = numbers[0] == 0 ? 0 : Rig.Disk.Operations + (long)numbers[0]; return;
            case StoreStepKind.FlipBit when Rig.Store.Maps.Facts.FileBytes > 0: Rig.Disk.FlipBit(MapPageFile.Name, (long)numbers[0]); return;
            case StoreStepKind.FlipBit: return;
            case StoreStepKind.Turn: Turn(); return;
            case StoreStepKind.Create when !_now.Volumes.ContainsKey(id): Create(id, HeaderOf(numbers)); return;
            case StoreStepKind.Clone when !_now.Volumes.ContainsKey(id): Clone(id, new VolumeId(numbers[0]), (int)numbers[1], HeaderOf(numbers.AsSpan(2))); return;
        }
        if (step.Kind is StoreStepKind.Create or StoreStepKind.Clone || !_now.Volumes.TryGetValue(id, out var model)) return;
        var volume = Rig.Find(id);
        switch (step.Kind)
        {
            case StoreStepKind.Mark: Mark(id, model, volume, numbers); break;
            case StoreStepKind.Append: Append(id, model, volume, numbers); break;
            case StoreStepKind.Trim: Trim(id, model, volume, numbers); break;
            case StoreStepKind.Commit: Commit(id, model, volume, numbers[0]); break;
            case StoreStepKind.Truncate: Truncate(id, model, volume, numbers[0]); break;
            case StoreStepKind.Resync or StoreStepKind.ResyncTrim: Resync(id, model, volume, step); break;
            case StoreStepKind.SetPosition: SetPosition(id, model, volume, numbers); break;
            case StoreStepKind.SaveHeader: SaveHeader(id, volume, HeaderOf(numbers)); break;
            case StoreStepKind.Delete: Delete(id); break;
            case StoreStepKind.Flush: Flush(volume); break;
        }
    }

    private void Did(ModelStep step)
    {
        _steps.Add(step);
        _now.Apply(step);
    }

    private static byte[] HeaderOf(ReadOnlySpan<ulong> numbers)
    {
        var header = new byte[numbers[0]];
        new Random((int)numbers[1]).NextBytes(header);
        return header;
    }

    private static byte[][] ContentsOf(ReadOnlySpan<ulong> numbers)
    {
        var contents = new byte[numbers.Length / 2][];
        for (var index = 0; index < contents.Length; index++)
        {
            var length = (int)numbers[(2 * index) + 1];
            contents[index] = length == 0 ? [] : StoreRig.Bytes(numbers[2 * index])[..length];
        }
        return contents;
    }

    private void Create(VolumeId id, byte[] header)
    {
        var (status, volume) = Rig.Store.Create(id, header);
        if (status != IoStatus.Ok) return;
        volume!.Events = Rig.Events;
        Did(new ModelStep.Create(id, header));
    }

    private void Clone(VolumeId id, VolumeId origin, int which, byte[] header)
    {
        if (!_now.Volumes.TryGetValue(origin, out var from) || which >= from.Snapshots.Count) return;
        var snapshot = from.Snapshots.ElementAt(which);
        var (status, volume) = Rig.Store.CreateClone(id, header, origin, snapshot);
        if (status != IoStatus.Ok) return;
        volume!.Events = Rig.Events;
        Did(new ModelStep.MakeClone(id, header, origin, snapshot));
        Clones++;
    }

    private void Delete(VolumeId id)
    {
        if (Rig.Store.Delete(id) == IoStatus.Ok) Did(new ModelStep.Delete(id));
    }

    private void Append(VolumeId id, ModelVolume model, IVolumeStore volume, ulong[] numbers)
    {
        var contents = ContentsOf(numbers.AsSpan(2));
        var record = new ModelRecord(model.LastEpoch + numbers[0], new BlockRange(numbers[1], (uint)contents.Length), contents);
        var buffer = StoreRig.Write(id, volume.LastSequence + 1, numbers[1], contents, record.Epoch, volume.CommitWatermark);
        IsNew(id, record.Range, volume.LastSequence + 1);
        if (StoreRig.Append(volume, buffer) == IoStatus.Ok) Did(new ModelStep.Append(id, record));
    }

    private void Trim(VolumeId id, ModelVolume model, IVolumeStore volume, ulong[] numbers)
    {
        var record = new ModelRecord(model.LastEpoch + numbers[0], new BlockRange(numbers[1], (uint)numbers[2]), null);
        var buffer = StoreRig.Trim(id, volume.LastSequence + 1, record.Range, record.Epoch, volume.CommitWatermark);
        IsNew(id, record.Range, volume.LastSequence + 1);
        if (StoreRig.Append(volume, buffer) == IoStatus.Ok) Did(new ModelStep.Append(id, record));
    }

    private void Mark(VolumeId id, ModelVolume model, IVolumeStore volume, ulong[] numbers)
    {
        var after = model.Clone();
        after.CommitUpTo(after.Last);
        var kept = after.Snapshots.Where((_, index) => !numbers.AsSpan(5).Contains((ulong)index)).ToImmutableArray();
        if (numbers[2] > (ulong)kept.Length) return;
        var part = new BlockSpan(StoreModel.Domain[Math.Min(numbers[3], numbers[4])], StoreModel.Domain[Math.Max(numbers[3], numbers[4])]);
        var marker = new SnapshotMarker(numbers[1] == 1, numbers[2] > 0 ? kept[(int)numbers[2] - 1] : 0, part.IsEmpty ? BlockSpan.All : part, kept);
        var record = new ModelRecord(model.LastEpoch + numbers[0], default, null, marker);
        var buffer = marker.Build(id, out var header);
        (header.Sequence, header.Epoch, header.CommitWatermark) = (volume.LastSequence + 1, record.Epoch, volume.CommitWatermark);
        header.Encode(buffer.Span);
        foreach (var block in StoreModel.Domain) _used.Add((id, block, header.Sequence));
        if (StoreRig.Append(volume, buffer) == IoStatus.Ok) Did(new ModelStep.Append(id, record));
    }

    private void Commit(VolumeId id, ModelVolume model, IVolumeStore volume, ulong count)
    {
        var watermark = model.Watermark + Math.Min(count, (ulong)model.Tail.Count);
        volume.Commit(watermark);
        Assert.Equal(watermark, volume.CommitWatermark);
        Did(new ModelStep.Commit(id, watermark));
    }

    private void Truncate(VolumeId id, ModelVolume model, IVolumeStore volume, ulong count)
    {
        var to = model.Watermark + Math.Min(count, (ulong)model.Tail.Count);
        if (volume.Truncate(to) == IoStatus.Ok) Did(new ModelStep.Truncate(id, to));
    }

    /// <summary>Of one block, one sequence has one content: that is what the owner's order gives, and what the store may rely
    /// on.</summary>
    private void Resync(VolumeId id, ModelVolume model, IVolumeStore volume, StoreStep step)
    {
        var numbers = step.Numbers;
        if (model.Watermark <= numbers[0] || model.Watermark - numbers[0] <= model.SharedUpTo) return;
        var sequence = model.Watermark - numbers[0];
        var contents = step.Kind == StoreStepKind.Resync ? ContentsOf(numbers.AsSpan(2)) : null;
        var range = new BlockRange(numbers[1], contents is null ? (uint)numbers[2] : (uint)contents.Length);
        if (!IsNew(id, range, sequence)) return;
        var buffer = contents is null
            ? StoreRig.Trim(id, sequence, range, 0, 0, RecordFlags.Resync)
            : StoreRig.Write(id, sequence, range.First, contents, 0, 0, RecordFlags.Resync);
        if (StoreRig.Append(volume, buffer) == IoStatus.Ok) Did(new ModelStep.Resync(id, sequence, new ModelRecord(0, range, contents)));
    }

    private bool IsNew(VolumeId id, BlockRange range, ulong sequence)
    {
        var touched = StoreModel.Domain.Where(range.Contains).Select(block => (id, block, sequence)).ToList();
        var isNew = !touched.Exists(_used.Contains);
        _used.UnionWith(touched);
        return isNew;
    }

    private void SetPosition(VolumeId id, ModelVolume model, IVolumeStore volume, ulong[] numbers)
    {
        var (sequence, epoch, discard) = (model.Last + numbers[0], model.LastEpoch + numbers[1], numbers[2] == 1);
        if (volume.SetPosition(sequence, epoch, discard) == IoStatus.Ok) Did(new ModelStep.SetPosition(id, sequence, epoch, discard));
    }

    private void SaveHeader(VolumeId id, IVolumeStore volume, byte[] header)
    {
        volume.SaveHeader(header);
        Did(new ModelStep.SaveHeader(id, header));
    }

    private void Turn()
    {
        if (Rig.Options.HandDownBlocks == 1) Rig.Loop.Pass(10);
        Rig.Loop.Turn();
        if (Rig.Store.FailureReason is null) _writtenSteps = _steps.Count;
    }
}
