namespace Cluster.Node.Cli.Chaos;

/// <summary>What broke in a run beside the history, and what is worth a number. Thread-safe.</summary>
internal sealed class ChaosTally(Action<string> say)
{
    private const int FailuresKept = 100;

    private readonly Lock _lock = new();
    private readonly List<string> _failures = [];
    private long _failureCount;
    private long _answers;
    private long _flushes;
    private long _reconnects;
    private long _givenUp;
    private long _rebirths;

    public long FailureCount => Interlocked.Read(ref _failureCount);

    /// <summary>Requests that were answered.</summary>
    public long Answers => Interlocked.Read(ref _answers);

    public long Flushes => Interlocked.Read(ref _flushes);

    public long Reconnects => Interlocked.Read(ref _reconnects);

    /// <summary>Connections that a client closed because it did not want to wait longer.</summary>
    public long GivenUp => Interlocked.Read(ref _givenUp);

    /// <summary>Nodes that started anew because the others had taken them out of the cluster.</summary>
    public long Rebirths => Interlocked.Read(ref _rebirths);

    public IReadOnlyList<string> Failures
    {
        get
        {
            lock (_lock) return [.. _failures];
        }
    }

    /// <summary>A promise was broken.</summary>
    public void Fail(string sentence)
    {
        lock (_lock)
        {
            _failureCount++;
            if (_failures.Count >= FailuresKept) return;
            _failures.Add(sentence);
        }
        say($"VIOLATION: {sentence}");
    }

    /// <summary>Something that a reader of the run wants to know.</summary>
    public void Say(string sentence) => say(sentence);

    public void OnAnswer() => Interlocked.Increment(ref _answers);

    public void OnFlush() => Interlocked.Increment(ref _flushes);

    public void OnReconnect() => Interlocked.Increment(ref _reconnects);

    public void OnGivenUp() => Interlocked.Increment(ref _givenUp);

    public void OnRebirth() => Interlocked.Increment(ref _rebirths);
}
