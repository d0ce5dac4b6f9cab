using Akka.Actor;
using Akka.Event;

namespace Cluster.Node.Hosting.Control;

/// <summary>Sweeps the snapshot groups of the cluster now and then, on the node that hosts its singletons; should two do so for a moment, no harm is done. One per node.</summary>
public sealed class SnapshotGroupSweeper : ReceiveActor, IWithTimers
{
    public static readonly TimeSpan Every = TimeSpan.FromSeconds(30);

    private readonly ILoggingAdapter _log = Context.GetLogger();
    private readonly Func<bool> _isHost;
    private readonly Func<Task> _sweep;
    private readonly TimeSpan _every;
    private bool _isSweeping;

    /// <param name="isHost">Quick.</param>
    /// <param name="sweep">Any thread; each of its questions has an end.</param>
    public SnapshotGroupSweeper(Func<bool> isHost, Func<Task> sweep, TimeSpan every)
    {
        (_isHost, _sweep, _every) = (isHost, sweep, every);
        Receive<Look>(_ => OnLook());
        Receive<Swept>(_ => _isSweeping = false);
        Receive<Status.Failure>(failure =>
        {
            _isSweeping = false;
            _log.Warning("snapshot groups can't be looked at now, and are in {0} s again: {1}", (int)_every.TotalSeconds, failure.Cause.Message);
        });
    }

    public ITimerScheduler Timers { get; set; } = null!;

    private sealed class Look : INoSerializationVerificationNeeded
    {
        public static readonly Look Instance = new();
    }

    private sealed class Swept : INoSerializationVerificationNeeded
    {
        public static readonly Swept Instance = new();
    }

    protected override void PreStart() => Timers.StartPeriodicTimer(nameof(Look), Look.Instance, _every);

    private void OnLook()
    {
        if (_isSweeping || !_isHost()) return;
        _isSweeping = true;
        _sweep().PipeTo(Self, success: () => Swept.Instance);
    }
}
