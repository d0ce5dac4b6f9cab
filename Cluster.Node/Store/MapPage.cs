using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>
/// The entries of 512 neighbouring blocks. They are in memory, or in a slot of the page file (<see cref="MapCache"/>): what stays of a page that is not resident is this object, about 110
/// bytes. While a checkpoint, or the page file, is written from its entries they are frozen: a change works on a copy.
/// </summary>
public class MapPage
{
    public const int BlocksLog2 = 9;
    public const int Blocks = 1 << BlocksLog2;

    private MapEntry[]? _entries;

    /// <summary>No entry of the page is newer; may be too high after entries went.</summary>
    public ulong SequenceMax;
    public int Mapped;
    public int StoredBytes;

    /// <summary>The snapshot up to which the page was copied or made: it may be changed in place while no later one is being
    /// written.</summary>
    public long Snapshot;

    public MapPage() => _entries = new MapEntry[Blocks];

    internal MapPage(BlockMap map, ulong number, MapEntry[] entries) => (Map, Number, _entries) = (map, number, entries);

    public MapEntry[] Entries => _entries ?? throw new InvariantException("a page of a map was used that is not in memory");

    /// <summary>Null: they are in the page file.</summary>
    internal MapEntry[]? Resident => _entries;

    internal bool IsResident => _entries is not null;

    /// <summary>Whose page it is; null: of no map, or of none any more.</summary>
    internal BlockMap? Map { get; set; }

    internal ulong Number { get; set; }

    /// <summary>Where in the page file its entries lie, just as they are; -1: nowhere.</summary>
    internal int Slot = -1;

    /// <summary>Of the entries in the slot: what is read there is this page as it was last written, or it is bad.</summary>
    internal ulong Hash;

    /// <summary>The newest snapshot when the slot was given: those up to it may know the slot.</summary>
    internal long PlacedAt;

    /// <summary>Changes with the slot: a read that was under way meanwhile says nothing.</summary>
    internal int Stamp;

    /// <summary>Where it is among the resident pages; -1: it is not.</summary>
    internal int ClockAt = -1;

    /// <summary>Looked at since the hand of the clock went by.</summary>
    internal bool IsUsed;

    /// <summary>Its entries are being written to the page file.</summary>
    internal bool IsWriting;

    /// <summary>Its entries could not be read back; it shows none.</summary>
    internal bool IsLost;

    /// <summary>What an operator is told of it.</summary>
    internal virtual string What => $"page {Number} of the map of volume {Map!.Volume}, blocks {Number << BlocksLog2} to {((Number + 1) << BlocksLog2) - 1},";

    internal void Put(MapEntry[]? entries) => _entries = entries;

    /// <summary>Its entries are gone.</summary>
    internal virtual void OnLost() => IsLost = true;

    /// <summary>As read from a checkpoint, into an empty slot.</summary>
    public void Load(int index, in MapEntry entry)
    {
        Entries[index] = entry;
        Mapped++;
        if (entry.Segment != MapEntry.BaseSegment) StoredBytes += entry.LengthBytes;
        SequenceMax = Math.Max(SequenceMax, entry.Sequence);
    }
}
