using System.IO.Hashing;
using System.Runtime.InteropServices;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>Blocks read one by one, compared, and written anew where their bytes are bad.</summary>
public sealed partial class VolumeStore
{
    /// <summary>Pages that one look for data takes at most: 512 MiB of zeroes.</summary>
    private const int PagesLookedAtMax = 256;

    /// <summary>Of blocks that are not known: it is that of nothing that is there.</summary>
    private const ulong UnknownDigest = 0;

    public ulong Digest(BlockRange range, ulong snapshot, bool withChecksums)
    {
        Invariant.That(range.Count <= Limits.RecordBlocksMax, "a digest of too many blocks was asked for");
        Span<ulong> words = stackalloc ulong[3 * Limits.RecordBlocksMax];
        var count = 0;
        if (!ReachForAnswer(range, snapshot)) return UnknownDigest;
        for (var block = range.First; block < range.End; block++)
        {
            if (!Map.TryGetKept(snapshot, block, out var entry, out _) || entry.LengthBytes == 0) continue;
            (words[count], words[count + 1], words[count + 2]) = (block, entry.Sequence, withChecksums ? entry.Checksum : 0);
            count += 3;
        }
        return XxHash3.HashToUInt64(MemoryMarshal.AsBytes(words[..count]));
    }

    /// <summary>False: pages of the range can't be read back, and what is left of the map says nothing about it.</summary>
    /// <param name="snapshot">What that keeps is asked for; 0: what the volume has.</param>
    private bool ReachForAnswer(BlockRange range, ulong snapshot)
    {
        Map.ReachAll(range);
        if (snapshot > 0) Map.ReachKept(range, snapshot);
        return Damage is null;
    }

    public ulong NextSnapshot(BlockRange range, ulong below)
    {
        var loadsUpTo = _store.Maps.LoadsInPlace + PagesReadMax;
        for (var index = Map.Layers.Count - 1; index >= 0; index--)
        {
            var layer = Map.Layers[index];
            if (layer.Sequence >= below || layer.IsHidden) continue;
            if (Map.IsShared ? KeepsBytes(layer.Sequence, range) : layer.NextData(range.First, range.End, PagesLookedAtMax, loadsUpTo) < range.End) return layer.Sequence;
        }
        return 0;
    }

    /// <summary>Block by block: what it keeps may lie in a hidden snapshot, or below a clone.</summary>
    private bool KeepsBytes(ulong snapshot, BlockRange range)
    {
        for (var block = range.First; block < range.End; block++)
        {
            if (Map.TryGetKept(snapshot, block, out var entry, out _) && entry.LengthBytes > 0) return true;
        }
        return false;
    }

    public ulong NextData(ulong from, ulong end)
    {
        var next = NextOfVolume(from, end);
        // Of a map that has lost pages: there may be something at once.
        if (Damage is not null) return from;
        var loadsUpTo = _store.Maps.LoadsInPlace + PagesReadMax;
        foreach (var layer in Map.Layers) next = layer.NextData(from, next, PagesLookedAtMax, loadsUpTo);
        return Damage is null ? next : from;
    }

    private ulong NextOfVolume(ulong from, ulong end)
    {
        var (looked, last) = (0, (end - 1) >> MapPage.BlocksLog2);
        var loads = _store.Maps.LoadsInPlace;
        for (var number = Map.NextPage(from >> MapPage.BlocksLog2); number <= last; number = Map.NextPage(number + 1), looked++)
        {
            var pageFirst = number << MapPage.BlocksLog2;
            if (looked == PagesLookedAtMax || (looked > 0 && _store.Maps.LoadsInPlace - loads >= PagesReadMax)) return Math.Min(pageFirst, end);
            // Of one that holds no bytes nothing is read.
            if (Map.Base is null && Map.Peek(number).StoredBytes == 0) continue;
            Map.Yield();
            var page = Map.View(number);
            for (var at = (int)(Math.Max(from, pageFirst) - pageFirst); at < MapPage.Blocks && page.StoredBytes > 0; at++)
            {
                if (page.Entries[at].LengthBytes > 0) return Math.Min(pageFirst + (ulong)at, end);
            }
        }
        return end;
    }

    public void ReadEach(BlockRange range, ulong snapshot, bool background, IEachReadCompletion completion, ulong token)
    {
        var status = IsDeleted ? IoStatus.Deleted
            : Damage is not null ? IoStatus.BadChecksum
            : range.Count is 0 or > Limits.RecordBlocksMax || range.End > Limits.BlockIndexMax ? IoStatus.OutOfRange
            : _store.IsStopping ? IoStatus.DeviceError
            : _store.WriteStaged();
        if (status == IoStatus.Ok)
        {
            Map.ReachAll(range);
            if (snapshot > 0) Map.ReachKept(range, snapshot);
            if (Damage is not null) status = IoStatus.BadChecksum;
        }
        if (status != IoStatus.Ok) completion.OnReadEach(token, status, 0, null);
        else _store.Submit(background ? DiskLane.Scrub : DiskLane.Read, new EachReadJob(_store, this, range, snapshot, completion, token));
    }

    /// <summary>
    /// Where the map has the record's sequence, for the volume or a snapshot, only the place changes: that is what the cleaner does to a block, and so it is its record (Relocate) that
    /// is logged. Blocks that are older here, or lack the version that a snapshot keeps, take the record as a catch-up's. Room is taken from where trims have theirs: a mend gives back as much as it takes, and must not wait for
    /// writers to use what they were promised (R21).
    /// </summary>
    public (IoStatus Status, int Blocks) Repair(IoBuffer record, in RecordHeader header)
    {
        if (Refusal() is null)
        {
            Map.ReachAll(header.Range);
            Map.ReachLayers(header.Range);
        }
        if (Refusal() is { } refusal) return (refusal, 0);
        Invariant.That((header.Flags & RecordFlags.Resync) != 0 && header.Sequence > 0, "a repair carries a resync record with its sequence");
        var status = Check(record, in header);
        if (status != IoStatus.Ok) return (status, 0);
        var lacking = CountLacking(in header);
        var (replaced, offset) = (0, header.PayloadOffset);
        for (var index = 0; index < (int)header.DescriptorCount;)
        {
            var (count, lengthBytes) = SameRun(in header, record.Span, index);
            if (count > 0)
            {
                status = _store.Relocate(in header, header.Sequence, record.Span, index, count, record.Span.Slice(offset, lengthBytes), SpaceClass.Control);
                if (status != IoStatus.Ok) return (status, replaced);
                replaced += count;
            }
            else (count, lengthBytes) = (1, StoreRecord.DescriptorAt(record.Span, index).Length);
            index += count;
            offset += lengthBytes;
        }
        if (lacking == 0) return (IoStatus.Ok, replaced);
        status = StageResync(record, in header, SpaceClass.Control);
        return (status, status == IoStatus.Ok ? replaced + lacking : replaced);
    }

    /// <summary>Blocks of the record that are older in the map, or of which it does not have the version that a snapshot keeps.</summary>
    private int CountLacking(in RecordHeader header)
    {
        var count = 0;
        var isOfSnapshot = SeenOnlyBy(in header) is not null;
        for (var block = header.Range.First; block < header.Range.End; block++)
        {
            // What lies below a clone is mended for the clone by bytes of its own: others may not hold it as it is here.
            var isLacking = isOfSnapshot ? !Map.TryFindVersion(block, header.Sequence, out _) : Map.SequenceOf(block) < header.Sequence || IsOfBase(block, header.Sequence);
            if (isLacking) count++;
        }
        return count;
    }

    private bool IsOfBase(ulong block, ulong sequence) => Map.Find(block, out var entry, out var holder) && holder != Map && entry.Sequence == sequence && entry.LengthBytes > 0;

    /// <summary>How many blocks from the index on have the record's sequence and bytes in the map, and the record's bytes of them.</summary>
    private (int Count, int LengthBytes) SameRun(in RecordHeader header, ReadOnlySpan<byte> record, int index)
    {
        var (count, lengthBytes) = (0, 0);
        for (; index + count < (int)header.DescriptorCount; count++)
        {
            var length = StoreRecord.DescriptorAt(record, index + count).Length;
            var isHere = Map.TryFindVersion(header.Range.First + (ulong)(index + count), header.Sequence, out var entry);
            if (!isHere || length == 0 || !BlockMap.HasOwnBytes(in entry)) break;
            lengthBytes += length;
        }
        return (count, lengthBytes);
    }
}
