using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Csi.Client;

/// <summary>
/// What one session has of its volume in the <see cref="ReadCache"/>. A read tells the owner which sequence of each block is here (<see cref="Find"/>), and the owner, after all that it checks for any read,
/// leaves out the bytes of those that are still the volume's. So nothing has to be told or fenced here. A sequence stands for one content only within one epoch: with another, all of it goes
/// (docs/adr/0018-a-read-cache-that-asks.md). The session's loop only.
/// </summary>
internal sealed class CachedVolume(ReadCache cache)
{
    private ulong _epoch;

    /// <summary>The owner takes such reads, and is on another node.</summary>
    public bool IsOn { get; private set; }

    /// <summary>Of its list in the cache.</summary>
    internal int First { get; set; } = -1;

    internal uint Number { get; } = cache.NewVolume();

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

    /// <summary>A block as the owner sent it in answer to a read.</summary>
    public void Put(ulong block, in ReadDescriptor read, ReadOnlySpan<byte> encoded)
    {
        cache.CountMiss();
        cache.Put(this, block, in read, encoded);
    }

    public void CountHit(int bytes) => cache.CountHit(bytes);

    /// <summary>Written by the session itself, or found to be bad: its bytes are of no use. What a larger range leaves here is no harm, and makes room in time.</summary>
    public void Drop(BlockRange range)
    {
        if (First < 0 || range.Count > Limits.RecordBlocksMax) return;
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
