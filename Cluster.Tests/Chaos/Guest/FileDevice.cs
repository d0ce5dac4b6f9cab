using Cluster.Csi.Attach;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Microsoft.Win32.SafeHandles;

namespace Cluster.Tests.Chaos.Guest;

/// <summary>A block device in a sparse file, so that it outlives the process that serves it. As large as the file is. Blocks the loop that it lives on.</summary>
internal sealed class FileDevice(ILoop loop, string path) : IBlockDevice
{
    private readonly SafeFileHandle _file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
    private readonly byte[] _zeroes = new byte[Limits.BlockBytes];

    public ILoop Loop => loop;

    public ulong SizeBytes => (ulong)RandomAccess.GetLength(_file);

    public bool ReadOnly => false;

    /// <summary>What every request is answered with; but for Ok it does nothing.</summary>
    public IoStatus Answer { get; set; } = IoStatus.Ok;

    /// <summary>Requests get no answer at all, as while a volume has no owner.</summary>
    public bool IsHeld { get; set; }

    public int FlushCount { get; private set; }

    public int HeldCount { get; private set; }

    public void Submit(BlockRequest request)
    {
        if (IsHeld)
        {
            HeldCount++;
            return;
        }
        if (Answer == IoStatus.Ok) Perform(request);
        request.Complete(Answer);
    }

    public void Close()
    {
    }

    private void Perform(BlockRequest request)
    {
        var (offset, length) = ((long)request.OffsetBytes, (int)Math.Min(request.LengthBytes, int.MaxValue));
        switch (request.Operation)
        {
            case BlockOperation.Flush:
                FlushCount++;
                break;
            case BlockOperation.Read:
                var into = request.Data.Span[..length];
                into[RandomAccess.Read(_file, into, offset)..].Clear();
                break;
            case BlockOperation.Write:
                RandomAccess.Write(_file, request.Data.Span[..length], offset);
                break;
            case BlockOperation.Status:
                request.Extents!.Clear();
                request.Extents.Add(StoredAt(request));
                break;
            default:
                for (ulong at = 0; at < request.LengthBytes; at += (ulong)_zeroes.Length)
                    RandomAccess.Write(_file, _zeroes.AsSpan(0, (int)Math.Min((ulong)_zeroes.Length, request.LengthBytes - at)), offset + (long)at);
                break;
        }
    }

    /// <summary>The first stretch of the range, all of it stored or none.</summary>
    private AllocationExtent StoredAt(BlockRequest request)
    {
        var (from, end) = ((long)request.OffsetBytes, (long)(request.OffsetBytes + request.LengthBytes));
        var data = Native.Seek(_file, from, Native.SeekData, out _);
        if (data < 0 || data >= end) return new AllocationExtent(request.OffsetBytes, request.LengthBytes, false);
        if (data > from) return new AllocationExtent(request.OffsetBytes, (ulong)(data - from), false);
        var hole = Native.Seek(_file, from, Native.SeekHole, out _);
        return new AllocationExtent(request.OffsetBytes, (ulong)(Math.Min(hole, end) - from), true);
    }
}
