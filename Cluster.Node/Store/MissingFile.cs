using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>The file of a segment on a disk that is not there. Every read fails, so that its blocks are mended from other copies. Nothing is ever written to it.</summary>
internal sealed class MissingFile(string name) : IDiskFile
{
    public long LengthBytes => 0;

    public DiskResult Write(long offsetBytes, ReadOnlySpan<IoVector> vectors) => Missing;

    public DiskResult Read(long offsetBytes, Span<byte> to) => Missing;

    public DiskResult TryReadCached(long offsetBytes, Span<byte> to) => new(IoStatus.Busy, 0, null);

    /// <summary>Nothing was written, so nothing is left to sync.</summary>
    public DiskResult Sync() => DiskResult.Done();

    public DiskResult Preallocate(long lengthBytes) => Missing;

    public DiskResult Keep(long lengthBytes) => Missing;

    public void Dispose()
    {
    }

    private DiskResult Missing => DiskResult.Failed(IoStatus.DeviceError, $"{name} is on a disk that is missing");
}
