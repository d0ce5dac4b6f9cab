using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Csi.Client;

/// <summary>
/// What one session has of its volume in the <see cref="ReadCache"/>. A read tells the owner which sequence of each block is here (<see cref="Find"/>), and the owner, after all that it checks for any read,
/// leaves out the bytes of those that are still the volume's. So nothing has to be told or fenced here. A sequence stands for one content only within one epoch: with another, all of it goes
/// (docs/adr/0018-a-read-cache-that-asks.md). The session's loop only.
/// </summary>
/// <param name="loop">The session's; null: whoever has the cache calls its <see cref="ReadCache.Step"/>.</param>
internal sealed class CachedVolume(ReadCache cache, ILoop? loop = null)
{
    private ulong _epoch;

    /// <summary>The owner takes such reads, and is on another node.</summary>
    public bool IsOn { get; private set; }

    /// <summary>Its blocks in the cache that can be found.</summary>
    internal int Count { get; set; }

    /// <summary>A new one each time that all of it is dropped: what was kept under another is not found.</summary>
    internal ulong Number { get; set; } = cache.NewVolume(loop);

    /// <summary>An owner has opened the session, or says something new of the volume.</summary>
    public void Begin(ulong epoch, bool isOn)
    {
        IsOn = isOn && cache.BudgetBytes > 0;
        if (!IsOn || epoch != _epoch) Clear();
        _epoch = epoch;
    }

    public void Clear() => cache.DropAll(this);

    /// <summary>Takes hold of what is here of the range, for as long as the read is on its way. False: nothing, and the read is one like any other.</summary>
    public bool Find(BlockRange range, KnownBlocks known)
    {
        known.Begin(_epoch);
        for (var index = 0; index < (int)range.Count; index++)
        {
            if (cache.TryTake(this, range.First + (ulong)index, out var read, out var buffer)) known.Add(index, in read, buffer);
        }
        return known.Any;
    }

    /// <summary>A block as the owner of that epoch sent it in answer to a read, found to be good.</summary>
    public void Put(ulong epoch, ulong block, in ReadDescriptor read, ReadOnlySpan<byte> encoded)
    {
        if (!encoded.IsEmpty) cache.CountMiss();
        if (epoch != _epoch) return;
        cache.Put(this, block, in read, encoded);
    }

    public void CountHit(int bytes) => cache.CountHit(bytes);

    /// <summary>Written by the session itself, or found to be bad: its bytes are of no use. What a larger range leaves here is no harm, and makes room in time.</summary>
    public void Drop(BlockRange range)
    {
        if (Count == 0 || range.Count > Limits.RecordBlocksMax) return;
        for (var block = range.First; block < range.End; block++) cache.Drop(this, block);
    }
}

/// <summary>Blocks that a read on its way has hold of, with one reference each. Kept by its request, and used again; the session's loop only.</summary>
internal sealed class KnownBlocks
{
    private readonly IoBuffer?[] _buffers = new IoBuffer?[Limits.RecordBlocksMax];
    private readonly ReadDescriptor[] _reads = new ReadDescriptor[Limits.RecordBlocksMax];
    private int _end;

    public bool Any => _end > 0;

    /// <summary>In which they were read: the read's frame carries it, and the owner of any other takes nothing for known.</summary>
    public ulong Epoch { get; private set; }

    public void Begin(ulong epoch)
    {
        Release();
        Epoch = epoch;
    }

    public void Add(int index, in ReadDescriptor read, IoBuffer buffer)
    {
        (_buffers[index], _reads[index]) = (buffer, read);
        _end = index + 1;
    }

    /// <summary>The block at that place, if it is here and of that sequence.</summary>
    public bool TryGet(int index, ulong sequence, out ReadDescriptor read, out ReadOnlySpan<byte> encoded)
    {
        read = default;
        encoded = default;
        if (index >= _end || _buffers[index] is not { } buffer || _reads[index].Sequence != sequence) return false;
        read = _reads[index];
        encoded = buffer.Span;
        return true;
    }

    /// <summary>Body of the read (<see cref="CachedReadBody"/>), in a buffer that is the caller's.</summary>
    public IoBuffer Encode(SessionId session, BlockRange range)
    {
        Span<ulong> sequences = stackalloc ulong[Limits.RecordBlocksMax];
        sequences.Clear();
        for (var index = 0; index < _end; index++)
        {
            if (_buffers[index] is not null) sequences[index] = _reads[index].Sequence;
        }
        var body = BufferPool.Shared.Rent(CachedReadBody.EncodedBytes(range.Count));
        new CachedReadBody(new ClientReadBody(session, range)).Encode(body.Span, sequences[..(int)range.Count]);
        return body;
    }

    public void Release()
    {
        for (var index = 0; index < _end; index++)
        {
            _buffers[index]?.Release();
            _buffers[index] = null;
        }
        _end = 0;
    }
}
