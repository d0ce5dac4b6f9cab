using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>
/// The blocks of a scan for changes (R8): those that the volume has, then those that only snapshots see. What a clone shares with the maps below it goes along, as if it had been
/// written to the clone: the copy that is caught up may have nothing of the volume it came from.
/// </summary>
public sealed partial class VolumeStore
{
    private RecordHeader ResyncHeader(RecordKind kind, BlockRange range, ulong sequence) =>
        new() { Kind = kind, Flags = RecordFlags.Resync, Volume = Volume, Range = range, Sequence = sequence };

    /// <summary>Too much rather than too little: of what the maps below have, some is not the clone's any more.</summary>
    private static long EstimateBelow(MapBase? below, ulong since)
    {
        if (below is not { } at || since >= at.Snapshot) return 0;
        var blocks = at.Map.MappedBlocks + at.Map.Layers.Sum(layer => layer.Blocks);
        return at.Map.StoredBytes + at.Map.SnapshotBytes + (blocks * (RecordHeader.SizeBytes + BlockDescriptor.SizeBytes)) + EstimateBelow(at.Map.Base, since);
    }

    /// <summary>Whether the scan has to look below: a copy that has the clone's beginning has all of that.</summary>
    private bool IsBaseAsked(ulong since) => Map.Base is { } below && since < below.Snapshot;

    private (IoStatus Status, ChangeCursor? Next) ReadBlocks(ulong since, ulong upTo, ulong from, int bytesMax, List<IoBuffer> records,
        ref int bytes)
    {
        var isBaseAsked = IsBaseAsked(since);
        var (loads, isFirst) = (_store.Maps.LoadsInPlace, true);
        for (var number = NextChanged(from >> MapPage.BlocksLog2, isBaseAsked); number != ulong.MaxValue; number = NextChanged(number + 1, isBaseAsked))
        {
            if (!isBaseAsked && Map.Peek(number).SequenceMax <= since) continue;
            // One in any case: just to find it may have read a page of each snapshot of the base.
            if (!isFirst && _store.Maps.LoadsInPlace - loads >= PagesReadMax) return (IoStatus.Ok, new ChangeCursor(StageBlocks, number << MapPage.BlocksLog2));
            isFirst = false;
            Map.Yield();
            var page = isBaseAsked ? Map.View(number) : Map.Page(number);
            if (page.SequenceMax <= since) continue;
            var pageFirst = number << MapPage.BlocksLog2;
            var at = (int)(Math.Max(from, pageFirst) - pageFirst);
            while (at < MapPage.Blocks)
            {
                ref readonly var entry = ref page.Entries[at];
                if (!entry.IsMapped || entry.IsMask || !IsBetween(entry.Sequence, since, upTo))
                {
                    at++;
                    continue;
                }
                if (bytes >= bytesMax) return (IoStatus.Ok, new ChangeCursor(StageBlocks, pageFirst + (ulong)at));
                var count = RunOf(page, at);
                var status = BuildRun(page, pageFirst, at, count, out var record);
                if (status != IoStatus.Ok) return (status, null);
                records.Add(record!);
                bytes += record!.Length;
                at += count;
            }
        }
        return (IoStatus.Ok, null);
    }

    private ulong NextChanged(ulong from, bool isBaseAsked)
    {
        if (isBaseAsked) return Map.NextPage(from);
        var numbers = Map.PageNumbers();
        var index = numbers.BinarySearch(from);
        index = index < 0 ? ~index : index;
        return index < numbers.Length ? numbers[index] : ulong.MaxValue;
    }

    /// <summary>Neighbouring blocks of one sequence, as many as one record holds.</summary>
    private static int RunOf(MapPage page, int at)
    {
        var count = 1;
        while (count < Limits.RecordBlocksMax && at + count < MapPage.Blocks
            && page.Entries[at + count].Sequence == page.Entries[at].Sequence && !page.Entries[at + count].IsMask)
            count++;
        return count;
    }

    private IoStatus BuildRun(MapPage page, ulong pageFirst, int at, int count, out IoBuffer? record)
    {
        record = null;
        var header = ResyncHeader(RecordKind.Write, new BlockRange(pageFirst + (ulong)at, (uint)count), page.Entries[at].Sequence);
        header.DescriptorCount = (uint)count;
        var buffer = BufferPool.Shared.Rent(RecordHeader.SizeBytes + (count * ChangeBytesPerBlock));
        var offset = header.PayloadOffset;
        for (var index = 0; index < count; index++)
        {
            var block = pageFirst + (ulong)(at + index);
            var isThere = Map.Find(block, out var entry, out var holder);
            Invariant.That(isThere || Damage is not null, "a page shows a block that the map does not have");
            // The page of the map below that had its bytes was lost by this look.
            var status = !isThere ? IoStatus.BadChecksum : PutBlock(holder, in entry, block, buffer.Span[(RecordHeader.SizeBytes + (index * BlockDescriptor.SizeBytes))..], buffer.Span[offset..]);
            if (status != IoStatus.Ok)
            {
                buffer.Release();
                return status;
            }
            offset += entry.LengthBytes;
        }
        header.PayloadLength = (uint)(offset - header.PayloadOffset);
        buffer.Length = offset;
        header.Encode(buffer.Span);
        record = buffer;
        return IoStatus.Ok;
    }

    private IoStatus BuildOne(BlockMap holder, in MapEntry entry, ulong block, ulong snapshot, out IoBuffer? record)
    {
        record = null;
        var header = ResyncHeader(RecordKind.Write, new BlockRange(block, 1), entry.Sequence);
        (header.DescriptorCount, header.PayloadLength, header.ExpectedSequence) = (1, entry.LengthBytes, snapshot);
        var buffer = BufferPool.Shared.Rent(header.TotalBytes);
        var status = PutBlock(holder, in entry, block, buffer.Span[RecordHeader.SizeBytes..], buffer.Span[header.PayloadOffset..]);
        if (status != IoStatus.Ok)
        {
            buffer.Release();
            return status;
        }
        header.Encode(buffer.Span);
        record = buffer;
        return IoStatus.Ok;
    }

    /// <summary>Reads a block and describes it as one of this volume's: what another one wrote was checked as that before.</summary>
    private IoStatus PutBlock(BlockMap holder, in MapEntry entry, ulong block, Span<byte> descriptor, Span<byte> to)
    {
        var bytes = to[..entry.LengthBytes];
        var status = ReadBlock(holder.Volume, in entry, block, bytes);
        if (status == IoStatus.Ok) (holder.Volume == Volume ? entry.Descriptor : BlockDescriptor.Of(entry.Encoding, Volume, 0, block, bytes)).Write(descriptor);
        return status;
    }

    /// <summary>What only snapshots hold, from the newest one down, and last what they see of the base: what moves meanwhile moves to an older one.</summary>
    private (IoStatus Status, ChangeCursor? Next) ReadSnapshots(ulong since, ulong upTo, ChangeCursor cursor, int bytesMax, List<IoBuffer> records, int bytes)
    {
        var loads = _store.Maps.LoadsInPlace;
        for (var at = Map.Layers.Count - 1; at >= 0; at--)
        {
            var layer = Map.Layers[at];
            if (layer.Sequence > cursor.Snapshot || layer.Sequence <= since) continue;
            var from = layer.Sequence == cursor.Snapshot ? cursor.NextBlock : 0;
            var (status, next) = ReadLayer(layer, since, upTo, from, bytesMax, records, ref bytes, loads + PagesReadMax);
            if (status != IoStatus.Ok || next is not null) return (status, next);
        }
        if (!IsBaseAsked(since)) return (IoStatus.Ok, null);
        return ReadBase(since, upTo, cursor.Snapshot == Map.Base!.Snapshot ? cursor.NextBlock : 0, bytesMax, records, bytes);
    }

    private (IoStatus Status, ChangeCursor? Next) ReadLayer(SnapshotLayer layer, ulong since, ulong upTo, ulong from, int bytesMax, List<IoBuffer> records, ref int bytes, long loadsUpTo)
    {
        for (var index = layer.PageFrom(from); index < layer.PageCount; index++)
        {
            if (layer.Peek(index) is var known && known.SequenceMax <= since) continue;
            if (_store.Maps.LoadsInPlace >= loadsUpTo) return (IoStatus.Ok, new ChangeCursor(StageSnapshots, Math.Max(from, known.First), layer.Sequence));
            Map.Yield();
            var page = layer.Reach(index);
            for (var next = page.FindFrom(from); next < page.Mapped; next++)
            {
                var (block, entry, holder) = (page.BlockAt(next), page.Entries[next], Map);
                if (!IsBetween(entry.Sequence, since, upTo) || !Map.Resolve(block, ref entry, ref holder)) continue;
                // What a clone's snapshot alone sees is nobody else's.
                var seer = layer.IsHidden ? Map.SeerAmong(entry.Sequence, layer.Sequence) : layer.Sequence;
                if (seer == 0) continue;
                if (bytes >= bytesMax) return (IoStatus.Ok, new ChangeCursor(StageSnapshots, block, layer.Sequence));
                var status = BuildOne(holder, in entry, block, seer, out var record);
                if (status != IoStatus.Ok) return (status, null);
                records.Add(record!);
                bytes += record!.Length;
            }
        }
        return (IoStatus.Ok, null);
    }

    /// <summary>What the clone itself does not see of its base any more, and snapshots of it do. Nothing moves there.</summary>
    private (IoStatus Status, ChangeCursor? Next) ReadBase(ulong since, ulong upTo, ulong from, int bytesMax, List<IoBuffer> records, int bytes)
    {
        var (below, snapshot) = Map.Base!;
        var (loads, isFirst) = (_store.Maps.LoadsInPlace, true);
        for (var number = below.NextPageAt(snapshot, from >> MapPage.BlocksLog2); number != ulong.MaxValue; number = below.NextPageAt(snapshot, number + 1))
        {
            var pageFirst = number << MapPage.BlocksLog2;
            if (!isFirst && _store.Maps.LoadsInPlace - loads >= PagesReadMax) return (IoStatus.Ok, new ChangeCursor(StageSnapshots, pageFirst, snapshot));
            isFirst = false;
            Map.Yield();
            for (var block = Math.Max(from, pageFirst); block < pageFirst + MapPage.Blocks; block++)
            {
                if (Map.SeerOfBase(block) is not (> 0 and var seer) || !below.FindAt(snapshot, block, out var entry, out var holder)) continue;
                if (!IsBetween(entry.Sequence, since, upTo)) continue;
                if (bytes >= bytesMax) return (IoStatus.Ok, new ChangeCursor(StageSnapshots, block, snapshot));
                var status = BuildOne(holder, in entry, block, seer, out var record);
                if (status != IoStatus.Ok) return (status, null);
                records.Add(record!);
                bytes += record!.Length;
            }
        }
        return (IoStatus.Ok, null);
    }
}
