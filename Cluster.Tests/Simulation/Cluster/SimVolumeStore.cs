using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>
/// A replica's store in memory, after the contract of <see cref="IVolumeStore"/>: a log of operations, each with the commit watermark
/// known when it was
/// staged, and a state that is at any time what a replay of the log gives. The log outlives the process: <see cref="SimDisk"/>.
/// </summary>
internal sealed partial class SimVolumeStore : IVolumeStore
{
    private const int TailKeptMax = 64;

    private readonly SimDisk _disk;
    private readonly SimNode _node;
    private readonly SortedDictionary<ulong, Cell> _map = [];
    private readonly List<TailRecord> _tail = [];
    private byte[] _header = [];
    private ulong _committedEpoch;
    private ulong _headerNumber;
    private ulong _durableHeader;
    private long _granted;
    private bool _isRoomWanted;
    private bool _syncWanted;
    private Sync? _sync;

    /// <summary>A block as committed; no bytes: trimmed.</summary>
    private readonly record struct Cell(ulong Sequence, BlockDescriptor Descriptor, byte[]? Encoded);

    private readonly record struct TailRecord(RecordHeader Header, byte[] Bytes);

    private sealed class Sync
    {
        public int Operations;
        public ulong Sequence;
        public ulong Header;
    }

    /// <summary>Opens what is on the disk: all that was written there is replayed, and on media from now on.</summary>
    /// <param name="volume">A clone of the volume; none: the volume itself.</param>
    public SimVolumeStore(SimDisk disk, SimNode node, VolumeId? volume = null)
    {
        (_disk, _node, Volume) = (disk, node, volume ?? SimWorld.Volume);
        foreach (var operation in disk.Log) Apply(operation, replay: true);
        disk.Appended = disk.Log.Count;
        disk.Sync(disk.Log.Count);
        (AppendedSequence, DurableSequence) = (LastSequence, LastSequence);
        TailFrom = CommitWatermark;
    }

    public VolumeId Volume { get; }

    /// <summary>Not a clone of it: what it takes is the checkers' to know.</summary>
    private bool IsMain => Volume == SimWorld.Volume;

    public ReadOnlyMemory<byte> Header => _header;

    /// <summary>Set by a test: bytes that were on media are not what they were.</summary>
    public string? Damage { get; set; }

    public ulong LastSequence { get; private set; }

    public ulong LastRecordEpoch { get; private set; }

    public ulong AppendedSequence { get; private set; }

    public ulong DurableSequence { get; private set; }

    public ulong CommitWatermark { get; private set; }

    public ulong TailFrom { get; private set; }

    public SessionWindows Windows { get; private set; } = new();

    public VolumeUsage Usage => new(_map.Count * 16L, _map.Count);

    public IVolumeStoreEvents? Events { get; set; }

    public IoStatus Append(IoBuffer record, in RecordHeader header)
    {
        Invariant.That(header.Sequence == LastSequence + 1, "the store was given a record that is not the next one");
        var cost = header.Kind == RecordKind.Write ? Limits.CreditOf(header.TotalBytes) : 0;
        if (_node.HasNoSpace && (cost > _granted || !_node.World.Profile.KeepsRoom)) return IoStatus.NoSpace;
        if (!IsIntact(record.Span, in header)) return IoStatus.BadChecksum;
        Stage(new SimOperation(SimOperationKind.Append) { Bytes = record.Span.ToArray(), Sequence = header.Sequence });
        if (cost <= _granted) _granted -= cost;
        UnwrittenCredit += cost;
        return IoStatus.Ok;
    }

    public long Grant()
    {
        if (_node.HasNoSpace) _isRoomWanted |= _granted < _node.World.Profile.CreditBytes / 2;
        else _granted = Math.Max(_granted, _node.World.Profile.CreditBytes);
        return _granted;
    }

    public void GiveBack() => _granted = 0;

    public long UnwrittenCredit { get; private set; }

    public IoStatus AppendResync(IoBuffer record, in RecordHeader header)
    {
        if (_node.HasNoSpace) return IoStatus.NoSpace;
        if (!IsIntact(record.Span, in header)) return IoStatus.BadChecksum;
        Stage(new SimOperation(SimOperationKind.Resync) { Bytes = record.Span.ToArray() });
        return IoStatus.Ok;
    }

    public IoStatus SetWindows(SessionWindows windows)
    {
        var bytes = new byte[windows.EncodedBytes];
        var length = windows.Encode(bytes);
        Stage(new SimOperation(SimOperationKind.Windows) { Bytes = bytes[..length] });
        return IoStatus.Ok;
    }

    public void Commit(ulong watermark)
    {
        watermark = Math.Min(watermark, LastSequence);
        if (watermark <= CommitWatermark) return;
        foreach (var (header, bytes) in _tail)
        {
            if (header.Sequence <= CommitWatermark || header.Sequence > watermark) continue;
            Windows.Apply(header.Session, header.RequestId, header.AnsweredBelow, header.Sequence);
            _committedEpoch = header.Epoch;
            if (header.Kind == RecordKind.Marker)
            {
                ApplyMarker(in header, bytes);
                continue;
            }
            ApplyToMap(in header, bytes);
            if (IsMain) _node.World.History.OnCommitted(_node, in header);
        }
        CommitWatermark = watermark;
        while (_tail.Count > 0 && _tail[0].Header.Sequence + TailKeptMax <= watermark)
        {
            TailFrom = Math.Max(TailFrom, _tail[0].Header.Sequence);
            _tail.RemoveAt(0);
        }
    }

    public void ForgetTombstones(ulong upTo)
    {
        Invariant.That(upTo <= CommitWatermark && upTo <= DurableSequence, "tombstones that a copy may still need were to be forgotten");
        ForgetOlder(upTo);
        foreach (var block in _map.Where(pair => pair.Value.Encoded is null && pair.Value.Sequence <= upTo && !_older.ContainsKey(pair.Key)).Select(pair => pair.Key).ToList())
        {
            _map.Remove(block);
            _node.World.History.Forgotten++;
        }
    }

    public bool HasTombstones => _map.Any(pair => pair.Value.Encoded is null) || _older.Values.Any(versions => versions.Exists(version => version.Encoded is null));

    public IoStatus Truncate(ulong toSequence)
    {
        Invariant.That(toSequence >= CommitWatermark && toSequence <= LastSequence, "the store was asked to cut what is committed or not there");
        Stage(new SimOperation(SimOperationKind.Truncate) { Sequence = toSequence });
        return IoStatus.Ok;
    }

    public IoStatus SetPosition(ulong sequence, ulong lastRecordEpoch, bool discardAll)
    {
        Stage(new SimOperation(SimOperationKind.Position) { Sequence = sequence, Epoch = lastRecordEpoch, Discard = discardAll });
        if (discardAll) Damage = null;
        return IoStatus.Ok;
    }

    public ulong SaveHeader(ReadOnlyMemory<byte> header)
    {
        Stage(new SimOperation(SimOperationKind.Header) { Bytes = header.ToArray() });
        return ++_headerNumber;
    }

    public void RequestSync() => _syncWanted = true;

    public void Read(BlockRange range, IReadCompletion completion, ulong token, ReadOnlySpan<ulong> known = default)
    {
        if (BadOf(range) != 0)
        {
            completion.OnRead(token, IoStatus.BadChecksum, null);
            return;
        }
        var reply = Gather(range, known: known);
        if (_node.World.Random.Percent(50)) completion.OnRead(token, IoStatus.Ok, reply);
        else _node.PostTaking(_node.World.Random.Between(20, 4000), () => completion.OnRead(token, IoStatus.Ok, reply), reply);
    }

    public void ReadEach(BlockRange range, ulong snapshot, bool background, IEachReadCompletion completion, ulong token)
    {
        var bad = snapshot == 0 ? BadOf(range) : 0;
        var reply = Gather(range, bad, snapshot);
        _node.PostTaking(_node.World.Random.Between(20, 4000), () => completion.OnReadEach(token, IoStatus.Ok, bad, reply), reply);
    }

    public (IoStatus Status, int Blocks) Repair(IoBuffer record, in RecordHeader header)
    {
        if (_node.HasNoSpace) return (IoStatus.NoSpace, 0);
        if (!IsIntact(record.Span, in header)) return (IoStatus.BadChecksum, 0);
        var blocks = 0;
        for (var block = header.Range.First; block < header.Range.End; block++)
        {
            if (header.ExpectedSequence != 0)
            {
                if (!HasVersion(block, header.Sequence)) blocks++;
                continue;
            }
            var sequence = SequenceOf(block, withTail: false);
            if (sequence < header.Sequence || (sequence == header.Sequence && IsRotten(block))) blocks++;
        }
        Stage(new SimOperation(SimOperationKind.Mend) { Bytes = record.Span.ToArray() });
        return (IoStatus.Ok, blocks);
    }

    public ulong Digest(BlockRange range, ulong snapshot, bool withChecksums)
    {
        var hash = new System.IO.Hashing.XxHash3();
        for (var block = range.First; block < range.End; block++)
        {
            if (Kept(snapshot, block) is { Encoded: not null } cell) AppendTo(hash, block, in cell);
        }
        return hash.GetCurrentHashAsUInt64();
    }

    private static void AppendTo(System.IO.Hashing.XxHash3 hash, ulong block, in Cell cell) =>
        hash.Append(BitConverter.GetBytes(block ^ (cell.Sequence << 20) ^ cell.Descriptor.Checksum));

    public ulong NextData(ulong from, ulong end)
    {
        foreach (var block in _map.Keys)
        {
            if (block >= from && HasBytes(block)) return Math.Min(block, end);
        }
        return end;
    }

    /// <summary>A block that the map has as something else than the order says: a fault of the store itself.</summary>
    public void Forget(ulong block) => _map.Remove(block);

    /// <summary>The block's bytes rot on the disk.</summary>
    public void Rot(ulong block)
    {
        if (_map.TryGetValue(block, out var cell) && cell.Encoded is not null) _disk.Rotten[block] = cell.Sequence;
    }

    public bool IsRotten(ulong block) =>
        _disk.Rotten.TryGetValue(block, out var sequence) && _map.TryGetValue(block, out var cell) && cell.Sequence == sequence;

    public ulong SequenceOf(ulong block, bool withTail)
    {
        if (withTail)
        {
            for (var index = _tail.Count - 1; index >= 0; index--)
            {
                if (_tail[index].Header.Range.Contains(block)) return _tail[index].Header.Sequence;
                if (!MayRestore(_tail[index], block)) continue;
                // The map knows whether it did, once it is committed.
                if (_tail[index].Header.Sequence > CommitWatermark) return _tail[index].Header.Sequence;
                break;
            }
        }
        return _map.TryGetValue(block, out var cell) ? cell.Sequence : 0;
    }

    public ulong Allocated(BlockRange range, int extentsMax, List<(BlockRange Range, bool Allocated)> extents)
    {
        for (var block = range.First; block < range.End && extents.Count < extentsMax; block++)
            extents.Add((new BlockRange(block, 1), _map.TryGetValue(block, out var cell) && cell.Encoded is not null));
        return range.End;
    }

    public (IoStatus Status, ChangeCursor? Next) ReadChanges(ulong since, ulong upTo, ChangeCursor? cursor, int bytesMax, List<IoBuffer> records)
    {
        if (_node.World.Profile.TakesSnapshots) return ReadStages(since, upTo, cursor, records);
        var looked = 0;
        var lookedMax = (int)_node.World.Random.Between(1, 6);
        foreach (var (block, cell) in _map)
        {
            if (block < (cursor?.NextBlock ?? 0)) continue;
            if (looked++ == lookedMax) return (IoStatus.Ok, new ChangeCursor(1, block));
            if (cell.Sequence > since && cell.Sequence <= upTo) records.Add(ResyncRecord(block, cell));
        }
        return (IoStatus.Ok, null);
    }

    public long EstimateChanges(ulong since, ulong upTo, ulong fromBlock = 0) =>
        (_map.Count(pair => pair.Key >= fromBlock && pair.Value.Sequence > since) + _older.Values.Sum(versions => versions.Count(version => version.Sequence > since))) * 16L;

    public (IoStatus Status, IoBuffer? Record) ReadTail(ulong sequence)
    {
        foreach (var (header, bytes) in _tail)
        {
            if (header.Sequence != sequence) continue;
            var buffer = BufferPool.Shared.Rent(bytes.Length);
            bytes.CopyTo(buffer.Span);
            return (IoStatus.Ok, buffer);
        }
        return (IoStatus.OutOfRange, null);
    }

    /// <summary>What is committed, for comparing replicas: block, sequence and bytes.</summary>
    public IEnumerable<(ulong Block, ulong Sequence, ulong Value)> Committed()
    {
        foreach (var (block, cell) in _map) yield return (block, cell.Sequence, cell.Encoded is null ? 0 : BitConverter.ToUInt64(cell.Encoded));
    }

    /// <summary>The store's phase of the turn: one write, one fdatasync at a time. True when it did something.</summary>
    public bool RunPhase()
    {
        var wrote = _disk.Appended < _disk.Log.Count;
        if (wrote)
        {
            _disk.Appended = _disk.Log.Count;
            (AppendedSequence, UnwrittenCredit) = (LastSequence, 0);
            Events?.OnAppended(AppendedSequence);
        }
        if (_isRoomWanted && !_node.HasNoSpace)
        {
            _isRoomWanted = false;
            Events?.OnRoom();
        }
        if (!_syncWanted || _sync is not null) return wrote;
        _syncWanted = false;
        var sync = _sync = new Sync { Operations = _disk.Appended, Sequence = AppendedSequence, Header = _headerNumber };
        _node.Post(_node.SyncDelayUs(), () => OnSynced(sync));
        return true;
    }

    private void OnSynced(Sync sync)
    {
        _sync = null;
        if (IsMain && _node.FailsSync)
        {
            // What a failed sync leaves behind is lost like what a host loses with its power, and only checked like that.
            if (_node.World.Profile.PowerLoss) _disk.FailSync();
            _node.FailsSync = _node.FailsEverySync;
            Events?.OnFailed(IoStatus.DeviceError, "the simulated fdatasync failed");
            return;
        }
        _disk.Sync(sync.Operations);
        DurableSequence = Math.Max(DurableSequence, sync.Sequence);
        _durableHeader = sync.Header;
        Events?.OnDurable(DurableSequence, _durableHeader);
    }

    private void Stage(SimOperation operation)
    {
        operation.Watermark = CommitWatermark;
        _disk.Log.Add(operation);
        Apply(operation, replay: false);
    }

    private void Apply(SimOperation operation, bool replay)
    {
        if (replay) Commit(operation.Watermark);
        switch (operation.Kind)
        {
            case SimOperationKind.Append:
                Invariant.That(RecordHeader.TryDecode(operation.Bytes, out var record) == IoStatus.Ok, "the log holds a record that is none");
                _tail.Add(new TailRecord(record, operation.Bytes));
                (LastSequence, LastRecordEpoch) = (record.Sequence, record.Epoch);
                break;
            case SimOperationKind.Resync:
                Invariant.That(RecordHeader.TryDecode(operation.Bytes, out var copy) == IoStatus.Ok, "the log holds a record that is none");
                ApplyToMap(in copy, operation.Bytes);
                break;
            case SimOperationKind.Mend:
                Invariant.That(RecordHeader.TryDecode(operation.Bytes, out var good) == IoStatus.Ok, "the log holds a record that is none");
                for (var block = good.Range.First; block < good.Range.End && !replay; block++)
                {
                    if (_disk.Rotten.GetValueOrDefault(block) <= good.Sequence) _disk.Rotten.Remove(block);
                }
                ApplyToMap(in good, operation.Bytes);
                break;
            case SimOperationKind.Snapshots:
                ApplySnapshots(operation.Bytes);
                break;
            case SimOperationKind.Windows:
                Windows = SessionWindows.TryDecode(operation.Bytes)!;
                break;
            case SimOperationKind.Header:
                _header = operation.Bytes;
                break;
            case SimOperationKind.Truncate:
                DropTail(operation.Sequence);
                LastRecordEpoch = _tail.Count > 0 ? _tail[^1].Header.Epoch : _committedEpoch;
                MoveTo(operation.Sequence);
                break;
            case SimOperationKind.Clone:
                ApplyClone(operation);
                break;
            case SimOperationKind.Position:
                ApplyPosition(operation);
                break;
            default: throw new InvariantException("an operation of the simulated store has no kind");
        }
    }

    private void ApplyPosition(SimOperation operation)
    {
        if (operation.Discard)
        {
            _map.Clear();
            _older.Clear();
            _snapshots.Clear();
            Windows = new SessionWindows();
        }
        _tail.Clear();
        (LastRecordEpoch, _committedEpoch, CommitWatermark, TailFrom) = (operation.Epoch, operation.Epoch, operation.Sequence, operation.Sequence);
        MoveTo(operation.Sequence);
        AppendedSequence = operation.Sequence;
    }

    private void MoveTo(ulong sequence)
    {
        LastSequence = sequence;
        UnwrittenCredit = 0;
        AppendedSequence = Math.Min(AppendedSequence, sequence);
        DurableSequence = Math.Min(DurableSequence, sequence);
        if (_sync is { } sync) sync.Sequence = Math.Min(sync.Sequence, sequence);
    }

    private void DropTail(ulong above)
    {
        while (_tail.Count > 0 && _tail[^1].Header.Sequence > above) _tail.RemoveAt(_tail.Count - 1);
    }

    private void ApplyToMap(in RecordHeader header, byte[] bytes)
    {
        var at = header.PayloadOffset;
        for (uint index = 0; index < header.Range.Count; index++)
        {
            var block = header.Range.First + index;
            var cell = new Cell(header.Sequence, default, null);
            if (header.Kind == RecordKind.Write)
            {
                var descriptor = BlockDescriptor.Read(bytes.AsSpan(RecordHeader.SizeBytes + ((int)index * BlockDescriptor.SizeBytes)));
                cell = new Cell(header.Sequence, descriptor, bytes.AsSpan(at, descriptor.Length).ToArray());
                at += descriptor.Length;
            }
            Put(block, cell);
        }
    }

    private bool IsIntact(ReadOnlySpan<byte> record, in RecordHeader header)
    {
        var at = header.PayloadOffset;
        for (var index = 0; index < (int)header.DescriptorCount; index++)
        {
            var descriptor = BlockDescriptor.Read(record[(RecordHeader.SizeBytes + (index * BlockDescriptor.SizeBytes))..]);
            if (!descriptor.Matches(Volume, 0, header.Range.First + (ulong)index, record.Slice(at, descriptor.Length))) return false;
            at += descriptor.Length;
        }
        return true;
    }

    private ulong BadOf(BlockRange range)
    {
        ulong bad = 0;
        for (var index = 0; index < (int)range.Count; index++)
        {
            if (IsRotten(range.First + (ulong)index)) bad |= 1UL << index;
        }
        return bad;
    }

    private IoBuffer Gather(BlockRange range, ulong bad = 0, ulong snapshot = 0, ReadOnlySpan<ulong> known = default)
    {
        var buffer = BufferPool.Shared.Rent((int)range.Count * (ReadDescriptor.SizeBytes + SimRecords.EncodedBytesMin));
        var at = (int)range.Count * ReadDescriptor.SizeBytes;
        for (var index = 0; index < (int)range.Count; index++)
        {
            var cell = Kept(snapshot, range.First + (ulong)index) ?? default;
            if (cell.Encoded is not null && index < known.Length && known[index] == cell.Sequence)
            {
                ReadDescriptor.Same(cell.Sequence).Write(buffer.Span[(index * ReadDescriptor.SizeBytes)..]);
                continue;
            }
            var descriptor = cell.Encoded is not null ? cell.Descriptor : new BlockDescriptor(BlockEncoding.Zero, 0, 0);
            new ReadDescriptor(descriptor, cell.Sequence).Write(buffer.Span[(index * ReadDescriptor.SizeBytes)..]);
            if (cell.Encoded is null || (bad & (1UL << index)) != 0) continue;
            cell.Encoded.CopyTo(buffer.Whole[at..]);
            at += cell.Encoded.Length;
        }
        buffer.Length = at;
        return buffer;
    }

    private IoBuffer ResyncRecord(ulong block, Cell cell, ulong snapshot = 0)
    {
        var header = new RecordHeader
        {
            Kind = cell.Encoded is null ? RecordKind.Trim : RecordKind.Write,
            Flags = RecordFlags.Resync,
            Volume = Volume,
            Sequence = cell.Sequence,
            Range = new BlockRange(block, 1),
            ExpectedSequence = snapshot,
            DescriptorCount = cell.Encoded is null ? 0u : 1,
            PayloadLength = (uint)(cell.Encoded?.Length ?? 0),
        };
        var buffer = BufferPool.Shared.Rent(header.TotalBytes);
        if (cell.Encoded is not null)
        {
            cell.Descriptor.Write(buffer.Span[RecordHeader.SizeBytes..]);
            cell.Encoded.CopyTo(buffer.Span[header.PayloadOffset..]);
        }
        header.Encode(buffer.Span);
        return buffer;
    }
}
