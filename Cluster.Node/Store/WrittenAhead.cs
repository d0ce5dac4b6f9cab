namespace Cluster.Node.Store;

/// <summary>
/// Zeroes behind the end of a log whose groups are small. In a file that is only reserved (fallocate) each fdatasync of a group that lies where nothing was written yet makes the file system note that it is now, in
/// a transaction of its own: two flushes of the device and three writes in place of one and two (ext4, XFS). Where zeroes were written and synced before, a sync is of the data alone; of the zeroes, one sync in
/// <see cref="AheadBytes"/> / group pays. A log that is written in large pieces is not slowed by them: it writes none.
/// <para>What a crash leaves behind the end reads as zeroes either way, so nothing that reads the log can tell. Any thread.</para>
/// </summary>
/// <param name="lengthBytes">Of the file, which had no byte when this was made.</param>
/// <param name="write">One gather write, which may be short.</param>
internal sealed unsafe class WrittenAhead(long lengthBytes, WrittenAhead.WriteCall write)
{
    public delegate DiskResult WriteCall(long offsetBytes, ReadOnlySpan<IoVector> vectors);

    internal const int AheadBytes = 256 << 10;

    /// <summary>Of a group: twice the zeroes for each byte would cost more than the transaction.</summary>
    internal const int GroupBytesMax = 64 << 10;

    private static readonly byte[] Zeroes = GC.AllocateArray<byte>(AheadBytes, pinned: true);

    private readonly Lock _lock = new();

    /// <summary>Nothing was ever written from there on.</summary>
    private long _end;
    private long _sinceSync;
    private bool _isSmall;

    public DiskResult Write(long offsetBytes, ReadOnlySpan<IoVector> vectors)
    {
        lock (_lock)
        {
            var result = write(offsetBytes, vectors);
            // What failed may have written any part of it.
            if (!result.IsOk) _end = lengthBytes;
            var end = offsetBytes + result.Count;
            _sinceSync += result.Count;
            if (!result.IsOk || end <= _end) return result;
            _end = end;
            if (_isSmall && _sinceSync <= GroupBytesMax) Extend();
            return result;
        }
    }

    /// <summary>An fdatasync begins.</summary>
    public void OnSync()
    {
        lock (_lock) (_isSmall, _sinceSync) = (_sinceSync is > 0 and <= GroupBytesMax, 0);
    }

    /// <summary>Under the lock: a write behind the end that came in between would be undone.</summary>
    private void Extend()
    {
        var bytes = (int)Math.Min(AheadBytes, lengthBytes - _end);
        if (bytes <= 0) return;
        fixed (byte* start = Zeroes)
        {
            var vector = new IoVector(start, bytes);
            // A hint: where it fails the data goes where it would have gone, and says itself what is wrong with the disk.
            var result = write(_end, new ReadOnlySpan<IoVector>(in vector));
            _end = result.IsOk ? _end + result.Count : lengthBytes;
        }
    }
}
