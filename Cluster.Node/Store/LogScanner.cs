using System.Buffers.Binary;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

public enum ScanStep
{
    /// <summary>A whole entry; of a Write the payload may still be bad (<see cref="LogScanner.PayloadStatus"/>).</summary>
    Entry = 1,
    /// <summary>No entry can begin here any more.</summary>
    End = 2,
    /// <summary>What lies here is not an entry that was written here.</summary>
    Bad = 3,
    /// <summary>The disk returned an error.</summary>
    Failed = 4,
}

/// <summary>Reads the entries of one use of a segment, in order, believing nothing before it is checked. Blocks on the disk.</summary>
public sealed class LogScanner(IDiskFile file, ulong seed, ulong number, uint fromBytes, uint limitBytes) : IDisposable
{
    /// <summary>A disk reads whole pages of this size, and so fails to.</summary>
    private const int PageBytes = 4096;

    private readonly IoBuffer _window = BufferPool.Shared.Rent(BufferPool.LargestBytes);
    private uint _windowStart;
    private int _windowLength;
    private uint _recordOffset;
    private RecordHeader _header;

    /// <summary>Where the next entry begins; after Bad, where the bad bytes begin.</summary>
    public LogPosition Position { get; private set; } = new(number, fromBytes);

    public EntryPrefix Prefix { get; private set; }

    public ref readonly RecordHeader Header => ref _header;

    /// <summary>Good until the next call of a member.</summary>
    public ReadOnlySpan<byte> Record => _window.Whole.Slice((int)(_recordOffset - _windowStart), (int)Prefix.LengthBytes);

    public uint EntryOffsetBytes => _recordOffset - EntryPrefix.SizeBytes;

    public IoStatus PayloadStatus { get; private set; }

    /// <summary>After Bad: the volume of the entry, if its prefix at least was good.</summary>
    public VolumeId? BadVolume { get; private set; }

    public string? FailureDetail { get; private set; }

    /// <summary>Pages that can't be read are taken for bad bytes, instead of ending the scan: a window is read page by page then, with at most as many calls as it has pages.</summary>
    public bool PassesUnreadable { get; init; }

    /// <summary>Some of what was read last came back: a disk that was away gives nothing.</summary>
    public bool HasReadAny { get; private set; }

    public ScanStep Next()
    {
        BadVolume = null;
        if (Position.OffsetBytes + EntryPrefix.SizeBytes > limitBytes) return ScanStep.End;
        if (!Load(Position.OffsetBytes, EntryPrefix.SizeBytes)) return ScanStep.Failed;
        if (!EntryPrefix.TryDecode(At(Position.OffsetBytes), seed, Position, out var prefix)) return ScanStep.Bad;
        if (prefix.End.OffsetBytes > EntryPrefix.Align(limitBytes)) return ScanStep.Bad;
        Prefix = prefix;
        _recordOffset = Position.OffsetBytes + EntryPrefix.SizeBytes;
        PayloadStatus = IoStatus.Ok;
        if (prefix.Kind == EntryKind.Record)
        {
            BadVolume = new VolumeId(prefix.Volume);
            if (!Load(Position.OffsetBytes, EntryPrefix.SizeBytes + (int)prefix.LengthBytes)) return ScanStep.Failed;
            if (!TryDecodeRecord(in prefix)) return ScanStep.Bad;
            BadVolume = null;
        }
        Position = prefix.End;
        return ScanStep.Entry;
    }

    /// <summary>Reads the window that begins at the next entry; then the loop may take what <see cref="HasNextLoaded"/> says without a
    /// read.</summary>
    public bool Prefetch()
    {
        (_windowStart, _windowLength) = (0, 0);
        return Load(Position.OffsetBytes, 0);
    }

    /// <summary>Whether <see cref="Next"/> will not read from the disk.</summary>
    public bool HasNextLoaded()
    {
        var (offset, end) = (Position.OffsetBytes, _windowStart + (uint)_windowLength);
        if (offset + EntryPrefix.SizeBytes > limitBytes) return true;
        if (offset + EntryPrefix.SizeBytes > end) return false;
        return !EntryPrefix.TryDecode(At(offset), seed, Position, out var prefix)
            || offset + EntryPrefix.SizeBytes + prefix.LengthBytes <= end;
    }

    /// <summary>From the bad bytes on, goes to the next place where an entry of this use begins. False: none, or the disk
    /// failed.</summary>
    public bool TrySkipToNextEntry()
    {
        var offset = Position.OffsetBytes + EntryPrefix.AlignmentBytes;
        while (offset + EntryPrefix.SizeBytes <= limitBytes)
        {
            if (!Load(offset, EntryPrefix.SizeBytes)) return false;
            var window = At(offset);
            var found = window.IndexOf(MagicBytes);
            if (found < 0)
            {
                // The magic may begin in the last bytes of the window.
                offset += Align(window.Length - MagicBytes.Length);
                continue;
            }
            offset += (uint)found;
            if (offset % EntryPrefix.AlignmentBytes == 0 && IsEntryAt(offset))
            {
                Position = Position with { OffsetBytes = offset };
                return true;
            }
            offset = (offset & ~(EntryPrefix.AlignmentBytes - 1u)) + EntryPrefix.AlignmentBytes;
        }
        return false;
    }

    public void Dispose() => _window.Release();

    private static ReadOnlySpan<byte> MagicBytes => "MYLE"u8;

    private static uint Align(int bytes) => Math.Max((uint)bytes & ~(EntryPrefix.AlignmentBytes - 1u), EntryPrefix.AlignmentBytes);

    private bool IsEntryAt(uint offset) => offset + EntryPrefix.SizeBytes <= limitBytes && Load(offset, EntryPrefix.SizeBytes)
        && EntryPrefix.TryDecode(At(offset), seed, Position with { OffsetBytes = offset }, out _);

    private bool TryDecodeRecord(in EntryPrefix prefix)
    {
        var record = Record;
        if (RecordHeader.TryDecode(record, out _header) != IoStatus.Ok) return false;
        if (BinaryPrimitives.ReadUInt64LittleEndian(record[(RecordHeader.SizeBytes - 8)..]) != prefix.RecordHash) return false;
        if (_header.TotalBytes != (int)prefix.LengthBytes || _header.Volume.Value != prefix.Volume) return false;
        PayloadStatus = StoreRecord.CheckPayload(in _header, record);
        return PayloadStatus != IoStatus.Malformed;
    }

    private ReadOnlySpan<byte> At(uint offset) => _window.Whole[(int)(offset - _windowStart).._windowLength];

    private bool Load(uint offset, int lengthBytes)
    {
        if (_windowLength > 0 && offset >= _windowStart && offset + lengthBytes <= _windowStart + _windowLength) return true;
        var length = (int)Math.Min(_window.CapacityBytes, Math.Max(lengthBytes, (long)limitBytes - offset));
        var result = file.Read(offset, _window.Whole[..length]);
        HasReadAny = result.IsOk;
        if (!result.IsOk && PassesUnreadable) result = LoadPages(offset, length);
        if (!result.IsOk)
        {
            FailureDetail = result.Detail;
            return false;
        }
        // A file that ends early reads as zeroes, which are no entry.
        if (result.Count < length) _window.Whole[result.Count..length].Clear();
        (_windowStart, _windowLength) = (offset, length);
        return true;
    }

    /// <summary>Zeroes, which are no entry, where a page can't be read.</summary>
    private DiskResult LoadPages(uint offset, int length)
    {
        for (var at = 0; at < length;)
        {
            // By the pages of the file: one that is bad spoils no other.
            var count = Math.Min(length - at, PageBytes - (int)((offset + (uint)at) % PageBytes));
            var page = _window.Whole.Slice(at, count);
            var result = file.Read(offset + (uint)at, page);
            HasReadAny |= result.IsOk;
            page[(result.IsOk ? Math.Min(result.Count, count) : 0)..].Clear();
            at += count;
        }
        return new DiskResult(IoStatus.Ok, length, null);
    }
}
