using Cluster.Messages.Model;

namespace Cluster.Csi.Attach;

/// <summary>One holder per volume at a time. As many locks as volumes are in use; any thread.</summary>
public sealed class VolumeLocks
{
    private readonly Lock _lock = new();
    private readonly Dictionary<VolumeId, Entry> _entries = [];

    /// <summary>Waits for the volume; to be disposed.</summary>
    public async Task<IDisposable> EnterAsync(VolumeId volume, CancellationToken cancellation)
    {
        var entry = Use(volume);
        try
        {
            await entry.Gate.WaitAsync(cancellation).ConfigureAwait(false);
            return new Holder(this, volume, entry);
        }
        catch
        {
            Leave(volume, entry);
            throw;
        }
    }

    /// <summary>The volume, or null when somebody else has it.</summary>
    public IDisposable? TryEnter(VolumeId volume)
    {
        var entry = Use(volume);
        if (entry.Gate.Wait(0)) return new Holder(this, volume, entry);
        Leave(volume, entry);
        return null;
    }

    private Entry Use(VolumeId volume)
    {
        lock (_lock)
        {
            if (!_entries.TryGetValue(volume, out var entry)) _entries.Add(volume, entry = new Entry());
            entry.Users++;
            return entry;
        }
    }

    private void Leave(VolumeId volume, Entry entry)
    {
        lock (_lock)
        {
            if (--entry.Users > 0) return;
            _entries.Remove(volume);
            entry.Gate.Dispose();
        }
    }

    private sealed class Entry
    {
        public SemaphoreSlim Gate { get; } = new(1, 1);

        public int Users { get; set; }
    }

    private sealed class Holder(VolumeLocks locks, VolumeId volume, Entry entry) : IDisposable
    {
        private bool _left;

        public void Dispose()
        {
            if (_left) return;
            _left = true;
            entry.Gate.Release();
            locks.Leave(volume, entry);
        }
    }
}
