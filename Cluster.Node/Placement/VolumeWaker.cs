using Akka.Actor;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Node.Placement;

/// <summary>
/// Makes sure that every volume's actor runs, although sharding does not remember entities: it asks each where it serves, at a bounded
/// rate, until it answers.
/// </summary>
internal sealed class VolumeWaker : ReceiveActor, IWithTimers
{
    private const int PerTick = 20;
    private static readonly TimeSpan TickEvery = TimeSpan.FromMilliseconds(200);
    private const int TicksToAnswer = 25;

    private readonly IActorRef _region;
    private readonly Queue<VolumeId> _queue = new();
    private readonly Dictionary<VolumeId, int> _asked = [];

    public VolumeWaker(IActorRef region)
    {
        _region = region;
        Receive<Wake>(OnWake);
        Receive<Tick>(_ => OnTick());
        Receive<VolumeProtocol.Located>(located => _asked.Remove(located.Volume));
        // It runs, though it can't serve yet.
        Receive<VolumeProtocol.Refused>(refused => _asked.Remove(refused.Volume));
    }

    public ITimerScheduler Timers { get; set; } = null!;

    /// <summary>Replaces what is still to be woken.</summary>
    public sealed record Wake(IReadOnlyCollection<VolumeId> Volumes) : INoSerializationVerificationNeeded;

    private void OnWake(Wake wake)
    {
        _queue.Clear();
        _asked.Clear();
        foreach (var volume in wake.Volumes) _queue.Enqueue(volume);
        if (_queue.Count > 0) Timers.StartPeriodicTimer(nameof(Tick), Tick.Instance, TickEvery);
    }

    private void OnTick()
    {
        foreach (var (volume, ticks) in _asked.ToArray())
        {
            _asked[volume] = ticks + 1;
            if (ticks < TicksToAnswer) continue;
            _asked.Remove(volume);
            _queue.Enqueue(volume);
        }
        for (var count = 0; count < PerTick && _queue.TryDequeue(out var volume); count++)
        {
            _asked[volume] = 0;
            _region.Tell(new VolumeProtocol.Locate(volume));
        }
        if (_asked.Count == 0) Timers.Cancel(nameof(Tick));
    }

    private sealed class Tick
    {
        public static readonly Tick Instance = new();
    }
}
