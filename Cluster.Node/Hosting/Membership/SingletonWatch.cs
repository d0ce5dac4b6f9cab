using System.Diagnostics;
using Akka.Actor;
using Akka.Event;

namespace Cluster.Node.Hosting.Membership;

/// <summary>
/// Looks whether the cluster's singletons run where they have to, on the oldest node. A node that was silent may find, when it wakes up, that another one has asked for them,
/// hand them over, and hear no more: if that one died before it took over, Akka's singleton manager here waits for ever for its own node to leave, and no catalogue and no
/// shard coordinator runs anywhere. Then the node leaves, and starts anew. One per node.
/// </summary>
public sealed class SingletonWatch : ReceiveActor, IWithTimers
{
    /// <summary>Looks in a row without an answer; more than a hand-over or a start in place of a dead node takes.</summary>
    public const int MissesMax = 20;

    public static readonly TimeSpan Every = TimeSpan.FromSeconds(1);

    private readonly ILoggingAdapter _log = Context.GetLogger();
    private readonly Func<bool> _isHost;
    private readonly Action _leave;
    private readonly TimeSpan _every;
    private readonly Dictionary<string, int> _misses;
    private long _lookedAt;

    /// <param name="isHost">Whether this node is the one that has to run them. Quick.</param>
    /// <param name="paths">Of the singletons' actors on their node, each without an address.</param>
    /// <param name="leave">Takes this node out of the cluster.</param>
    public SingletonWatch(Func<bool> isHost, IEnumerable<string> paths, Action leave, TimeSpan every)
    {
        (_isHost, _leave, _every) = (isHost, leave, every);
        _misses = paths.ToDictionary(path => path, _ => 0);
        Receive<Look>(_ => OnLook());
        Receive<ActorIdentity>(OnIdentity);
    }

    public ITimerScheduler Timers { get; set; } = null!;

    private sealed class Look : INoSerializationVerificationNeeded
    {
        public static readonly Look Instance = new();
    }

    protected override void PreStart() => Timers.StartPeriodicTimer(nameof(Look), Look.Instance, _every);

    private void OnLook()
    {
        // A process that was stopped gets many at once: they say nothing.
        if (Stopwatch.GetElapsedTime(_lookedAt) < _every / 2) return;
        _lookedAt = Stopwatch.GetTimestamp();
        var isHost = _isHost();
        foreach (var path in _misses.Keys.ToList())
        {
            if (!isHost) _misses[path] = 0;
            else if (++_misses[path] > MissesMax)
            {
                _log.Error("The singleton {0} has not run for {1} s on this node, which is the oldest one and has to run it: the node leaves the cluster and starts anew", path,
                    (int)(MissesMax * _every.TotalSeconds));
                Timers.CancelAll();
                _leave();
                return;
            }
            else Context.ActorSelection(path).Tell(new Identify(path));
        }
    }

    private void OnIdentity(ActorIdentity identity)
    {
        if (identity.Subject is not null && identity.MessageId is string path) _misses[path] = 0;
    }
}
