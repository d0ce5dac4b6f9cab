using Cluster.Node.Journal;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Hosting.Membership;

/// <summary>
/// This node's own record in the directory of nodes, without which the others refuse it: written at the start, and anew when it is found gone (another node took the name while this one
/// was silent, and is gone again). Never over the record of another node that is up. <see cref="KeepAsync"/>: one caller at a time.
/// </summary>
/// <param name="nameOfDirectory">As the control group has it for the identity in the data directory, or null.</param>
public sealed partial class OwnRecord(
    NodeRecord record, NodeDirectory nodes, Func<NodeRecord, CancellationToken, Task<bool>> isUp, Func<JournalAddress, CancellationToken, Task<bool>> isTwinAt, string? nameOfDirectory,
    TimeProvider time, ILogger<OwnRecord> logger)
{
    /// <summary>Pauses between two tries double from here.</summary>
    public static readonly TimeSpan PauseMin = TimeSpan.FromSeconds(2);

    public static readonly TimeSpan PauseMax = TimeSpan.FromSeconds(60);

    private TimeSpan _pause = PauseMin;
    private long? _triedAt;
    private string _refusal = "";
    private long _writtenAnew;

    /// <summary>Times that the record was found gone, and was written anew.</summary>
    public long WrittenAnew => Interlocked.Read(ref _writtenAnew);

    /// <summary>Waits for a leader as long as it takes. The answer is empty, or one sentence that says why the node must not have its name.</summary>
    public Task<string> RegisterAsync(CancellationToken cancellation) => nodes.RegisterNodeAsync(record, isUp, isTwinAt, nameOfDirectory, cancellation);

    /// <summary>The directory as it was read just now. True: it has changed since.</summary>
    public async Task<bool> KeepAsync(IReadOnlyList<NodeRecord> all, CancellationToken cancellation)
    {
        if (all.Any(known => known.NodeId == record.NodeId && known.Name == record.Name))
        {
            // Two nodes that take the name from each other do it ever more seldom.
            if (_triedAt is { } last && time.GetElapsedTime(last) > PauseMax) (_pause, _triedAt, _refusal) = (PauseMin, null, "");
            return false;
        }
        if (_triedAt is { } tried && time.GetElapsedTime(tried) < _pause) return false;
        if (_triedAt is not null) _pause = _pause * 2 < PauseMax ? _pause * 2 : PauseMax;
        _triedAt = time.GetTimestamp();
        var refusal = await RegisterAsync(cancellation);
        if (refusal.Length == 0)
        {
            Interlocked.Increment(ref _writtenAnew);
            LogWritten(record.Name, record.NodeId);
        }
        else if (refusal != _refusal) LogRefused(record.Name, record.NodeId, refusal);
        _refusal = refusal;
        return refusal.Length == 0;
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "node {Node} ({NodeId}) was gone from the directory of nodes, without which the others refuse it: it is registered again")]
    private partial void LogWritten(string node, Guid nodeId);

    [LoggerMessage(Level = LogLevel.Error, Message = "node {Node} ({NodeId}) is gone from the directory of nodes, without which the others refuse it, and can't be registered again yet: {Reason}")]
    private partial void LogRefused(string node, Guid nodeId, string reason);
}
