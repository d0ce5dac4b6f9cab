using System.Runtime.CompilerServices;
using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>
/// A disk as it would be after what is written to it; the disk below stays as it is. For those who look at a store the way that an open does,
/// and must leave it alone. What differs from below is kept in memory. One thread.
/// </summary>
internal sealed class OverlayDisk(IDisk below) : IDisk
{
    /// <summary>Bytes kept of all files together; a write beyond is NoSpace.</summary>
    private const long KeptBytesMax = 512L << 20;

    /// <summary>Null: deleted here.</summary>
    private readonly Dictionary<string, OverlayFile?> _files = new(StringComparer.Ordinal);
    private long _keptBytes;

    public string Description => below.Description;

    public long FreeBytes => below.FreeBytes;

    public ulong FileSystem => below.FileSystem;

    public DiskResult TryLock() => below.TryLock();

    public DiskResult Open(string name, bool create, out IDiskFile? file)
    {
        file = null;
        if (!_files.TryGetValue(name, out var known))
        {
            var result = below.Open(name, create: false, out var found);
            if (result.IsOk) known = _files[name] = new OverlayFile(this, name, found);
            else if (result.Status != IoStatus.Missing) return result;
        }
        if (known is null && !create) return DiskResult.Failed(IoStatus.Missing, $"{name} is not there");
        file = known ?? (_files[name] = new OverlayFile(this, name, null));
        return DiskResult.Done();
    }

    public DiskResult List(List<string> names)
    {
        var result = below.List(names);
        if (!result.IsOk) return result;
        foreach (var (name, file) in _files)
        {
            if (file is null) names.Remove(name);
            else if (!names.Contains(name)) names.Add(name);
        }
        return result;
    }

    public DiskResult Delete(string name)
    {
        if (_files.TryGetValue(name, out var known)) known?.Release();
        _files[name] = null;
        return DiskResult.Done();
    }

    public DiskResult Rename(string from, string to)
    {
        var result = Open(from, create: false, out var file);
        if (!result.IsOk) return result;
        if (_files.GetValueOrDefault(to) is { } replaced) replaced.Release();
        (_files[to], _files[from]) = ((OverlayFile)file!, null);
        return result;
    }

    public DiskResult SyncDirectory() => DiskResult.Done();

    public void Dispose()
    {
        foreach (var file in _files.Values) file?.Release();
        _files.Clear();
        below.Dispose();
    }

    private sealed class OverlayFile(OverlayDisk disk, string name, IDiskFile? below) : IDiskFile
    {
        private const int PageBytes = 4096;

        private readonly Dictionary<long, byte[]> _pages = [];

        public long LengthBytes { get; private set; } = below?.LengthBytes ?? 0;

        public unsafe DiskResult Write(long offsetBytes, ReadOnlySpan<IoVector> vectors)
        {
            var total = 0;
            foreach (ref readonly var vector in vectors)
            {
                var result = Put(offsetBytes + total, new ReadOnlySpan<byte>(vector.Start, (int)vector.LengthBytes));
                if (!result.IsOk) return result;
                total += (int)vector.LengthBytes;
            }
            return DiskResult.Done(total);
        }

        public DiskResult Read(long offsetBytes, Span<byte> to)
        {
            to = to[..(int)Math.Clamp(LengthBytes - offsetBytes, 0, to.Length)];
            to.Clear();
            var result = below?.Read(offsetBytes, to) ?? DiskResult.Done();
            if (!result.IsOk) return result;
            for (var at = 0; at < to.Length && _pages.Count > 0;)
            {
                var (number, within) = Math.DivRem(offsetBytes + at, PageBytes);
                var length = Math.Min(to.Length - at, PageBytes - (int)within);
                if (_pages.TryGetValue(number, out var page)) page.AsSpan((int)within, length).CopyTo(to[at..]);
                at += length;
            }
            return DiskResult.Done(to.Length);
        }

        public DiskResult TryReadCached(long offsetBytes, Span<byte> to) => Read(offsetBytes, to);

        public DiskResult Sync() => DiskResult.Done();

        public DiskResult Preallocate(long lengthBytes)
        {
            LengthBytes = Math.Max(LengthBytes, lengthBytes);
            return DiskResult.Done();
        }

        public DiskResult Keep(long lengthBytes) => DiskResult.Done();

        /// <summary>The file stays: it may be opened again.</summary>
        public void Dispose()
        {
        }

        public void Release()
        {
            disk._keptBytes -= (long)_pages.Count * PageBytes;
            _pages.Clear();
            below?.Dispose();
        }

        [SkipLocalsInit]
        private DiskResult Put(long offsetBytes, ReadOnlySpan<byte> bytes)
        {
            Span<byte> old = stackalloc byte[PageBytes];
            while (bytes.Length > 0)
            {
                var (number, within) = Math.DivRem(offsetBytes, PageBytes);
                var part = bytes[..Math.Min(bytes.Length, PageBytes - (int)within)];
                LengthBytes = Math.Max(LengthBytes, offsetBytes + part.Length);
                var was = old[..part.Length];
                var result = Read(offsetBytes, was);
                if (!result.IsOk) return result;
                if (!part.SequenceEqual(was) && !TryKeep(number, (int)within, part))
                    return DiskResult.Failed(IoStatus.NoSpace, $"more than {KeptBytesMax >> 20} MiB would be written, at {name}: that is not kept in memory");
                offsetBytes += part.Length;
                bytes = bytes[part.Length..];
            }
            return DiskResult.Done();
        }

        private bool TryKeep(long number, int within, ReadOnlySpan<byte> part)
        {
            if (!_pages.TryGetValue(number, out var page))
            {
                if (disk._keptBytes + PageBytes > KeptBytesMax) return false;
                page = new byte[PageBytes];
                if (below is not null && !below.Read(number * PageBytes, page).IsOk) return false;
                disk._keptBytes += PageBytes;
                _pages.Add(number, page);
            }
            part.CopyTo(page.AsSpan(within));
            return true;
        }
    }
}
