using System.IO.Hashing;
using System.Runtime.InteropServices;
using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>
/// Where pages of the maps lie that are not in memory: slots of one page each, as it is in memory. It is memory of this process and no more: nothing of it is synced, an open makes it anew, and
/// what a crash leaves in it means nothing, as checkpoint and log have all of it. Any thread; a slot is read and written by whoever the cache gave it to.
/// </summary>
internal sealed class MapPageFile(DiskPool disk) : IDisposable
{
    public const string Name = "map-pages";
    public const int SlotBytes = MapPage.Blocks * MapEntry.SizeBytes;

    /// <summary>It grows by as many slots as it has, between these.</summary>
    private const int GrowSlotsMin = 16;
    private const int GrowSlotsMax = 1024;

    private readonly Lock _gate = new();
    private volatile IDiskFile? _file;
    private long _lengthBytes;
    private long _reserveBytes;

    public long LengthBytes => Volatile.Read(ref _lengthBytes);

    /// <summary>The file is that long; a slot that it does not have yet makes it grow.</summary>
    public bool Has(int slot) => (slot + 1L) * SlotBytes <= LengthBytes;

    /// <summary>What it leaves free of the home's file system: room for the next checkpoint.</summary>
    public long ReserveBytes
    {
        get => Volatile.Read(ref _reserveBytes);
        set => Volatile.Write(ref _reserveBytes, value);
    }

    public static ulong HashOf(ReadOnlySpan<MapEntry> entries) => XxHash3.HashToUInt64(MemoryMarshal.AsBytes(entries));

    /// <summary>NoSpace: the file may not grow. A disk thread.</summary>
    public DiskResult Write(int slot, ReadOnlySpan<MapEntry> entries)
    {
        var result = Reach((slot + 1L) * SlotBytes);
        return result.IsOk ? Put(slot, entries) : result;
    }

    /// <summary>The same for the loop, which waits for no other thread: Busy if one is making the file longer and the slot is behind its end. It makes it longer by the least only.</summary>
    public DiskResult TryWrite(int slot, ReadOnlySpan<MapEntry> entries)
    {
        var result = TryReach((slot + 1L) * SlotBytes);
        return result.IsOk ? Put(slot, entries) : result;
    }

    private DiskResult Put(int slot, ReadOnlySpan<MapEntry> entries) => _file!.WriteAll((long)slot * SlotBytes, MemoryMarshal.AsBytes(entries));

    /// <summary>BadChecksum: it is not what was written there. Tried twice: an error of the moment must not cost a start of the node.</summary>
    public DiskResult Read(int slot, ulong hash, Span<MapEntry> to)
    {
        var result = ReadOnce(slot, hash, to);
        return result.IsOk ? result : ReadOnce(slot, hash, to);
    }

    private DiskResult ReadOnce(int slot, ulong hash, Span<MapEntry> to)
    {
        var result = _file!.ReadExactly((long)slot * SlotBytes, MemoryMarshal.AsBytes(to));
        return !result.IsOk ? result : HashOf(to) == hash ? result : DiskResult.Failed(IoStatus.BadChecksum, $"slot {slot} of {Name} does not match its checksum");
    }

    /// <summary>The same, only from the page cache; false: that does not have it, or not as it should be, and <see cref="Read"/> will say more.</summary>
    public bool TryReadCached(int slot, ulong hash, Span<MapEntry> to) => _file!.TryReadCached((long)slot * SlotBytes, MemoryMarshal.AsBytes(to)).IsOk && HashOf(to) == hash;

    /// <summary>The slot will be read soon.</summary>
    public void Advise(int slot) => _file!.WillNeed((long)slot * SlotBytes, SlotBytes);

    public void Dispose()
    {
        if (_file is not { } file) return;
        file.Dispose();
        // What stays of it goes with the next open.
        _ = disk.Delete(Name);
    }

    private DiskResult Reach(long lengthBytes)
    {
        if (LengthBytes >= lengthBytes) return DiskResult.Done();
        lock (_gate) return Grow(lengthBytes, GrowSlotsMax);
    }

    private DiskResult TryReach(long lengthBytes)
    {
        if (LengthBytes >= lengthBytes) return DiskResult.Done();
        if (!_gate.TryEnter()) return DiskResult.Failed(IoStatus.Busy, $"{Name} is being made longer");
        try
        {
            return Grow(lengthBytes, GrowSlotsMin);
        }
        finally
        {
            _gate.Exit();
        }
    }

    private DiskResult Grow(long lengthBytes, int slotsMax)
    {
        if (LengthBytes >= lengthBytes) return DiskResult.Done();
        var file = _file;
        if (file is null)
        {
            var opened = disk.Open(Name, create: true, out file);
            if (!opened.IsOk) return opened;
            _file = file;
        }
        var to = Math.Max(lengthBytes, LengthBytes + Math.Clamp(LengthBytes, GrowSlotsMin * (long)SlotBytes, slotsMax * (long)SlotBytes));
        if (disk.HomeFreeBytes - (to - LengthBytes) < ReserveBytes)
            return DiskResult.Failed(IoStatus.NoSpace, $"{Name} can't grow to {to >> 10} KiB: the file system has {disk.HomeFreeBytes >> 10} KiB free, of which the next checkpoint needs {ReserveBytes >> 10} KiB");
        var result = file!.Preallocate(to);
        if (result.IsOk) Volatile.Write(ref _lengthBytes, to);
        return result;
    }
}
