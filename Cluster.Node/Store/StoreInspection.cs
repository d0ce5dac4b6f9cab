using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Store;

/// <summary>How an open found the log.</summary>
/// <param name="From">Where the checkpoint ends, or 0:0.</param>
/// <param name="Checkpoint">Its number; 0: there is none.</param>
/// <param name="WasCut">What lay behind <paramref name="End"/> was torn, and had not been flushed.</param>
internal sealed record RecoveredLog(ulong Checkpoint, LogPosition From, LogPosition End, long ReplayedBytes, bool WasCut);

/// <summary>A segment in use, or free (number 0).</summary>
/// <param name="Disk">Id of the disk where it lies; empty: on one that is missing.</param>
public sealed record SegmentFacts(string Name, ulong Number, long LiveBytes, int LiveBlocks, int TailRecords, Guid Disk = default);

/// <summary>One entry of the log, as it lies there. Status: of its payload.</summary>
public sealed record EntryFacts(string Segment, LogPosition Position, EntryKind Kind, RecordHeader Header, LogPosition Durable, IoStatus Status);

/// <summary>What is wrong with a store. Block: null if it is not about one block.</summary>
public sealed record StoreProblem(VolumeId? Volume, ulong? Block, string What);

/// <summary>How an inspection began: with any status but Ok there is none, and the reason is one sentence.</summary>
public sealed record InspectionResult(IoStatus Status, string Reason, StoreInspection? Inspection);

/// <summary>
/// Looks into the store of a node that does not run. The log is recovered by the very code of an open, over an <see cref="OverlayDisk"/>: what is
/// told is what the next open finds, and the disk stays as it is. Blocks; one thread.
/// </summary>
public sealed class StoreInspection : IDisposable
{
    private readonly BlockStore _store;

    private readonly IReadOnlyList<string> _halfBad;

    private StoreInspection(BlockStore store, Superblock superblock, IReadOnlyList<string> halfBad) => (_store, Superblock, _halfBad) = (store, superblock, halfBad);

    /// <summary>As it lies there, before any open.</summary>
    public Superblock Superblock { get; }

    /// <summary>The next open would find that bytes may be gone (R9).</summary>
    public bool IsSuspect => _store.Suspect;

    public ulong Checkpoint => _store.Recovered.Checkpoint;

    public LogPosition LogEnd => _store.Recovered.End;

    public long ReplayedBytes => _store.Recovered.ReplayedBytes;

    /// <summary>The log ends in a record that was not wholly written; nothing that was flushed is behind it.</summary>
    public bool WasCut => _store.Recovered.WasCut;

    public IReadOnlyList<IVolumeStore> Volumes => [.. _store.Volumes.OrderBy(volume => volume.Volume.Value)];

    public long BlocksToRead => _store.Volumes.Sum(volume => volume.Usage.MappedBlocks + ((VolumeStore)volume).Map.Layers.Sum(layer => layer.Blocks))
        + _store.Detached.Sum(map => map.MappedBlocks + map.Layers.Sum(layer => layer.Blocks));

    /// <summary>Bytes of volumes that are gone, or were copied anew, which clones of them still see.</summary>
    public long ClonesOnlyBytes => _store.Detached.Sum(map => map.StoredBytes + map.SnapshotBytes);

    /// <summary>Pages that the maps have, those of what only snapshots keep too, and how many those are.</summary>
    public (long Pages, long OfSnapshots) MapPages
    {
        get
        {
            var facts = _store.Maps.Facts;
            return (facts.ResidentPages + facts.EvictedPages, facts.ResidentLayerPages + facts.EvictedLayerPages);
        }
    }

    /// <summary>What the volume stands on in this store: "v3 at 17"; null: nothing.</summary>
    public static string? BaseOf(IVolumeStore volume) => ((VolumeStore)volume).Map.Base is { } below ? $"{below.Map.Volume} at {below.Snapshot}" : null;

    public IReadOnlyList<SegmentFacts> Segments => [.. _store.Segments.All.OrderBy(segment => segment.Number).ThenBy(segment => segment.Name, StringComparer.Ordinal)
        .Select(segment => new SegmentFacts(segment.Name, segment.Number, segment.LiveBytes, segment.LiveBlocks, segment.TailRecords, segment.Disk))];

    /// <summary>The store's disks, those that are missing too.</summary>
    public IReadOnlyList<StoreDiskFacts> Disks => _store.Disks;

    /// <summary>Encoded bytes of blocks that lie on disks that are missing.</summary>
    public long MissingBytes => _store.Segments.MissingBytes;

    /// <summary>Busy: a process has it open; Missing: there is no store; else as <see cref="BlockStore.Open"/>. Takes the disks.</summary>
    public static InspectionResult Open(IDisk below, ILoop loop, ILogger logger, IReadOnlyList<IDisk>? further = null)
    {
        var disk = new OverlayDisk(below);
        var isListHalfBad = DiskRosterFile.MayBeOld(disk);
        var status = SuperblockFile.TryOpen(disk, out var superblock, out var reason);
        if (status != IoStatus.Ok)
        {
            disk.Dispose();
            var text = status == IoStatus.Missing ? $"there is no store at {below.Description}" : $"the superblock at {below.Description} can't be used: {reason}";
            return new InspectionResult(status, text, null);
        }
        List<string> halfBad = [];
        if (superblock!.MayBeOld) halfBad.Add($"{HalfBad("superblock")}: the next start counts as one after a loss of power, and writes it anew");
        if (isListHalfBad) halfBad.Add($"{HalfBad("list of disks")}: a disk that failed lately may be used again; the next change of the list writes it anew");
        var opened = BlockStore.Open(new StoreOptions { SegmentBytes = (int)superblock.Current.SegmentBytes, MapCacheBytes = long.MaxValue }, loop, disk, new LoopDiskScheduler(loop), logger,
            [.. (further ?? []).Select(each => new OverlayDisk(each))]);
        return opened.Store is { } store
            ? new InspectionResult(IoStatus.Ok, "", new StoreInspection(store, superblock.Current, halfBad))
            : new InspectionResult(opened.Status, opened.Reason, null);
    }

    /// <summary>
    /// Reads every block that the maps name, and every record of the tails, and compares them with their checksums. What is found is told as it comes; so is each page
    /// of blocks that was read.
    /// </summary>
    public void Check(Action<StoreProblem> onProblem, Action<int> onRead, CancellationToken cancellation)
    {
        foreach (var what in _halfBad) onProblem(new StoreProblem(null, null, what));
        foreach (var volume in _store.Volumes.Cast<VolumeStore>().OrderBy(volume => volume.Volume.Value))
        {
            if (volume.Damage is { } damage) onProblem(new StoreProblem(volume.Volume, null, $"can't say what it holds: {damage}"));
            else CheckTail(volume, onProblem);
            CheckMap(volume.Map, onProblem, onRead, cancellation);
        }
        foreach (var map in _store.Detached)
        {
            if (map.IsDamaged) onProblem(new StoreProblem(map.Volume, null, "what its clones stand on is damaged"));
            CheckMap(map, onProblem, onRead, cancellation);
        }
    }

    /// <summary>The entries of the segments in use, in the order of the log; a segment's end, or what is bad there, ends it.</summary>
    public IEnumerable<EntryFacts> ReadLog()
    {
        foreach (var segment in _store.Segments.All.Where(segment => segment.Number > 0 && segment.Number <= LogEnd.Number).OrderBy(segment => segment.Number))
        {
            using var scanner = new LogScanner(segment.File, segment.Seed, segment.Number, SegmentHeader.SizeBytes, (uint)_store.Segments.SegmentBytes);
            while ((segment.Number < LogEnd.Number || scanner.Position < LogEnd) && scanner.Next() == ScanStep.Entry)
            {
                yield return new EntryFacts(segment.Name, new LogPosition(segment.Number, scanner.EntryOffsetBytes), scanner.Prefix.Kind,
                    scanner.Prefix.Kind == EntryKind.Record ? scanner.Header : default, scanner.Prefix.Durable, scanner.PayloadStatus);
            }
        }
    }

    public void Dispose()
    {
        _store.CloseFiles();
        _store.CloseDisks();
    }

    private static string HalfBad(string what) => $"one of the two slots of the {what} is damaged, or torn by a loss of power; the other counts, and may be the older one";

    private static void CheckTail(VolumeStore volume, Action<StoreProblem> onProblem)
    {
        for (var sequence = volume.CommitWatermark + 1; sequence <= volume.LastSequence; sequence++)
        {
            var (status, record) = volume.ReadTail(sequence);
            record?.Release();
            if (status != IoStatus.Ok) onProblem(new StoreProblem(volume.Volume, null, $"record {sequence}, which is not committed yet, can't be read: {status}"));
        }
    }

    /// <summary>What a clone shares is read where it belongs.</summary>
    private void CheckMap(BlockMap map, Action<StoreProblem> onProblem, Action<int> onRead, CancellationToken cancellation)
    {
        foreach (var number in map.PageNumbers().ToArray())
        {
            cancellation.ThrowIfCancellationRequested();
            onRead(CheckPage(map, number, onProblem));
        }
        foreach (var layer in map.Layers) CheckLayer(map, layer, onProblem, onRead, cancellation);
    }

    private void CheckLayer(BlockMap map, SnapshotLayer layer, Action<StoreProblem> onProblem, Action<int> onRead, CancellationToken cancellation)
    {
        Span<byte> bytes = stackalloc byte[Limits.EncodedBlockBytesMax];
        for (var index = 0; index < layer.PageCount; index++)
        {
            cancellation.ThrowIfCancellationRequested();
            var page = layer.Reach(index);
            for (var at = 0; at < page.Mapped; at++)
            {
                ref readonly var entry = ref page.Entries[at];
                if (entry.Segment == MapEntry.BaseSegment) continue;
                var block = page.BlockAt(at);
                var status = _store.ReadBlock(map.Volume, in entry, block, bytes[..entry.LengthBytes]);
                var keeper = layer.IsHidden && map.IsPinnedAt(layer.Sequence) ? $"clones of snapshot {layer.Sequence}" : $"snapshot {layer.Sequence}";
                if (status != IoStatus.Ok) onProblem(new StoreProblem(map.Volume, block, $"{_store.Explain(in entry, status)}, kept for {keeper}"));
            }
            onRead(page.Mapped);
        }
    }

    private int CheckPage(BlockMap map, ulong number, Action<StoreProblem> onProblem)
    {
        var page = map.Page(number);
        Span<byte> bytes = stackalloc byte[Limits.EncodedBlockBytesMax];
        for (var index = 0; index < MapPage.Blocks; index++)
        {
            ref readonly var entry = ref page.Entries[index];
            if (!entry.IsMapped || entry.Segment == MapEntry.BaseSegment) continue;
            var block = (number << MapPage.BlocksLog2) + (ulong)index;
            var status = _store.ReadBlock(map.Volume, in entry, block, bytes[..entry.LengthBytes]);
            if (status != IoStatus.Ok) onProblem(new StoreProblem(map.Volume, block, _store.Explain(in entry, status)));
        }
        return page.Mapped;
    }
}
