using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Tests.Unit.Fakes;

/// <summary>A block device in memory, sparse by 4 KiB block. Completes at once, or when the test says so (<see cref="Held"/>).</summary>
internal sealed class MemoryDevice(ILoop loop, ulong sizeBytes) : IBlockDevice
{
    private readonly Dictionary<ulong, byte[]> _blocks = [];

    public ILoop Loop => loop;

    public ulong SizeBytes { get; set; } = sizeBytes;

    public bool ReadOnly { get; init; }

    /// <summary>When set, requests wait here for <see cref="Release"/>.</summary>
    public List<BlockRequest>? Held { get; set; }

    public IoStatus Answer { get; set; } = IoStatus.Ok;

    /// <summary>For a device that lies: how many bytes of a request it performs before it says that all is well.</summary>
    public Func<BlockRequest, ulong>? Performs { get; set; }

    public int Closes { get; private set; }

    public int FlushCount { get; private set; }

    public int ForcedCount { get; private set; }

    public int AllocatedBlocks => _blocks.Count;

    public void Submit(BlockRequest request)
    {
        if (Held is { } held) held.Add(request);
        else Finish(request);
    }

    public void Close() => Closes++;

    /// <summary>Completes what is held, in reverse: no caller may rely on order.</summary>
    public void Release()
    {
        while (Held is { Count: > 0 } held)
        {
            var request = held[^1];
            held.RemoveAt(held.Count - 1);
            Finish(request);
        }
    }

    public void Finish(BlockRequest request)
    {
        if (Answer == IoStatus.Ok) Perform(request);
        request.Complete(Answer);
    }

    private void Perform(BlockRequest request)
    {
        if (request.ForceUnitAccess) ForcedCount++;
        switch (request.Operation)
        {
            case BlockOperation.Flush:
                FlushCount++;
                break;
            case BlockOperation.Status:
                Describe(request);
                break;
            default:
                var end = Performs?.Invoke(request) ?? request.LengthBytes;
                for (ulong at = 0; at < end;) at += Touch(request, at);
                break;
        }
    }

    private ulong Touch(BlockRequest request, ulong at)
    {
        var number = (request.OffsetBytes + at) / Limits.BlockBytes;
        var inBlock = (int)((request.OffsetBytes + at) % Limits.BlockBytes);
        var count = (int)Math.Min((ulong)(Limits.BlockBytes - inBlock), request.LengthBytes - at);
        var isWhole = count == Limits.BlockBytes;
        if (request.Operation == BlockOperation.Write)
        {
            if (!_blocks.TryGetValue(number, out var block)) _blocks.Add(number, block = new byte[Limits.BlockBytes]);
            request.Data.Span.Slice((int)at, count).CopyTo(block.AsSpan(inBlock));
        }
        else if (request.Operation == BlockOperation.Read)
        {
            var to = request.Data.Span.Slice((int)at, count);
            if (_blocks.TryGetValue(number, out var block)) block.AsSpan(inBlock, count).CopyTo(to);
            else to.Clear();
        }
        else if (isWhole) _blocks.Remove(number);
        else if (_blocks.TryGetValue(number, out var block)) block.AsSpan(inBlock, count).Clear();
        return (ulong)count;
    }

    private void Describe(BlockRequest request)
    {
        request.Extents!.Clear();
        var end = request.OffsetBytes + request.LengthBytes;
        for (var at = request.OffsetBytes; at < end && request.Extents.Count < request.ExtentsMax;)
        {
            var allocated = _blocks.ContainsKey(at / Limits.BlockBytes);
            var from = at;
            while (at < end && _blocks.ContainsKey(at / Limits.BlockBytes) == allocated)
                at = Math.Min(end, ((at / Limits.BlockBytes) + 1) * Limits.BlockBytes);
            request.Extents.Add(new AllocationExtent(from, at - from, allocated));
        }
    }
}
