namespace Cluster.Tests.Simulation.Mutants;

/// <summary>Bugs planted in the store, under the simulator that runs it.</summary>
internal static partial class StoreMutants
{
    private const string Store = "Cluster.Node/Store/";
    private const int Seeds = 1500;
    private const int AloneSeeds = 200;

    public static IReadOnlyList<Mutant> All { get; } =
    [
        Plant("an open calls durable what only the page cache has", "R10", "BlockStore.Open.cs",
            "if (result.IsOk) result = file.WriteAll(at, part);", ""),
        Plant("a failed fdatasync is tried again", "R10", "SyncJob.cs",
            "Result = segment.File.Sync();", "Result = segment.File.Sync();\n            if (!Result.IsOk) Result = segment.File.Sync();"),
        Plant("a store whose fdatasync failed is not suspect", "R9, R10", "BlockStore.Open.cs",
            "suspect = before.SyncFailed || file.MayBeOld", "suspect = file.MayBeOld"),
        Plant("a store whose host lost power is not suspect", "R9", "BlockStore.Open.cs",
            "(!before.CleanStop && before.BootId != bootId);", "false;"),
        Plant("a torn record at the end of the log is taken for a whole one", "P1", "LogRecovery.cs",
            "&& scanner.PayloadStatus != IoStatus.Ok && !IsFlushed(", "&& false && !IsFlushed("),
        Plant("the replay goes on behind the torn tail", "P1", "LogRecovery.cs",
            "if (!IsFlushed(End, ref watermark))\n            {", "if (false)\n            {"),
        Plant("an entry's flush watermark runs ahead of the fdatasync", "R10", "LogWriter.cs",
            "volume, Durable, recordHash);", "volume, End, recordHash);"),
        Plant("a checkpoint is written before the log below it is on media", "P3", "BlockStore.Background.cs",
            "if (_writer.Durable >= _checkpoint.Snapshot.Position) WriteCheckpointOnceDurable();\n        else _syncWanted = true;",
            "_checkpointIsWriting = true;\n        Submit(DiskLane.Background, _checkpoint);"),
        Plant("the cleaner frees a segment before a checkpoint without it is on media", "P3", "Cleaner.cs",
            "        SegmentsCleaned++;\n", "        SegmentsCleaned++;\n        if (source.IsDead) store.Segments.Free(source);\n"),
        Plant("a segment that the checkpoint on media names is used anew", "P3", "BlockStore.Open.cs",
            "|| named.Contains(each.Segment) ||", "||"),
        Alone("an open after a crash leaves the reserve to what the checkpoint names", "full store", "BlockStore.Open.cs",
            "failure = FreeBeforeLog();", "UpdateCapacity();"),
        Alone("what an open finds dead is free before a checkpoint without it is on media", "P3, full store", "BlockStore.Reclaim.cs",
            "var result = CheckpointWriter.Write(_disk, snapshot, Maps.File, out var bytes, out var lost);", "var (result, bytes, lost) = (DiskResult.Done(), 0L, (PageImage?)null);"),
        Alone("a segment is used anew that a replay reads", "P1, reclaim", "BlockStore.Reclaim.cs",
            "&& segment.Number < _checkpointPosition.Number", ""),
        Alone("a disk counts as empty before the deletions on it are on media", "P1, drain", "BlockStore.Drain.cs",
            "var result = disk.Files.SyncDirectory();", "var result = DiskResult.Done();"),
        Alone("a segment of a drained disk is deleted while the checkpoint on media names it", "P3, drain", "Cleaner.cs",
            "        SegmentsCleaned++;\n", "        SegmentsCleaned++;\n        if (_drains) store.Segments.Free(source);\n"),
        Alone("a disk that is missing and empty excuses the loss of a segment", "P1, drain", "BlockStore.Disks.cs",
            "_disk.Absent.Any(disk => !disk.IsEmpty)", "_disk.Absent.Count > 0"),
        Alone("a late trim leaves what snapshots after it see", "R19, reclaim", "BlockMap.cs",
            "if (_layers.Count > 0 && sequence < _layers[^1].Sequence) TrimLayers(range, sequence);", ""),
        Alone("a deleted snapshot takes along what an older one sees", "R19, reclaim", "SnapshotLayer.cs",
            "if (entry.Sequence <= older?.Sequence) older.Add(", "if (false) older.Add("),
        Alone("a snapshot that clones stand on goes when it is deleted", "clones", "BlockMap.Snapshots.cs",
            "if (layer.IsHidden && !_pins.ContainsKey(layer.Sequence)) Leave(layer, loadsUpTo);", "if (layer.IsHidden) Leave(layer, loadsUpTo);"),
        Alone("what clones stand on goes with its volume", "clones", "BlockMap.Base.cs",
            "        if (!IsPinned)\n        {\n            ReleaseAll();", "        if (_pages.Count > 0)\n        {\n            ReleaseAll();"),
        Alone("the base of a clone shows through its trims", "clones, R20", "BlockMap.cs",
            "if (Base is not null) MaskBase(range, sequence);", ""),
        Alone("a clone's record goes ahead of its origin's watermark", "clones", "BlockStore.Clones.cs",
            "var status = from.LogWatermark();", "var status = IoStatus.Ok;"),
        Alone("a page that changes keeps its slot in the page file", "maps", "MapCache.cs",
            "        StopWriting(page);\n        Unplace(page);\n    }\n\n    /// <summary>The map has no such page any more, and", "        StopWriting(page);\n    }\n\n    /// <summary>The map has no such page any more, and"),
        Alone("a page that goes unread gives back nothing", "maps, reclaim", "MapCache.cs",
            "_releases.Enqueue(page);", ""),
        Alone("a page that changed while it was written counts as written", "maps", "MapCache.Jobs.cs",
            "var isSame = page.IsWriting && page.Resident == entries;", "var isSame = page is { Map: not null, IsResident: true };"),
        Alone("a page that leaves memory gives away entries that a checkpoint has", "maps, P3", "MapCache.cs",
            "if (!IsHeld(page)) GiveEntries(page.Entries);", "GiveEntries(page.Entries);"),
        Alone("the cleaner's copies go into the log with what they knew of an order that began anew since", "R4, docs/adr/0014", "ColdSegment.cs",
            "_volumes.TrueForAll(each => ", "_volumes.TrueForAll(each => true || "),
        Alone("a segment beside the log counts as whole before it is on media", "docs/adr/0014", "ColdSegment.cs",
            "_result = Segment.File.Sync();", "_result = DiskResult.Done();"),
        Alone("the maps go over to a segment beside the log before it is in the log", "P3, docs/adr/0014", "BlockStore.Cold.cs",
            "if (cold.IsGone) Segments.Free(cold.Segment);", "cold.Prepare(this, 1 << 20, []);\n        if (cold.IsReady) cold.Apply(this);\n        if (cold.IsGone) Segments.Free(cold.Segment);"),
        Alone("the number of a segment beside the log is the one that the log takes next", "docs/adr/0014", "LogWriter.cs",
            "Math.Max(_nextNumber, _reserved) + NumbersBetween;", "Math.Max(_nextNumber, _reserved);"),
        Alone("what began with a deleted snapshot is not handed on", "R19", "BlockMap.Seen.cs",
            "_layers[at].BegunBytes += layer.BegunBytes;", "_layers[at].BegunBytes += 0;"),
        Plant("a segment with uncommitted records counts as dead", "R4", "Segment.cs",
            "LiveBlocks == 0 && TailRecords == 0 &&", "LiveBlocks == 0 &&"),
        Plant("a scrub leaves out what only snapshots keep", "P6, R19", "", "Snapshot = _nextSnapshot;", "") with { File = "Cluster.Node/Repair/ScrubRun.cs" },
        Plant("only the newest segment is synced", "P3", "SyncJob.cs",
            "foreach (var segment in Segments)", "foreach (var segment in Segments.TakeLast(1))"),
        Plant("what was written while the fdatasync ran counts as durable", "P3", "VolumeStore.cs",
            "DurableSequence = Math.Max(DurableSequence, _syncingSequence);", "DurableSequence = Math.Max(DurableSequence, AppendedSequence);"),
        Plant("a truncation is not in the log", "R4", "VolumeStore.cs",
            "var status = StageOwn(new RecordHeader { Kind = StoreRecordKind.Truncate, Sequence = toSequence }, [], SpaceClass.Control);", "var status = IoStatus.Ok;")
            // In the cluster nothing is ever cut that the journal's members have: all of them hold a prefix of one order.
            with { Runs = MutantRuns.StoreAlone, Seeds = AloneSeeds },
        Plant("the session windows are not in the checkpoint", "R12", "CheckpointSnapshot.cs",
            "volume.Windows.Encode(windows);", "new SessionWindows().Encode(windows);"),
        Plant("a segment is chained to the place where its forerunner began", "P1", "LogWriter.cs",
            "_nextNumber++, End, (uint)", "_nextNumber++, End with { OffsetBytes = SegmentHeader.SizeBytes }, (uint)"),
    ];

    private static Mutant Plant(string name, string rule, string file, string text, string replacement) =>
        new(name, $"store, {rule}", Store + file, text, replacement, Seeds, MutantRuns.OverStore);

    /// <summary>What the cluster's seeds hardly reach, since their stores are never that full.</summary>
    private static Mutant Alone(string name, string rule, string file, string text, string replacement) =>
        Plant(name, rule, file, text, replacement) with { Runs = MutantRuns.StoreAlone, Seeds = AloneSeeds };
}
