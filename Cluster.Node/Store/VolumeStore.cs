using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>One replica in a <see cref="BlockStore"/>. This part keeps order and durability; the others read and replay.</summary>
public sealed partial class VolumeStore : IVolumeStore
{
    private readonly BlockStore _store;
    private readonly TailQueue _tail = new();
    private byte[] _header = [];
    private ulong _committedEpoch;

    internal VolumeStore(BlockStore store, VolumeId volume)
    {
        (_store, Volume) = (store, volume);
        Map = new BlockMap(store.Segments, volume, store.Maps);
    }

    public VolumeId Volume { get; }

    public ReadOnlyMemory<byte> Header => _header;

    public string? Damage { get; private set; }

    public ulong LastSequence { get; private set; }

    public ulong LastRecordEpoch { get; private set; }

    public ulong AppendedSequence { get; private set; }

    public ulong DurableSequence { get; private set; }

    public ulong CommitWatermark { get; private set; }

    public ulong TailFrom => CommitWatermark;

    public SessionWindows Windows { get; private set; } = new();

    public VolumeUsage Usage
    {
        get
        {
            Map.CountShared();
            return new(Map.StoredBytes, Map.MappedBlocks, Map.SnapshotBytes, Map.SharedBytes, Map.SharedBlocks, Map.ClonesBytes);
        }
    }

    public IVolumeStoreEvents? Events { get; set; }

    internal BlockMap Map { get; private set; }

    /// <summary>Of the tail, by sequence.</summary>
    private readonly Dictionary<ulong, SnapshotMarker> _markers = [];

    internal TailQueue Tail => _tail;

    internal ulong CommittedEpoch => _committedEpoch;

    internal ulong HeaderNumber { get; private set; }

    internal ulong DurableHeaderNumber { get; private set; }

    internal bool IsDeleted { get; private set; }

    /// <summary>How often the order began anew: a commit watermark from before means nothing then.</summary>
    internal int Orders { get; private set; }

    /// <summary>Something was staged since the last write.</summary>
    internal bool IsTouched { get; set; }

    /// <summary>Something was written since the last fdatasync began, or the machine waits for one.</summary>
    internal bool IsUnsynced { get; set; }

    /// <summary>What the fdatasync under way will make durable; a truncation lowers it.</summary>
    private ulong _syncingSequence;

    /// <summary>The highest commit watermark that a staged record carries.</summary>
    private ulong _loggedWatermark;
    private ulong _syncingHeader;
    private ulong _writtenHeader;
    private bool _appendedUntold;

    /// <summary>Promised beyond <see cref="LastSequence"/> (R21).</summary>
    internal long GrantedBytes { get; private set; }

    public long UnwrittenCredit { get; private set; }

    public long Grant()
    {
        if (Refusal() is null) GrantedBytes += _store.TakeCredit(GrantedBytes);
        return GrantedBytes;
    }

    public IoStatus Append(IoBuffer record, in RecordHeader header)
    {
        if (Refusal() is { } refusal) return refusal;
        Invariant.That(header.Sequence == LastSequence + 1, "a record was appended out of order");
        Invariant.That((header.Flags & RecordFlags.Resync) == 0, "a resync record is not part of the order");
        var status = Check(record, in header);
        if (status == IoStatus.Ok && header.Kind == RecordKind.Marker && MarkerOf(in header, record.Span) is null) status = IoStatus.Malformed;
        if (status != IoStatus.Ok) return status;
        var cost = header.Kind == RecordKind.Write ? Limits.CreditOf(header.TotalBytes) : 0;
        var isPromised = cost > 0 && cost <= GrantedBytes;
        status = _store.Stage(this, record, header.TotalBytes, isPromised ? SpaceClass.Control : SpaceOf(header.Kind), out var place);
        if (status != IoStatus.Ok) return status;
        Map.Advise(header.Range);
        AddToTail(in header, record.Span, place);
        _loggedWatermark = Math.Max(_loggedWatermark, Math.Min(header.CommitWatermark, header.Sequence));
        UnwrittenCredit += cost;
        if (isPromised) UseCredit(cost);
        return IoStatus.Ok;
    }

    public void GiveBack() => UseCredit(GrantedBytes);

    private void UseCredit(long bytes)
    {
        GrantedBytes -= bytes;
        _store.ReturnCredit(bytes);
    }

    public IoStatus AppendResync(IoBuffer record, in RecordHeader header)
    {
        if (Refusal() is { } refusal) return refusal;
        Invariant.That((header.Flags & RecordFlags.Resync) != 0 && header.Sequence > 0,
            "only a resync record with its sequence may be applied outside the order");
        var status = Check(record, in header);
        return status == IoStatus.Ok ? StageResync(record, in header, SpaceOf(header.Kind)) : status;
    }

    private IoStatus StageResync(IoBuffer record, in RecordHeader header, SpaceClass space)
    {
        var status = LogMarkers();
        if (status != IoStatus.Ok) return status;
        status = _store.Stage(this, record, header.TotalBytes, space, out var place);
        if (status == IoStatus.Ok) ApplyBlocks(in header, record.Span, place);
        return status;
    }

    public IoStatus SetWindows(SessionWindows windows)
    {
        if (Refusal() is { } refusal) return refusal;
        var encoded = new byte[windows.EncodedBytes];
        windows.Encode(encoded);
        var status = StageOwn(new RecordHeader { Kind = StoreRecordKind.Windows }, encoded, SpaceClass.Control);
        if (status == IoStatus.Ok) Windows = windows;
        return status;
    }

    public void Commit(ulong watermark)
    {
        if (Damage is not null || IsDeleted) return;
        CommitUpTo(watermark);
    }

    public void ForgetTombstones(ulong upTo)
    {
        Invariant.That(upTo <= CommitWatermark && upTo <= DurableSequence, "tombstones that a copy may still need were to be forgotten");
        Map.ForgetTombstones(upTo);
    }

    public bool HasTombstones => Map.HasTombstones;

    public IoStatus Truncate(ulong toSequence)
    {
        if (Refusal() is { } refusal) return refusal;
        Invariant.That(toSequence >= CommitWatermark, "committed records were to be truncated");
        if (toSequence >= LastSequence) return IoStatus.Ok;
        var status = StageOwn(new RecordHeader { Kind = StoreRecordKind.Truncate, Sequence = toSequence }, [], SpaceClass.Control);
        if (status == IoStatus.Ok) DropTail(toSequence);
        return status;
    }

    public IoStatus SetPosition(ulong sequence, ulong lastRecordEpoch, bool discardAll)
    {
        if (IsDeleted) return IoStatus.Deleted;
        if (_store.HasFailed || (Damage is not null && !discardAll)) return IoStatus.DeviceError;
        var header = new RecordHeader
        {
            Kind = StoreRecordKind.SetPosition,
            Sequence = sequence,
            Epoch = lastRecordEpoch,
            ExpectedSequence = discardAll ? 1UL : 0,
        };
        var status = StageOwn(header, [], SpaceClass.Control);
        if (status == IoStatus.Ok) Reposition(sequence, lastRecordEpoch, discardAll);
        return status;
    }

    public ulong SaveHeader(ReadOnlyMemory<byte> header)
    {
        Invariant.That(header.Length is > 0 and <= StoreLimits.HeaderBytesMax, "a replica's header is empty or too long");
        Invariant.That(!IsDeleted, "the header of a deleted replica was saved");
        var number = HeaderNumber + 1;
        var status = StageOwn(new RecordHeader { Kind = StoreRecordKind.ReplicaHeader, Sequence = number }, header.Span, SpaceClass.Last);
        (_header, HeaderNumber) = (header.ToArray(), number);
        // The last reserve is for this; without it the replica can't keep its promises (R10).
        if (status != IoStatus.Ok) _store.Fail(status, $"the header of volume {Volume} could not be staged");
        return number;
    }

    /// <summary>The header that makes the volume. On anything but Ok nothing was staged, and the disk is none the worse.</summary>
    internal IoStatus StageFirstHeader(ReadOnlyMemory<byte> header)
    {
        Invariant.That(header.Length is > 0 and <= StoreLimits.HeaderBytesMax, "a replica's header is empty or too long");
        var first = new RecordHeader { Kind = StoreRecordKind.ReplicaHeader, Sequence = 1 };
        var status = StageOwn(first, header.Span, SpaceClass.Control);
        if (status == IoStatus.Ok) (_header, HeaderNumber) = (header.ToArray(), 1);
        return status;
    }

    public void RequestSync() => _store.RequestSync(this);

    public ulong SequenceOf(ulong block, bool withTail)
    {
        if (withTail)
        {
            for (var index = _tail.Count - 1; index >= 0; index--)
            {
                if (_tail[index].Range.Contains(block)) return CommitWatermark + (ulong)index + 1;
            }
        }
        var sequence = Map.SequenceOf(block);
        // Of a map that has lost pages: none that anybody expects.
        return Damage is null ? sequence : ulong.MaxValue;
    }

    /// <summary>All that was staged is in the file. The machine hears of it only after every replica of the batch has noted it: it may
    /// stage more at once.</summary>
    internal void NoteWritten()
    {
        IsTouched = false;
        _writtenHeader = HeaderNumber;
        if (IsDeleted || AppendedSequence == LastSequence) return;
        (AppendedSequence, UnwrittenCredit) = (LastSequence, 0);
        _appendedUntold = true;
    }

    internal void TellWritten()
    {
        if (!_appendedUntold) return;
        _appendedUntold = false;
        Events?.OnAppended(AppendedSequence);
    }

    internal void OnSyncBegins()
    {
        IsUnsynced = false;
        (_syncingSequence, _syncingHeader) = (AppendedSequence, _writtenHeader);
    }

    /// <summary>The fdatasync that began with <see cref="OnSyncBegins"/> is done.</summary>
    internal void OnSynced()
    {
        if (IsDeleted) return;
        DurableSequence = Math.Max(DurableSequence, _syncingSequence);
        DurableHeaderNumber = Math.Max(DurableHeaderNumber, _syncingHeader);
        Events?.OnDurable(DurableSequence, DurableHeaderNumber);
    }

    internal void OnDeleted()
    {
        IsDeleted = true;
        DropTail(CommitWatermark);
        RenewMap();
        UseCredit(GrantedBytes);
    }

    /// <summary>The record that makes this volume a clone, whose order goes on from the snapshot. On anything but Ok nothing was staged.</summary>
    internal IoStatus StageClone(CloneBody body, VolumeStore origin)
    {
        Invariant.That(body.Header.Length is > 0 and <= StoreLimits.HeaderBytesMax, "a replica's header is empty or too long");
        var status = StageOwn(new RecordHeader { Kind = StoreRecordKind.Clone, Sequence = 1 }, body.Encode(), SpaceClass.Control);
        if (status == IoStatus.Ok) BecomeClone(body, origin);
        return status;
    }

    private void BecomeClone(CloneBody body, VolumeStore origin)
    {
        (_header, HeaderNumber) = (body.Header.ToArray(), 1);
        Map.StandOn(origin.Map, body.Snapshot);
        LastSequence = CommitWatermark = AppendedSequence = _loggedWatermark = body.Snapshot;
    }

    /// <summary>A record that carries this watermark was staged.</summary>
    internal void NoteLogged(ulong watermark) => _loggedWatermark = Math.Max(_loggedWatermark, watermark);

    private IoStatus? Refusal() =>
        IsDeleted ? IoStatus.Deleted : Damage is not null || _store.HasFailed ? IoStatus.DeviceError : null;

    private static SpaceClass SpaceOf(RecordKind kind) => kind == RecordKind.Write ? SpaceClass.Data : SpaceClass.Control;

    private IoStatus Check(IoBuffer record, in RecordHeader header)
    {
        Invariant.That(header.Volume == Volume && header.Kind is RecordKind.Write or RecordKind.Trim or RecordKind.Zeroes or RecordKind.Marker,
            "a record that is not the volume's");
        Invariant.That(record.Length >= header.TotalBytes, "a record is longer than its buffer");
        if (header.Layer != 0) return IoStatus.Unsupported;
        if (header.Session.IsValid && !SessionWindows.Admits(header.RequestId, header.AnsweredBelow)) return IoStatus.Malformed;
        return StoreRecord.CheckPayload(in header, record.Span[..header.TotalBytes]);
    }

    private IoStatus StageOwn(RecordHeader header, ReadOnlySpan<byte> payload, SpaceClass space)
    {
        (header.Volume, header.CommitWatermark) = (Volume, CommitWatermark);
        var buffer = StoreRecord.Build(header, payload);
        var status = _store.Stage(this, buffer, buffer.Length, space, out _);
        if (status == IoStatus.Ok) _loggedWatermark = Math.Max(_loggedWatermark, CommitWatermark);
        buffer.Release();
        return status;
    }

    private void AddToTail(in RecordHeader header, ReadOnlySpan<byte> record, EntryPlace place)
    {
        var entry = new TailRecord
        {
            Kind = header.Kind,
            Layer = header.Layer,
            Epoch = header.Epoch,
            Session = header.Session,
            RequestId = header.RequestId,
            AnsweredBelow = header.AnsweredBelow,
            Range = header.Range,
            DescriptorCount = (int)header.DescriptorCount,
            TotalBytes = header.TotalBytes,
            Place = place,
        };
        _tail.Add(in entry, record[RecordHeader.SizeBytes..]);
        if (header.Kind == RecordKind.Marker) _markers[header.Sequence] = MarkerOf(in header, record)!;
        _store.Segments[place.Segment].TailRecords++;
        (LastSequence, LastRecordEpoch) = (header.Sequence, header.Epoch);
    }

    private void CommitUpTo(ulong watermark)
    {
        watermark = Math.Min(watermark, LastSequence);
        while (CommitWatermark < watermark)
        {
            ref readonly var record = ref _tail[0];
            var sequence = CommitWatermark + 1;
            if (record.Kind == RecordKind.Write) PutFirstOfTail(in record, sequence);
            else if (record.Kind == RecordKind.Marker) ApplyMarker(sequence);
            else Map.Trim(record.Range, sequence);
            Windows.Apply(record.Session, record.RequestId, record.AnsweredBelow, sequence);
            _store.Segments[record.Place.Segment].TailRecords--;
            (CommitWatermark, _committedEpoch) = (sequence, record.Epoch);
            _tail.RemoveFirst();
            // Each of many small writes may have brought a page in.
            _store.Maps.Yield();
        }
    }

    private void PutFirstOfTail(in TailRecord record, ulong sequence)
    {
        var offset = record.Place.RecordOffsetBytes + (uint)(RecordHeader.SizeBytes + (record.DescriptorCount * BlockDescriptor.SizeBytes));
        for (var index = 0; index < record.DescriptorCount; index++)
        {
            var descriptor = _tail.FirstDescriptor(index);
            Map.Put(record.Range.First + (ulong)index, EntryOf(descriptor, sequence, record.Place.Segment, offset));
            offset += descriptor.Length;
        }
    }

    internal static MapEntry EntryOf(BlockDescriptor descriptor, ulong sequence, int segment, uint offset) => new()
    {
        Sequence = sequence,
        Checksum = descriptor.Checksum,
        Segment = descriptor.Length == 0 ? MapEntry.NoSegment : segment,
        OffsetBytes = offset,
        LengthBytes = descriptor.Length,
        Encoding = descriptor.Encoding,
    };

    /// <summary>A copy of blocks or of a tombstone with its own sequence goes straight into the map.</summary>
    private void ApplyBlocks(in RecordHeader header, ReadOnlySpan<byte> record, EntryPlace place)
    {
        if (header.Kind is RecordKind.Trim or RecordKind.Zeroes)
        {
            Map.Trim(header.Range, header.Sequence);
            return;
        }
        if (StoreRecord.MovesBlocks(header.Kind))
        {
            MoveBlocks(Map, in header, record, place);
            return;
        }
        var offset = place.RecordOffsetBytes + (uint)header.PayloadOffset;
        for (var index = 0; index < (int)header.DescriptorCount; index++)
        {
            var descriptor = StoreRecord.DescriptorAt(record, index);
            var entry = EntryOf(descriptor, header.Sequence, place.Segment, offset);
            var block = header.Range.First + (ulong)index;
            if (SeenOnlyBy(in header) is { } snapshot) Map.Insert(block, in entry, snapshot);
            else Map.Put(block, in entry);
            offset += descriptor.Length;
        }
    }

    internal static void MoveBlocks(BlockMap map, in RecordHeader header, ReadOnlySpan<byte> record, EntryPlace place)
    {
        var blocks = new RecordBlocks(in header, record);
        var offset = place.RecordOffsetBytes + (uint)blocks.OffsetBytes;
        for (var index = 0; index < (int)header.DescriptorCount; index++)
        {
            var descriptor = StoreRecord.DescriptorAt(record, index);
            map.Move(blocks.BlockAt(index), EntryOf(descriptor, blocks.SequenceAt(index), place.Segment, offset));
            offset += descriptor.Length;
        }
    }

    /// <summary>
    /// The newest snapshot that sees the blocks, if the volume itself does not (R19). One whose marker this copy has not committed yet is still to be made here, from what the
    /// volume has then.
    /// </summary>
    private ulong? SeenOnlyBy(in RecordHeader header) =>
        (header.Flags & RecordFlags.Resync) != 0 && header.ExpectedSequence != 0 && header.ExpectedSequence <= CommitWatermark ? header.ExpectedSequence : null;

    private void DropTail(ulong toSequence)
    {
        while (_tail.Count > 0 && LastSequence > toSequence)
        {
            _store.Segments[_tail[_tail.Count - 1].Place.Segment].TailRecords--;
            _tail.RemoveLast();
            _markers.Remove(LastSequence);
            LastSequence--;
        }
        LastRecordEpoch = _tail.Count > 0 ? _tail[_tail.Count - 1].Epoch : _committedEpoch;
        LowerTo(toSequence);
    }

    private void LowerTo(ulong sequence)
    {
        AppendedSequence = Math.Min(AppendedSequence, sequence);
        UnwrittenCredit = 0;
        DurableSequence = Math.Min(DurableSequence, sequence);
        _syncingSequence = Math.Min(_syncingSequence, sequence);
    }

    /// <summary>Nothing is left of what the volume had but what its clones stand on.</summary>
    private void RenewMap()
    {
        _store.Detach(Map);
        (Map, _snapshots) = (new BlockMap(_store.Segments, Volume, _store.Maps), null);
    }

    private void Reposition(ulong sequence, ulong lastRecordEpoch, bool discardAll)
    {
        _store.DropMoves(Volume);
        Orders++;
        DropTail(CommitWatermark);
        if (discardAll)
        {
            RenewMap();
            Windows = new SessionWindows();
            Damage = null;
        }
        _repositions++;
        LowerTo(sequence);
        LastSequence = CommitWatermark = AppendedSequence = sequence;
        (_loggedWatermark, _lastMarker) = (sequence, 0);
        LastRecordEpoch = _committedEpoch = lastRecordEpoch;
    }
}
