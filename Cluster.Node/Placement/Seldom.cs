namespace Cluster.Node.Placement;

/// <summary>
/// Whether something that goes on failing is to be logged now: the first time, and then once in a while with how often it came between. Without a journal everybody asks again, each volume
/// for itself, several times a second. Any thread.
/// </summary>
public sealed class Seldom(TimeProvider time)
{
    public static readonly TimeSpan Pause = TimeSpan.FromSeconds(30);

    private readonly Lock _lock = new();
    private long? _saidAt;
    private long _unsaid;

    /// <summary>Null: not now. Else how often it was not now since the last time.</summary>
    public long? MaySay()
    {
        lock (_lock)
        {
            if (_saidAt is { } said && time.GetElapsedTime(said) < Pause)
            {
                _unsaid++;
                return null;
            }
            var unsaid = _unsaid;
            (_saidAt, _unsaid) = (time.GetTimestamp(), 0);
            return unsaid;
        }
    }
}
