using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>A file of a device, in memory. Changed under the disk's gate; length and place may be read by any thread.</summary>
internal sealed class DeviceSlot(string name, int pair, int index)
{
    private long _lengthBytes;
    private long _atBytes;

    public string Name => name;

    public int Pair => pair;

    public int Index => index;

    public uint Start { get; private set; }

    public uint Units { get; private set; }

    /// <summary>Where its first byte is on the device; 0: it has no units.</summary>
    public long AtBytes => Volatile.Read(ref _atBytes);

    /// <summary>Nothing was ever written behind it, since the file got its units; of one that was there before this process: its length.</summary>
    public long WrittenBytes { get; set; }

    public long LengthBytes { get => Volatile.Read(ref _lengthBytes); set => Volatile.Write(ref _lengthBytes, value); }

    /// <summary>How often it is open.</summary>
    public int Opens { get; set; }

    public DeviceEntry Entry => new(name, Start, Units, LengthBytes);

    public void Place(uint start, uint units, uint unitBytes)
    {
        (Start, Units) = (start, units);
        Volatile.Write(ref _atBytes, units == 0 ? 0 : (long)start * unitBytes);
    }
}

/// <summary>Which files a device has, and which of its units are free. One thread at a time.</summary>
internal sealed class DeviceTable
{
    private readonly Dictionary<string, DeviceSlot> _names = new(StringComparer.Ordinal);
    private readonly Dictionary<int, Pair> _pairs = [];
    private readonly SortedSet<int> _changed = [];
    private readonly long _unitsEnd;

    /// <summary>Runs of units that are some file's, by their first.</summary>
    private readonly SortedList<uint, uint> _used = [];

    /// <summary>Deleted, and that is not on media.</summary>
    private readonly List<DeviceSlot> _deleted = [];

    /// <summary>Deleted on media, and still open.</summary>
    private readonly List<DeviceSlot> _lingering = [];

    /// <summary>At first, too: what was read may be in the page cache only, and the sector that is written next may be the only one of its pair on media.</summary>
    private bool _hasNewUnits = true;

    /// <summary>As many as the largest file had: what is free in pieces that are smaller is of no use to another one like it.</summary>
    private uint _unitsMax = 1;

    /// <param name="deviceBytes">As it is now: a device that grew has room for more.</param>
    public DeviceTable(in DeviceHeader header, long deviceBytes) => (Header, _unitsEnd) = (header, Math.Min(uint.MaxValue, deviceBytes / header.UnitBytes));

    public DeviceHeader Header { get; }

    public int Count => _names.Count;

    public IEnumerable<string> Names => _names.Keys;

    public long FreeBytes
    {
        get
        {
            var (at, whole) = (Header.FirstUnit, 0L);
            foreach (var (start, units) in _used)
            {
                whole += (start - at) / _unitsMax;
                at = (long)start + units;
            }
            return (whole + ((_unitsEnd - at) / _unitsMax)) * _unitsMax * Header.UnitBytes;
        }
    }

    /// <summary>A write of the table makes units free.</summary>
    public bool AwaitsSync => _deleted.Count > 0;

    /// <summary>One sector that is to be written.</summary>
    internal sealed record Change(int Pair, int Copy, ulong Generation, long OffsetBytes, byte[] Sector, IReadOnlyList<DeviceSlot> Deleted);

    private sealed class Pair
    {
        /// <summary>Of the sector that holds.</summary>
        public int Copy { get; set; } = 1;

        public ulong Generation { get; set; }

        public DeviceSlot?[] Slots { get; } = new DeviceSlot?[DeviceSector.EntriesMax];
    }

    public static DiskResult Read(in DeviceHeader header, IDiskFile bytes, string description, out DeviceTable? table)
    {
        var read = new DeviceTable(header, bytes.LengthBytes);
        table = null;
        var both = new byte[2 * DeviceSector.SizeBytes];
        var entries = new DeviceEntry?[DeviceSector.EntriesMax];
        for (var pair = 0; pair < header.Pairs; pair++)
        {
            var result = bytes.ReadExactly(DeviceSector.OffsetOf(pair, 0), both);
            if (!result.IsOk) result = ReadApart(bytes, pair, both);
            if (!result.IsOk) return result;
            if (!both.AsSpan().ContainsAnyExcept((byte)0)) continue;
            if (read.Take(pair, both, entries) is { } problem) return DiskResult.Failed(IoStatus.DeviceError, $"the table of {description} can't be used: {problem}");
        }
        table = read;
        return DiskResult.Done();
    }

    /// <summary>One that can't be read is as one that is damaged.</summary>
    private static DiskResult ReadApart(IDiskFile bytes, int pair, Span<byte> both)
    {
        var (result, unread) = (DiskResult.Done(), 0);
        for (var copy = 0; copy < 2; copy++)
        {
            var sector = both.Slice(copy * DeviceSector.SizeBytes, DeviceSector.SizeBytes);
            var read = bytes.ReadExactly(DeviceSector.OffsetOf(pair, copy), sector);
            if (read.IsOk) continue;
            sector.Fill(0xFF);
            (result, unread) = (read, unread + 1);
        }
        return unread < 2 ? DiskResult.Done() : result;
    }

    /// <summary>A torn sector leaves the other one, which is older; a pair that was written has one that is valid.</summary>
    private string? Take(int number, ReadOnlySpan<byte> both, DeviceEntry?[] entries)
    {
        var newest = -1;
        var newestGeneration = 0UL;
        var isEmpty = false;
        for (var copy = 0; copy < 2; copy++)
        {
            var status = DeviceSector.TryDecode(both[(copy * DeviceSector.SizeBytes)..], Header.Format, number, out var generation, entries);
            isEmpty |= status == IoStatus.Missing;
            if (status == IoStatus.Malformed) return $"pair {number} of its sectors says what can't be";
            if (status == IoStatus.Ok && generation > newestGeneration) (newest, newestGeneration) = (copy, generation);
        }
        // The first write of a pair may be torn: it had nothing before.
        if (newest < 0) return isEmpty ? null : $"both sectors of pair {number} are damaged";
        _ = DeviceSector.TryDecode(both[(newest * DeviceSector.SizeBytes)..], Header.Format, number, out _, entries);
        var pair = new Pair { Copy = newest, Generation = newestGeneration };
        _pairs.Add(number, pair);
        for (var index = 0; index < entries.Length; index++)
        {
            if (entries[index] is not { } entry) continue;
            if (entry.LengthBytes > (long)entry.Units * Header.UnitBytes) return $"{entry.Name} is longer than its units";
            var slot = new DeviceSlot(entry.Name, number, index) { LengthBytes = entry.LengthBytes, WrittenBytes = (long)entry.Units * Header.UnitBytes };
            slot.Place(entry.Start, entry.Units, Header.UnitBytes);
            if (!_names.TryAdd(entry.Name, slot)) return $"{entry.Name} is there twice";
            if (entry.Units > 0 && !TryUse(entry.Start, entry.Units)) return $"{entry.Name} has units that are not there, or another file's";
            pair.Slots[index] = slot;
        }
        return null;
    }

    public DeviceSlot? Find(string name) => _names.GetValueOrDefault(name);

    /// <summary>Null: the table is full.</summary>
    public DeviceSlot? Add(string name)
    {
        for (var number = 0; number < Header.Pairs; number++)
        {
            if (!_pairs.TryGetValue(number, out var pair)) _pairs.Add(number, pair = new Pair());
            var index = Array.IndexOf(pair.Slots, null);
            if (index < 0) continue;
            var slot = pair.Slots[index] = new DeviceSlot(name, number, index);
            _names.Add(name, slot);
            _changed.Add(number);
            return slot;
        }
        return null;
    }

    public void Remove(string name)
    {
        if (!_names.Remove(name, out var slot)) return;
        _pairs[slot.Pair].Slots[slot.Index] = null;
        _changed.Add(slot.Pair);
        _deleted.Add(slot);
    }

    public void SetLength(DeviceSlot slot, long lengthBytes)
    {
        if (lengthBytes == slot.LengthBytes) return;
        slot.LengthBytes = lengthBytes;
        Note(slot);
    }

    public bool IsChanged(DeviceSlot slot) => _changed.Contains(slot.Pair);

    /// <summary>The first run that is long enough; of the smallest files the last one, out of the others' way.</summary>
    public bool TryReserve(long lengthBytes, out uint start, out uint units)
    {
        var wanted = Math.Max(1, (lengthBytes + Header.UnitBytes - 1) / Header.UnitBytes);
        if (wanted == 1) return TryReserveLast(out start, out units);
        var at = Header.FirstUnit;
        foreach (var (usedStart, usedUnits) in _used)
        {
            if (usedStart - at >= wanted) break;
            at = (long)usedStart + usedUnits;
        }
        (start, units) = at + wanted <= _unitsEnd ? ((uint)at, (uint)wanted) : (0, 0);
        return units > 0 && TryUse(start, units);
    }

    private bool TryReserveLast(out uint start, out uint units)
    {
        var end = _unitsEnd;
        for (var index = _used.Count - 1; index >= 0 && (long)_used.GetKeyAtIndex(index) + _used.GetValueAtIndex(index) == end; index--) end = _used.GetKeyAtIndex(index);
        (start, units) = end > Header.FirstUnit ? ((uint)(end - 1), 1u) : (0, 0);
        return units > 0 && TryUse(start, units);
    }

    public void Give(DeviceSlot slot, uint start, uint units)
    {
        slot.Place(start, units, Header.UnitBytes);
        _hasNewUnits = true;
        Note(slot);
    }

    public void GiveBack(uint start, uint units)
    {
        Invariant.That(_used.Remove(start, out var had) && had == units, "units of a device that were nobody's are given back");
    }

    /// <summary>Units of files that are deleted on media and not open any more.</summary>
    public void Reclaim()
    {
        for (var index = _lingering.Count - 1; index >= 0; index--)
        {
            if (_lingering[index].Opens > 0) continue;
            GiveBack(_lingering[index].Start, _lingering[index].Units);
            _lingering.RemoveAt(index);
        }
    }

    /// <param name="hasNewUnits">Files have units that an earlier one had: what is in them now comes before the table.</param>
    public List<Change> TakeChanges(out bool hasNewUnits)
    {
        (hasNewUnits, _hasNewUnits) = (_hasNewUnits, false);
        var changes = new List<Change>();
        var entries = new DeviceEntry?[DeviceSector.EntriesMax];
        foreach (var number in _changed)
        {
            var pair = _pairs[number];
            for (var index = 0; index < entries.Length; index++) entries[index] = pair.Slots[index]?.Entry;
            var copy = pair.Copy ^ 1;
            var sector = new byte[DeviceSector.SizeBytes];
            DeviceSector.Encode(sector, Header.Format, number, pair.Generation + 1, entries);
            changes.Add(new Change(number, copy, pair.Generation + 1, DeviceSector.OffsetOf(number, copy), sector, [.. _deleted.Where(slot => slot.Pair == number)]));
        }
        _changed.Clear();
        return changes;
    }

    /// <summary>Runs of units that are nobody's any more; they are still in use for this table.</summary>
    public IReadOnlyList<(uint Start, uint Units)> OnWritten(List<Change> changes, bool isOnMedia)
    {
        var freed = new List<(uint, uint)>();
        foreach (var change in changes)
        {
            if (!isOnMedia)
            {
                _changed.Add(change.Pair);
                _hasNewUnits = true;
                continue;
            }
            (_pairs[change.Pair].Copy, _pairs[change.Pair].Generation) = (change.Copy, change.Generation);
            foreach (var slot in change.Deleted)
            {
                _deleted.Remove(slot);
                if (slot.Units == 0) continue;
                if (slot.Opens == 0) freed.Add((slot.Start, slot.Units));
                else _lingering.Add(slot);
            }
        }
        return freed;
    }

    private bool TryUse(uint start, uint units)
    {
        if (start < Header.FirstUnit || (long)start + units > _unitsEnd) return false;
        if (!_used.TryAdd(start, units)) return false;
        var index = _used.IndexOfKey(start);
        var isClear = (index == 0 || (long)_used.GetKeyAtIndex(index - 1) + _used.GetValueAtIndex(index - 1) <= start)
            && (index == _used.Count - 1 || (long)start + units <= _used.GetKeyAtIndex(index + 1));
        if (isClear) _unitsMax = Math.Max(_unitsMax, units);
        else _used.RemoveAt(index);
        return isClear;
    }

    private void Note(DeviceSlot slot)
    {
        // Of a file that was deleted nothing is kept.
        if (_names.GetValueOrDefault(slot.Name) == slot) _changed.Add(slot.Pair);
    }
}
