using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>
/// A block device without a file system as a disk of a store: the flat set of files that the store wants, and no more (layout: <see cref="DeviceHeader"/>, <see cref="DeviceSector"/>; docs/disk-format.md). No renames: only a home
/// needs them, and a home is a directory. What a file has before it is written is undefined, but for its first 64 KiB, which are zeroes.
/// </summary>
/// <remarks>
/// The order that a crash depends on: the table is written behind a sync of the zeroes that new files begin with; a name is on media with the sync behind the table; the units of a file that was deleted are free for others only then, and not while it is open.
/// So no two entries on media ever share a unit. All files are written through one descriptor, and the kernel tells a descriptor of a failed write-back once: one sync at a time, and none is believed after one that failed.
/// </remarks>
internal sealed class DeviceDisk(IRawDevice device, Func<Guid> newId) : IDisk
{
    public const long DeviceBytesMin = 16L << 20;

    /// <summary>Its name for the store, where something is on it that is not ours.</summary>
    public const string Foreign = "something that is no disk of a store, in its first or last MiB";

    /// <summary>What its store says of that, where it had a disk of its own before.</summary>
    public const string Overwritten = "its first or last MiB has something that is no disk of a store";

    private const int PieceBytes = 1 << 20;

    /// <summary>State in memory; never held during I/O.</summary>
    private readonly Lock _gate = new();

    /// <summary>Held by whoever writes the table.</summary>
    private readonly Lock _tableGate = new();

    private IDiskFile? _bytes;
    private DeviceTable? _table;
    private bool _isBlank;
    private bool _isForeign;
    private volatile bool _isLoaded;

    /// <summary>How a sync failed: none is believed after it (R10).</summary>
    private DiskResult? _failedSync;

    /// <summary>Held during a sync, so that whoever waits for it gets what it came to.</summary>
    private readonly Lock _syncGate = new();

    /// <summary>What was read of the table, a process that was killed may have left in the page cache only. Under the table's gate.</summary>
    private bool _isTableOnMedia;
    private int _users = 1;
    private long _freeBytes;
    private bool _isClaimed;

    public string Description => device.Description;

    public long FreeBytes => Volatile.Read(ref _freeBytes);

    public ulong FileSystem => device.Number;

    /// <summary>What was read before is read anew: another process may have had it until now.</summary>
    public DiskResult TryLock()
    {
        var result = device.Claim();
        if (!result.IsOk || _isClaimed) return result;
        _isClaimed = true;
        lock (_tableGate) (_table, _isBlank, _isForeign, _isLoaded) = (null, false, false, false);
        return Load();
    }

    public DiskResult List(List<string> names)
    {
        var result = Load();
        if (!result.IsOk) return result;
        lock (_gate)
        {
            if (_isForeign) names.Add(Foreign);
            if (_table is not null) names.AddRange(_table.Names);
        }
        return result;
    }

    public DiskResult Open(string name, bool create, out IDiskFile? file)
    {
        file = null;
        var result = Load();
        if (result.IsOk && create && _isBlank) result = Format();
        if (!result.IsOk) return result;
        lock (_gate)
        {
            var slot = _table?.Find(name);
            if (slot is null && !create) return DiskResult.Failed(IoStatus.Missing, $"{name} is not on {Description}");
            if (_table is null) return DiskResult.Failed(IoStatus.DeviceError, $"there is {Foreign}");
            if (slot is null)
            {
                Invariant.That(DeviceEntry.IsName(name), "a file of a device has a name that its table can't hold");
                slot = _table.Add(name);
                if (slot is null) return DiskResult.Failed(IoStatus.NoSpace, $"the table of {Description} is full: it has {_table.Count} files");
            }
            slot.Opens++;
            _users++;
            file = new DeviceFile(this, slot, _bytes!);
            return DiskResult.Done();
        }
    }

    public DiskResult Delete(string name)
    {
        var result = Load();
        if (!result.IsOk) return result;
        lock (_gate) _table?.Remove(name);
        return result;
    }

    public DiskResult Rename(string from, string to) => DiskResult.Failed(IoStatus.Unsupported, $"{Description} has no renames");

    public DiskResult SyncDirectory()
    {
        var result = Load();
        return result.IsOk && _table is not null ? WriteTable() : result;
    }

    public void Dispose()
    {
        device.Dispose();
        Release();
    }

    /// <summary>Files that are open outlive the disk.</summary>
    private void Release()
    {
        lock (_gate)
        {
            if (--_users > 0) return;
        }
        _bytes?.Dispose();
    }

    internal void Close(DeviceSlot slot)
    {
        lock (_gate)
        {
            slot.Opens--;
            _table!.Reclaim();
            NoteFree();
        }
        Release();
    }

    /// <summary>The file has units for so many bytes after it, and is that long.</summary>
    internal DiskResult Extend(DeviceSlot slot, long lengthBytes)
    {
        bool isNew;
        lock (_gate) isNew = slot.Units == 0;
        if (isNew && TakeUnits(slot, lengthBytes) is { IsOk: false } refused) return refused;
        lock (_gate)
        {
            if (lengthBytes > (long)slot.Units * _table!.Header.UnitBytes)
                return DiskResult.Failed(IoStatus.NoSpace, $"{slot.Name} has room for {(long)slot.Units * _table.Header.UnitBytes} bytes on {Description}, and does not grow");
            _table.SetLength(slot, Math.Max(slot.LengthBytes, lengthBytes));
        }
        return DiskResult.Done();
    }

    /// <summary>Whoever else extends the same file now is a caller that breaks the seam's rule; nobody does.</summary>
    private DiskResult TakeUnits(DeviceSlot slot, long lengthBytes)
    {
        for (var isSecond = false; ; isSecond = true)
        {
            uint start, units;
            bool wasFound, mayFree;
            lock (_gate)
            {
                wasFound = _table!.TryReserve(lengthBytes, out start, out units);
                mayFree = _table.AwaitsSync;
            }
            if (wasFound)
            {
                var result = Clear((long)start * _table.Header.UnitBytes, Math.Min(DeviceHeader.UnitBytesOfNew, (long)units * _table.Header.UnitBytes));
                lock (_gate)
                {
                    if (result.IsOk) _table.Give(slot, start, units);
                    else _table.GiveBack(start, units);
                    NoteFree();
                }
                return result;
            }
            // Units of files that are deleted are free once that is on media.
            if (isSecond || !mayFree) return DiskResult.Failed(IoStatus.NoSpace, $"{Description} has no {lengthBytes} bytes in one piece free");
            var written = WriteTable();
            if (!written.IsOk) return written;
        }
    }

    private DiskResult Clear(long offsetBytes, long lengthBytes)
    {
        var zeroes = new byte[Math.Min(PieceBytes, lengthBytes)];
        for (var at = 0L; at < lengthBytes; at += zeroes.Length)
        {
            var result = _bytes!.WriteAll(offsetBytes + at, zeroes.AsSpan(0, (int)Math.Min(zeroes.Length, lengthBytes - at)));
            if (!result.IsOk) return result;
        }
        return DiskResult.Done();
    }

    /// <summary>Bytes and, if the file is new or grew, its entry.</summary>
    internal DiskResult Sync(DeviceSlot slot)
    {
        bool isChanged;
        lock (_gate) isChanged = _table!.IsChanged(slot);
        return isChanged ? WriteTable() : Sync();
    }

    private DiskResult Sync()
    {
        lock (_syncGate)
        {
            if (_failedSync is { } before) return before;
            var result = _bytes!.Sync();
            if (!result.IsOk) _failedSync = result;
            return result;
        }
    }

    /// <summary>Everything written so far, and the table as it is now, are on media when it answers Ok.</summary>
    private DiskResult WriteTable()
    {
        lock (_tableGate)
        {
            List<DeviceTable.Change> changes;
            bool hasNewUnits;
            lock (_gate) changes = _table!.TakeChanges(out hasNewUnits);
            var result = Write(changes, hasNewUnits);
            IReadOnlyList<(uint Start, uint Units)> freed;
            lock (_gate) freed = _table.OnWritten(changes, result.IsOk);
            lock (_gate)
            {
                foreach (var (start, units) in freed) _table.GiveBack(start, units);
                _table.Reclaim();
                NoteFree();
            }
            return result;
        }
    }

    private DiskResult Write(List<DeviceTable.Change> changes, bool hasNewUnits)
    {
        if (changes.Count == 0 && _isTableOnMedia) return DiskResult.Done();
        if (hasNewUnits && Sync() is { IsOk: false } failed) return failed;
        foreach (var change in changes)
        {
            var result = _bytes!.WriteAll(change.OffsetBytes, change.Sector);
            if (!result.IsOk) return result;
        }
        var synced = Sync();
        _isTableOnMedia |= synced.IsOk;
        return synced;
    }

    private void NoteFree() => Volatile.Write(ref _freeBytes, _table?.FreeBytes ?? 0);

    /// <summary>Once; reads only.</summary>
    private DiskResult Load()
    {
        // A look at what is known waits for nobody's sync.
        if (_isLoaded) return DiskResult.Done();
        lock (_tableGate)
        {
            if (_isLoaded) return DiskResult.Done();
            var result = _bytes is null ? device.Open(out _bytes) : DiskResult.Done();
            if (result.IsOk && _bytes!.LengthBytes < DeviceBytesMin)
                result = DiskResult.Failed(IoStatus.NoSpace, $"{Description} has {_bytes.LengthBytes} bytes: a disk of a store has {DeviceBytesMin} or more");
            if (!result.IsOk) return result;
            result = ReadHeader(out var header);
            if (!result.IsOk) return result;
            if (header is null) return LookForOthers();
            if (header.Value.DeviceBytes > _bytes!.LengthBytes)
                return DiskResult.Failed(IoStatus.DeviceError, $"{Description} has {_bytes.LengthBytes} bytes, and had {header.Value.DeviceBytes} when it was taken into use");
            result = DeviceTable.Read(header.Value, _bytes, Description, out var table);
            if (!result.IsOk) return result;
            lock (_gate)
            {
                _table = table;
                NoteFree();
            }
            _isLoaded = true;
            return result;
        }
    }

    private DiskResult ReadHeader(out DeviceHeader? header)
    {
        header = null;
        var bytes = new byte[DeviceHeader.SizeBytes];
        var unread = DiskResult.Done();
        for (var copy = 0; copy < 2; copy++)
        {
            var result = _bytes!.ReadExactly(copy * DeviceHeader.SizeBytes, bytes);
            if (!result.IsOk)
            {
                unread = result;
                continue;
            }
            var status = DeviceHeader.TryDecode(bytes, out var read);
            if (status == IoStatus.Unsupported) return DiskResult.Failed(status, $"{Description} was taken into use by a newer version");
            if (status != IoStatus.Ok) continue;
            header = read;
            return DiskResult.Done();
        }
        return unread;
    }

    /// <summary>Partition tables, file systems and members of arrays say so in the first or the last MiB of a device.</summary>
    private DiskResult LookForOthers()
    {
        var bytes = new byte[PieceBytes];
        foreach (var offset in (long[])[0, _bytes!.LengthBytes - PieceBytes])
        {
            var result = _bytes.ReadExactly(offset, bytes);
            if (!result.IsOk) return result;
            _isForeign |= bytes.AsSpan().ContainsAnyExcept((byte)0);
        }
        (_isBlank, _isLoaded) = (!_isForeign, true);
        if (_isBlank) Volatile.Write(ref _freeBytes, _bytes.LengthBytes);
        return DiskResult.Done();
    }

    /// <summary>A device of zeroes gets an empty table, and then a header: without the header it still is one of zeroes.</summary>
    private DiskResult Format()
    {
        lock (_tableGate)
        {
            if (!_isBlank) return DiskResult.Done();
            Invariant.That(_isClaimed, "a device that was not claimed is to be written to");
            var header = DeviceHeader.Of(newId(), _bytes!.LengthBytes);
            var result = Clear(DeviceHeader.TableAtBytes, 2L * DeviceSector.SizeBytes * header.Pairs);
            if (result.IsOk) result = Sync();
            if (!result.IsOk) return result;
            var bytes = new byte[2 * DeviceHeader.SizeBytes];
            header.Encode(bytes);
            header.Encode(bytes.AsSpan(DeviceHeader.SizeBytes));
            result = _bytes.WriteAll(0, bytes);
            if (result.IsOk) result = Sync();
            if (!result.IsOk) return result;
            lock (_gate)
            {
                (_table, _isBlank) = (new DeviceTable(header, _bytes.LengthBytes), false);
                NoteFree();
            }
            return result;
        }
    }
}

/// <summary>A file that is open.</summary>
/// <remarks>
/// The last block of a write that is the first there is filled up with zeroes: the kernel would have to read that block from the device first, and whoever writes is the I/O loop. Nothing is behind it yet; what comes later lies on the zeroes.
/// </remarks>
internal sealed unsafe class DeviceFile(DeviceDisk disk, DeviceSlot slot, IDiskFile bytes) : IDiskFile
{
    private const int BlockBytes = 4096;
    private static readonly byte* Zeroes = (byte*)System.Runtime.InteropServices.NativeMemory.AllocZeroed(BlockBytes);
    private int _isDisposed;

    public long LengthBytes => slot.LengthBytes;

    public DiskResult Write(long offsetBytes, ReadOnlySpan<IoVector> vectors)
    {
        var end = offsetBytes;
        foreach (var vector in vectors) end += (long)vector.LengthBytes;
        if (end > slot.LengthBytes && disk.Extend(slot, end) is { IsOk: false } refused) return refused;
        var more = (int)(-end & (BlockBytes - 1));
        if (end <= slot.WrittenBytes || more == 0 || vectors.Length >= DiskFileExtensions.VectorsMax)
        {
            slot.WrittenBytes = Math.Max(slot.WrittenBytes, end);
            return bytes.Write(slot.AtBytes + offsetBytes, vectors);
        }
        Span<IoVector> filled = stackalloc IoVector[vectors.Length + 1];
        vectors.CopyTo(filled);
        filled[^1] = new IoVector(Zeroes, more);
        slot.WrittenBytes = end;
        var result = bytes.Write(slot.AtBytes + offsetBytes, filled);
        return result.IsOk ? DiskResult.Done((int)Math.Min(result.Count, end - offsetBytes)) : result;
    }

    public DiskResult Read(long offsetBytes, Span<byte> to)
    {
        var count = (int)Math.Clamp(slot.LengthBytes - offsetBytes, 0, to.Length);
        return count == 0 ? DiskResult.Done() : bytes.Read(slot.AtBytes + offsetBytes, to[..count]);
    }

    public DiskResult TryReadCached(long offsetBytes, Span<byte> to) =>
        offsetBytes + to.Length > slot.LengthBytes ? new DiskResult(IoStatus.Busy, 0, null) : bytes.TryReadCached(slot.AtBytes + offsetBytes, to);

    public DiskResult Sync() => disk.Sync(slot);

    public DiskResult Preallocate(long lengthBytes) => lengthBytes <= slot.LengthBytes ? DiskResult.Done() : disk.Extend(slot, lengthBytes);

    public DiskResult Keep(long lengthBytes) => DiskResult.Failed(IoStatus.Unsupported, $"{disk.Description} reserves nothing for a file without its length");

    public void WillNeed(long offsetBytes, long lengthBytes)
    {
        if (slot.AtBytes > 0) bytes.WillNeed(slot.AtBytes + offsetBytes, lengthBytes);
    }

    public void Dispose()
    {
        if (Interlocked.Exchange(ref _isDisposed, 1) == 0) disk.Close(slot);
    }
}
