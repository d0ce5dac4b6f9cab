using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Csi.Client;

/// <summary>
/// Blocks as they came from owners on other nodes, of all volumes that are used here with the label cache: encoded, and with the sequence that wrote them. Nothing here is ever taken for right: the owner is
/// asked for each (<see cref="CachedVolume"/>). One per process, on the one loop that there is in this version; counts by any thread. What is not used makes room (CLOCK). Nothing takes longer for there
/// being much: what a volume had is not found from the moment at which it is dropped, and its memory is given back in steps (<see cref="Step"/>), as all of it is while memory is short.
/// </summary>
public sealed class ReadCache
{
    /// <summary>If nobody says how much, and the least and the most that may be said.</summary>
    public const long BudgetBytesDefault = 32L << 20;
    public const long BudgetBytesMin = 1L << 20;
    public const long BudgetBytesMax = 256L << 20;

    /// <summary>Blocks at most, however well they compress; those that were dropped and are not given back yet are among them.</summary>
    public const int EntriesMax = 65_536;

    /// <summary>Blocks that one new one looks at for one that was not used; then the next has to go, used or not.</summary>
    private const int LooksMax = 16;

    /// <summary>Of one step: blocks given back at most (a call of the system's each), and looked at for that; some 100 us.</summary>
    internal const int StepFreesMax = 256;
    internal const int StepLooksMax = 4096;

    /// <summary>Until the next step, while there is something to give back, and while there is not: memory may become short.</summary>
    internal const int StepMs = 10;
    internal const int IdleMs = 100;

    private const int EntriesMin = 64;
    private const int None = -1;

    private readonly Func<bool> _isMemoryTight;
    private readonly Action _tick;
    private readonly Dictionary<BlockKey, int> _index = [];
    private Entry[] _entries = [];
    private int _free = None;
    private int _used;
    private int _hand;
    private int _sweep;
    private int _dropped;
    private ILoop? _loop;
    private ILoopTimer? _timer;
    private ulong _volumes;
    private long _bytes;
    private long _hits;
    private long _misses;
    private long _hitBytes;
    private long _evictions;

    private readonly record struct BlockKey(ulong Volume, ulong Block);

    private struct Entry
    {
        /// <summary>Null: free.</summary>
        public CachedVolume? Volume;

        /// <summary>Of the volume when it was kept; if that has another one now, this was dropped.</summary>
        public ulong Number;
        public ulong Block;
        public ReadDescriptor Read;
        public IoBuffer? Buffer;
        public bool WasUsed;

        /// <summary>Of the list of the free ones.</summary>
        public int Next;

        public readonly bool IsDropped => Volume!.Number != Number;
    }

    /// <param name="isMemoryTight">Else that of all buffers.</param>
    public ReadCache(long budgetBytes, Func<bool>? isMemoryTight = null)
    {
        (BudgetBytes, _isMemoryTight) = (budgetBytes, isMemoryTight ?? (() => BufferPool.Shared.IsTight));
        _tick = Tick;
    }

    /// <summary>0: nothing is kept.</summary>
    public long BudgetBytes { get; }

    /// <summary>What it takes now.</summary>
    public long Bytes => Interlocked.Read(ref _bytes);

    /// <summary>Blocks that were read and that the owner did not have to send.</summary>
    public long Hits => Interlocked.Read(ref _hits);

    /// <summary>Blocks that it had to; those without bytes, which are never kept, are not among them.</summary>
    public long Misses => Interlocked.Read(ref _misses);

    /// <summary>Encoded bytes of the hits.</summary>
    public long HitBytes => Interlocked.Read(ref _hitBytes);

    /// <summary>Blocks that made room for others.</summary>
    public long Evictions => Interlocked.Read(ref _evictions);

    /// <summary>Blocks that can be found.</summary>
    internal int Count => _index.Count - _dropped;

    internal ulong NewVolume(ILoop? loop)
    {
        if (loop is not null && BudgetBytes > 0)
        {
            Invariant.That(_loop is null || ReferenceEquals(_loop, loop), "a read cache is used on two loops");
            _loop = loop;
        }
        return ++_volumes;
    }

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

    /// <summary>In place of what is here of the block, unless that is newer: answers to reads have no order. Where memory is short nothing is kept, and something goes.</summary>
    internal void Put(CachedVolume volume, ulong block, in ReadDescriptor read, ReadOnlySpan<byte> encoded)
    {
        if (_index.TryGetValue(new BlockKey(volume.Number, block), out var old))
        {
            // Sequence 0 has no order: never written, or a tombstone that was dropped since (R20).
            if (read.Sequence != 0 && read.Sequence < _entries[old].Read.Sequence) return;
            Remove(old);
        }
        if (encoded.IsEmpty || encoded.Length > BudgetBytes) return;
        if (_isMemoryTight())
        {
            if (_index.Count > 0) EvictOne();
            return;
        }
        var buffer = BufferPool.Shared.Rent(encoded.Length);
        while (_index.Count > 0 && (_bytes + buffer.RoomBytes > BudgetBytes || _index.Count == EntriesMax)) EvictOne();
        if (_bytes + buffer.RoomBytes > BudgetBytes)
        {
            buffer.Release();
            return;
        }
        encoded.CopyTo(buffer.Span);
        var at = TakeFree();
        ref var entry = ref _entries[at];
        (entry.Volume, entry.Number, entry.Block, entry.Read, entry.Buffer, entry.WasUsed) = (volume, volume.Number, block, read, buffer, false);
        volume.Count++;
        _index.Add(new BlockKey(volume.Number, block), at);
        Interlocked.Add(ref _bytes, buffer.RoomBytes);
        _timer ??= _loop?.Schedule(IdleMs, _tick);
    }

    internal void Drop(CachedVolume volume, ulong block)
    {
        if (_index.TryGetValue(new BlockKey(volume.Number, block), out var at)) Remove(at);
    }

    /// <summary>Takes no longer for there being much of it.</summary>
    internal void DropAll(CachedVolume volume)
    {
        if (volume.Count == 0) return;
        _dropped += volume.Count;
        (volume.Count, volume.Number) = (0, ++_volumes);
    }

    /// <summary>Gives back some of what was dropped, and while memory is short of the rest too. False: there is nothing more to give back now.</summary>
    internal bool Step()
    {
        var isTight = _isMemoryTight();
        var freed = 0;
        for (var looks = 0; looks < StepLooksMax && freed < StepFreesMax && _index.Count > 0 && (isTight || _dropped > 0); looks++)
        {
            if (++_sweep >= _used) _sweep = 0;
            ref var entry = ref _entries[_sweep];
            if (entry.Volume is null) continue;
            if (!entry.IsDropped)
            {
                if (!isTight || _dropped > 0) continue;
                Interlocked.Increment(ref _evictions);
            }
            Remove(_sweep);
            freed++;
        }
        return _index.Count > 0 && (isTight || _dropped > 0);
    }

    private void Tick()
    {
        _timer = null;
        var hasMore = Step();
        if (_index.Count > 0) _timer = _loop!.Schedule(hasMore ? StepMs : IdleMs, _tick);
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
            if (entry.IsDropped)
            {
                Remove(_hand);
                return;
            }
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
        if (entry.IsDropped) _dropped--;
        else entry.Volume!.Count--;
        _index.Remove(new BlockKey(entry.Number, entry.Block));
        Interlocked.Add(ref _bytes, -entry.Buffer!.RoomBytes);
        entry.Buffer.Release();
        (entry.Volume, entry.Buffer, entry.Next) = (null, null, _free);
        _free = at;
    }
}
