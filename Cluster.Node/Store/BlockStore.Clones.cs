using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>Volumes that share blocks with others of this store (BlockMap.Base.cs).</summary>
public sealed partial class BlockStore
{
    /// <summary>Maps that no volume has any more, and clones still stand on.</summary>
    private readonly List<BlockMap> _detached = [];

    /// <summary>Without those that the last clone has left.</summary>
    internal IReadOnlyList<BlockMap> Detached
    {
        get
        {
            _detached.RemoveAll(map => !map.IsPinned);
            return _detached;
        }
    }

    public (IoStatus Status, IVolumeStore? Volume) CreateClone(VolumeId volume, ReadOnlyMemory<byte> header, VolumeId origin, ulong snapshot)
    {
        Invariant.That(volume.IsValid && !_volumes.ContainsKey(volume), "a replica that exists was created");
        if (HasFailed || _stopped) return (IoStatus.DeviceError, null);
        if (!_volumes.TryGetValue(origin, out var from) || from.Damage is not null) return (IoStatus.Missing, null);
        if (from.CommitWatermark < snapshot) return (from.LastSequence >= snapshot ? IoStatus.Busy : IoStatus.Missing, null);
        if (from.Map.Layer(snapshot) is not { IsHidden: false } || from.Map.Depth >= Limits.CloneDepthMax) return (IoStatus.Missing, null);
        if (!_writer.HasRoom(StoreLimits.HeaderBytesMax * 2, SpaceClass.Control))
        {
            _backgroundDue = true;
            return (IoStatus.NoSpace, null);
        }
        // The marker is committed before the clone in a replay too.
        var status = from.LogWatermark();
        if (status != IoStatus.Ok) return (status, null);
        var made = new VolumeStore(this, volume);
        status = made.StageClone(new CloneBody(origin, snapshot, header.Span), from);
        if (status != IoStatus.Ok) return (status, null);
        _volumes.Add(volume, made);
        return (IoStatus.Ok, made);
    }

    /// <summary>A volume's map is of no use to it any more.</summary>
    internal void Detach(BlockMap map)
    {
        if (map.Detach()) _detached.Add(map);
    }

    /// <summary>As read from a checkpoint.</summary>
    internal void AddDetached(BlockMap map) => _detached.Add(map);

    /// <summary>The map that a clone was made from, while its volume has it; null: it is detached.</summary>
    internal VolumeStore? OwnerOf(BlockMap map) => _volumes.TryGetValue(map.Volume, out var volume) && volume.Map == map ? volume : null;

    /// <summary>All that has blocks which were written as that volume's.</summary>
    internal List<BlockMap> MapsOf(VolumeId volume)
    {
        List<BlockMap> maps = [];
        if (_volumes.TryGetValue(volume, out var found)) maps.Add(found.Map);
        if (_detached.Count > 0) maps.AddRange(Detached.Where(map => map.Volume == volume));
        return maps;
    }

    /// <summary>
    /// Writes live blocks of a record to the end of the log, for a repair, and lets every map that has them name the copies.
    /// </summary>
    /// <param name="sequence">Of the versions that have these blocks: the record's own, or that of a restore (R19).</param>
    internal IoStatus Relocate(in RecordHeader from, ulong sequence, ReadOnlySpan<byte> record, int index, int count, ReadOnlySpan<byte> payload,
        SpaceClass space)
    {
        var volume = _volumes.GetValueOrDefault(from.Volume);
        var header = new RecordHeader
        {
            Kind = StoreRecordKind.Relocate,
            Volume = from.Volume,
            Sequence = sequence,
            Range = new BlockRange(from.Range.First + (ulong)index, (uint)count),
            DescriptorCount = (uint)count,
            PayloadLength = (uint)payload.Length,
            CommitWatermark = volume?.CommitWatermark ?? 0,
        };
        var buffer = BufferPool.Shared.Rent(header.TotalBytes);
        var descriptors = record.Slice(RecordHeader.SizeBytes + (index * BlockDescriptor.SizeBytes), count * BlockDescriptor.SizeBytes);
        descriptors.CopyTo(buffer.Span[RecordHeader.SizeBytes..]);
        payload.CopyTo(buffer.Span[header.PayloadOffset..]);
        header.Encode(buffer.Span);
        var status = Stage(from.Volume, volume, buffer, buffer.Length, space, out var place);
        if (status == IoStatus.Ok)
        {
            volume?.NoteLogged(header.CommitWatermark);
            foreach (var map in MapsOf(from.Volume)) VolumeStore.MoveBlocks(map, in header, buffer.Span, place);
        }
        buffer.Release();
        return status;
    }

    /// <summary>The same for blocks that the cleaner gathered: those of the pack are where its caller found them, in this turn.</summary>
    internal IoStatus Relocate(PackBuilder pack)
    {
        var volume = _volumes.GetValueOrDefault(pack.Volume);
        var buffer = pack.Build(volume?.CommitWatermark ?? 0, out var header);
        var status = Stage(pack.Volume, volume, buffer, buffer.Length, SpaceClass.Cleaner, out var place);
        if (status == IoStatus.Ok)
        {
            CleanedBytes += EntryPrefix.SizeBytes + buffer.Length;
            volume?.NoteLogged(header.CommitWatermark);
            foreach (var map in MapsOf(pack.Volume)) VolumeStore.MoveBlocks(map, in header, buffer.Span, place);
        }
        buffer.Release();
        return status;
    }

    /// <summary>A replay of the cleaner's record: the volume that has the name now does its own part.</summary>
    internal void MoveDetached(in RecordHeader header, ReadOnlySpan<byte> record, EntryPlace place)
    {
        foreach (var map in _detached)
        {
            if (map.Volume == header.Volume) VolumeStore.MoveBlocks(map, in header, record, place);
        }
    }

    /// <summary>What stands on something that is not known is not known either.</summary>
    private void SettleClones()
    {
        foreach (var map in _detached)
        {
            if (_hasLostEntries && map.CountLost() > 0) map.IsDamaged = true;
        }
        foreach (var volume in _volumes.Values)
        {
            if (volume.Map.HasDamagedBase) volume.MarkDamaged("the volume that it was cloned from is damaged on this node");
        }
    }
}
