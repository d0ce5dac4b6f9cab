namespace Cluster.Csi.Attach;

/// <summary>One holder per key (a volume's id, a name) at a time. As many locks as keys are in use; any thread.</summary>
public sealed class KeyedLocks<TKey>
    where TKey : notnull
{
    private readonly Lock _lock = new();
    private readonly Dictionary<TKey, Entry> _entries = [];

    /// <summary>Waits for the key; to be disposed.</summary>
    public async Task<IDisposable> EnterAsync(TKey key, CancellationToken cancellation)
    {
        var entry = Use(key);
        try
        {
            await entry.Gate.WaitAsync(cancellation).ConfigureAwait(false);
            return new Holder(this, key, entry);
        }
        catch
        {
            Leave(key, entry);
            throw;
        }
    }

    /// <summary>The key, or null when somebody else has it.</summary>
    public IDisposable? TryEnter(TKey key)
    {
        var entry = Use(key);
        if (entry.Gate.Wait(0)) return new Holder(this, key, entry);
        Leave(key, entry);
        return null;
    }

    private Entry Use(TKey key)
    {
        lock (_lock)
        {
            if (!_entries.TryGetValue(key, out var entry)) _entries.Add(key, entry = new Entry());
            entry.Users++;
            return entry;
        }
    }

    private void Leave(TKey key, Entry entry)
    {
        lock (_lock)
        {
            if (--entry.Users > 0) return;
            _entries.Remove(key);
            entry.Gate.Dispose();
        }
    }

    private sealed class Entry
    {
        public SemaphoreSlim Gate { get; } = new(1, 1);

        public int Users { get; set; }
    }

    private sealed class Holder(KeyedLocks<TKey> locks, TKey key, Entry entry) : IDisposable
    {
        private bool _left;

        public void Dispose()
        {
            if (_left) return;
            _left = true;
            entry.Gate.Release();
            locks.Leave(key, entry);
        }
    }
}
