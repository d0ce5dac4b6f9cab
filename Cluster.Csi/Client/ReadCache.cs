using Cluster.Messages.Wire;

namespace Cluster.Csi.Client;

/// <summary>
/// Blocks as they came from owners on other nodes, of all volumes that are used here with the label cache: encoded, and with the sequence that wrote them. Nothing here is ever taken for right: the owner is
/// asked for each (<see cref="CachedVolume"/>). One per process, on the one loop that there is in this version; counts by any thread. What is not used makes room (CLOCK), and nothing takes longer for there
/// being much, but to drop a volume, which is bounded by <see cref="EntriesMax"/>.
/// </summary>
/// <param name="isMemoryTight">Else that of all buffers.</param>
public sealed class ReadCache(long budgetBytes, Func<bool>? isMemoryTight = null)
{
    /// <summary>If nobody says how much, and the least and the most that may be said.</summary>
    public const long BudgetBytesDefault = 32L << 20;
    public const long BudgetBytesMin = 1L << 20;
    public const long BudgetBytesMax = 256L << 20;

    /// <summary>Blocks at most, however well they compress: a volume of so many is dropped in some milliseconds.</summary>
    public const int EntriesMax = 65_536;

    /// <summary>Blocks that one new one looks at for one that was not used; then the next has to go, used or not.</summary>
    private const int LooksMax = 16;

    private const int EntriesMin = 64;
    private const int None = -1;

    private readonly Func<bool> _isMemoryTight = isMemoryTight ?? (() => BufferPool.Shared.IsTight);
    private readonly Dictionary<BlockKey, int> _index = [];
    private Entry[] _entries = [];
    private int _free = None;
    private int _used;
    private int _hand;
    private uint _volumes;
    private long _bytes;
    private long _hits;
    private long _misses;
    private long _hitBytes;
    private long _evictions;

    private readonly record struct BlockKey(uint Volume, ulong Block);

    private struct Entry
    {
        /// <summary>Null: free.</summary>
        public CachedVolume? Volume;
        public ulong Block;
        public ReadDescriptor Read;
        public IoBuffer? Buffer;
        public bool WasUsed;

        /// <summary>Of the volume's list; <see cref="Next"/> of the free ones, too.</summary>
        public int Previous;
        public int Next;
    }

    /// <summary>0: nothing is kept.</summary>
    public long BudgetBytes => budgetBytes;

    /// <summary>What it takes now.</summary>
    public long Bytes => Interlocked.Read(ref _bytes);

    /// <summary>Blocks that were read and that the owner did not have to send.</summary>
    public long Hits => Interlocked.Read(ref _hits);

    /// <summary>Blocks that it had to.</summary>
    public long Misses => Interlocked.Read(ref _misses);

    /// <summary>Encoded bytes of the hits.</summary>
    public long HitBytes => Interlocked.Read(ref _hitBytes);

    /// <summary>Blocks that made room for others.</summary>
    public long Evictions => Interlocked.Read(ref _evictions);

    internal int Count => _index.Count;

    internal uint NewVolume() => ++_volumes;

    internal void CountHit(int bytes)
    {
        Interlocked.Increment(ref _hits);
        Interlocked.Add(ref _hitBytes, bytes);
    }

    internal void CountMiss() => Interlocked.Increment(ref _misses);

    /// <summary>The block as it is here; a reference of the buffer is the caller's.</summary>
    internal bool TryTake(CachedVolume volume, ulong block, out ReadDescriptor read, out IoBuffer buffer)
    {
        if (!_index.TryGetValue(new BlockKey(volume.Number, block), out var at))
        {
            (read, buffer) = (default, null!);
            return false;
        }
        ref var entry = ref _entries[at];
        entry.WasUsed = true;
        (read, buffer) = (entry.Read, entry.Buffer!);
        buffer.AddReference();
        return true;
    }

    /// <summary>In place of what is here of the block. Where memory is short nothing is kept, and something goes.</summary>
    internal void Put(CachedVolume volume, ulong block, in ReadDescriptor read, ReadOnlySpan<byte> encoded)
    {
        Drop(volume, block);
        if (encoded.IsEmpty || encoded.Length > budgetBytes) return;
        if (_isMemoryTight())
        {
            if (_index.Count > 0) EvictOne();
            return;
        }
        var buffer = BufferPool.Shared.Rent(encoded.Length);
        while (_index.Count > 0 && (_bytes + buffer.RoomBytes > budgetBytes || _index.Count == EntriesMax)) EvictOne();
        if (_bytes + buffer.RoomBytes > budgetBytes)
        {
            buffer.Release();
            return;
        }
        encoded.CopyTo(buffer.Span);
        var at = TakeFree();
        ref var entry = ref _entries[at];
        (entry.Volume, entry.Block, entry.Read, entry.Buffer, entry.WasUsed) = (volume, block, read, buffer, false);
        (entry.Previous, entry.Next) = (None, volume.First);
        if (volume.First != None) _entries[volume.First].Previous = at;
        volume.First = at;
        _index.Add(new BlockKey(volume.Number, block), at);
        Interlocked.Add(ref _bytes, buffer.RoomBytes);
    }

    internal void Drop(CachedVolume volume, ulong block)
    {
        if (_index.TryGetValue(new BlockKey(volume.Number, block), out var at)) Remove(at);
    }

    internal void DropAll(CachedVolume volume)
    {
        while (volume.First != None) Remove(volume.First);
    }

    private int TakeFree()
    {
        if (_free != None)
        {
            var at = _free;
            _free = _entries[at].Next;
            return at;
        }
        if (_used == _entries.Length) Array.Resize(ref _entries, Math.Min(Math.Max(EntriesMin, _entries.Length * 2), EntriesMax));
        return _used++;
    }

    private void EvictOne()
    {
        var looks = 0;
        while (true)
        {
            if (++_hand >= _used) _hand = 0;
            ref var entry = ref _entries[_hand];
            if (entry.Volume is null) continue;
            if (entry.WasUsed && ++looks < LooksMax)
            {
                entry.WasUsed = false;
                continue;
            }
            Remove(_hand);
            Interlocked.Increment(ref _evictions);
            return;
        }
    }

    private void Remove(int at)
    {
        ref var entry = ref _entries[at];
        var volume = entry.Volume!;
        if (entry.Previous == None) volume.First = entry.Next;
        else _entries[entry.Previous].Next = entry.Next;
        if (entry.Next != None) _entries[entry.Next].Previous = entry.Previous;
        _index.Remove(new BlockKey(volume.Number, entry.Block));
        Interlocked.Add(ref _bytes, -entry.Buffer!.RoomBytes);
        entry.Buffer.Release();
        (entry.Volume, entry.Buffer, entry.Next) = (null, null, _free);
        _free = at;
    }
}
