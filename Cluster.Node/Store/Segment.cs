namespace Cluster.Node.Store;

/// <summary>One segment file of the store. Loop only, but for its file.</summary>
public sealed class Segment(int index, string name, Guid id, IDiskFile file)
{
    /// <summary>Slot in the <see cref="SegmentTable"/>; never changes in this process.</summary>
    public int Index { get; } = index;

    public string Name { get; } = name;

    public Guid Id { get; } = id;

    public IDiskFile File { get; } = file;

    /// <summary>Id of the disk on which it lies; empty: that is missing.</summary>
    public Guid Disk { get; } = file is PoolFile known ? known.Disk.Id : Guid.Empty;

    /// <summary>Its disk is to be emptied: it is not used anew.</summary>
    public bool IsAvoided => File is PoolFile { Disk.IsAvoided: true };

    /// <summary>A call on its disk does not return.</summary>
    public bool IsHung => File is PoolFile { Disk.IsHung: true };

    /// <summary>Null: that is missing, or the store knows of no disks.</summary>
    internal StoreDisk? PoolDisk => (File as PoolFile)?.Disk;

    public bool IsOn(StoreDisk disk) => File is PoolFile known && known.Disk == disk;

    /// <summary>Its file is gone, or goes: the slot is not used any more.</summary>
    public bool IsRetired { get; set; }

    /// <summary>Whether its disk may be written to next, and answers; asked once for each segment that is taken.</summary>
    public bool IsTurn() => File is not PoolFile known || (!known.Disk.IsHung && known.Disk.IsTurn());

    /// <summary>A read found bad bytes of a block here.</summary>
    public void CountBad(uint offsetBytes) => PoolDisk?.CountErrorAt(Name, offsetBytes);

    /// <summary>It is on a disk that is not there: its blocks can't be read, and it is not used anew.</summary>
    public bool IsMissing => File is MissingFile;

    public ulong Seed { get; } = SegmentHeader.SeedOf(id);

    /// <summary>Number of its present use in the log; 0: free.</summary>
    public ulong Number { get; set; }

    /// <summary>Where the next entry goes; all below is staged.</summary>
    public uint EndBytes { get; set; }

    /// <summary>All below is in the file.</summary>
    public uint WrittenBytes { get; set; }

    /// <summary>From <see cref="WrittenBytes"/> to here it was zeroed for its present use.</summary>
    public uint ZeroedBytes { get; set; }

    /// <summary>Written to since the last fdatasync began.</summary>
    public bool IsDirty { get; set; }

    /// <summary>Bytes of the blocks that the maps have here.</summary>
    public long LiveBytes { get; set; }

    public int LiveBlocks { get; set; }

    /// <summary>Uncommitted records that lie here (R4).</summary>
    public int TailRecords { get; set; }

    /// <summary>Reads under way on the disk threads; the segment is not used anew before they end.</summary>
    public int Readers { get; set; }

    /// <summary>All that the log had written when it left this segment, or took it in: its age is what was written since.</summary>
    public long SealedAtBytes { get; set; }

    /// <summary>Its live blocks are copied to a segment that is not in the log yet.</summary>
    public bool IsMoving { get; set; }

    /// <summary>How often the cleaner has read all of it and something was left.</summary>
    public int Passes { get; set; }

    /// <summary>The cleaner could not move all of it; it is left alone until the next open.</summary>
    public bool IsStuck { get; set; }

    /// <summary>Reads that came back late with nothing, and were forgotten.</summary>
    public int LateFailures { get; set; }

    /// <summary>What lives here may be of pages of maps that are gone and were not read yet: the cleaner tries again once they were.</summary>
    public bool AwaitsReleases { get; set; }

    /// <summary>It is in the log with copies of which the maps do not name all yet.</summary>
    public bool IsTakingIn { get; set; }

    public bool IsDead => LiveBlocks == 0 && TailRecords == 0 && !IsTakingIn;
}
