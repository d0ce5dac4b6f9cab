namespace Cluster.Tests.Simulation.Mutants;

/// <summary>In what only snapshots keep, and how it comes and goes in memory.</summary>
internal static partial class StoreMutants
{
    public static IReadOnlyList<Mutant> Pages { get; } =
    [
        Alone("a slot is used anew that the checkpoint under way reads", "maps, P3", "MapCache.cs",
            "if (_segments.IsSnapshotHeld && page.PlacedAt < _segments.Snapshot) _retiredSlots.Add(page.Slot);\n        else _freeSlots", "_freeSlots"),
        Alone("what comes back from the page file is not compared with its checksum", "maps", "MapPageFile.cs",
            "XxHash3.HashToUInt64(MemoryMarshal.AsBytes(entries));", "entries.Length > 0 ? 0UL : XxHash3.HashToUInt64(MemoryMarshal.AsBytes(entries));"),
        Alone("a page of a snapshot's does not say how far it goes", "maps, R19", "LayerPage.cs",
            "if (at == Mapped - 1) Last = block;", ""),
        Alone("a page of a snapshot's does not say how new its versions are", "maps, R19", "LayerPage.cs",
            "SequenceMax = Math.Max(SequenceMax, entry.Sequence);", ""),
        Alone("a page of a snapshot's keeps the filter of what it was", "maps, R19", "LayerPage.cs",
            "filter.CopyTo(_filter);", "if (_filter[0] == 0) filter.CopyTo(_filter);"),
        Alone("what went with a page of a snapshot's is left behind the others", "maps, R19", "LayerPage.cs",
            "entries[--Mapped] = default;", "--Mapped;"),
        Alone("a page that the loop itself wrote keeps the filter of what it was", "maps, R19", "MapCache.Jobs.cs",
            "layerPage.TakeFilter(filter);", ""),
        Alone("the end of a snapshot's page is cut off under a checkpoint that reads it", "maps, R19", "SnapshotLayer.Pages.cs",
            "map.BeginChange(page);\n        var frames = page.Frames;\n        page.CutTo(count);", "var frames = page.Frames;\n        page.CutTo(count);"),
        Alone("a full page of a snapshot's is split where it ends", "maps, R19", "SnapshotLayer.Pages.cs",
            "if (at <= half) return page;", "if (at <= half + 1) return page;"),
        Alone("the frames of a snapshot's page are counted once", "checkpoint", "LayerPage.cs",
            "if (IsAlone(at)) Frames++;", "if (Frames == 0) Frames = 1;"),
        Alone("what a snapshot keeps is its own although an older one sees it", "R19", "BlockMap.Seen.cs",
            "index++) _layers[index].EndBegun(layer.Sequence, _layers[at].Sequence);", "index++) ;"),
    ];
}
