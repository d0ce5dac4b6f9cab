using Akka.Actor;
using Akka.Cluster;
using Akka.Cluster.SBR;
using Akka.Event;

namespace Cluster.Node.Hosting.Membership;

/// <summary>
/// Akka's split-brain resolver, kept from a wall clock that is set: named in hocon/akka.conf. See <see cref="SteadyResolver"/>.
/// </summary>
/// <remarks>Made by Akka.Cluster, which looks for a constructor of these two.</remarks>
public sealed class SteadyDowningProvider(ActorSystem system, Akka.Cluster.Cluster cluster) : IDowningProvider
{
    private readonly SplitBrainResolverProvider _resolver = new(system, cluster);

    public TimeSpan DownRemovalMargin => _resolver.DownRemovalMargin;

    public Props DowningActorProps => Props.Create(() => new SteadyResolver(_resolver.DowningActorProps, TimeProvider.System, null));
}

/// <summary>
/// Runs the resolver, which writes down by the wall clock when it may decide (stable-after): set back by a day, a silent node, and the volumes it owns, would be waited for until tomorrow.
/// A clock that was set ends that resolver, and a new one waits its stable-after from then on. Who is up and who is silent each new one learns from the cluster itself.
/// </summary>
/// <remarks>What else of Akka goes by the wall clock (the pauses of links between nodes) is left behind with the process that is taken out.</remarks>
internal sealed class SteadyResolver : ReceiveActor, IWithTimers
{
    /// <summary>Between two looks. The resolver itself looks each second, so that one that is set forward seldom gets to decide too early.</summary>
    public static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(250);

    /// <summary>By how much the wall clock may have left the monotonic one since the resolver began: as much as its waiting may be wrong.</summary>
    public static readonly TimeSpan Allowed = TimeSpan.FromSeconds(1);

    private readonly ILoggingAdapter _log = Context.GetLogger();
    private readonly Props _resolver;
    private readonly TimeProvider _time;
    private readonly Action? _onBegin;
    private long _began;
    private DateTimeOffset _beganAt;

    /// <param name="onBegin">Called whenever a resolver begins, before its first message.</param>
    public SteadyResolver(Props resolver, TimeProvider time, Action? onBegin)
    {
        (_resolver, _time, _onBegin) = (resolver, time, onBegin);
        Receive<Look>(_ => OnLook());
        Receive<Terminated>(_ => Begin());
    }

    public ITimerScheduler Timers { get; set; } = null!;

    protected override void PreStart()
    {
        Begin();
        Timers.StartPeriodicTimer(Look.Instance, Look.Instance, Pause);
    }

    private void Begin()
    {
        (_began, _beganAt) = (_time.GetTimestamp(), _time.GetUtcNow());
        _onBegin?.Invoke();
        Context.Watch(Context.ActorOf(_resolver.WithDispatcher(Context.Props.Dispatcher)));
    }

    private void OnLook()
    {
        var set = _time.GetUtcNow() - _beganAt - _time.GetElapsedTime(_began);
        if (set.Duration() <= Allowed) return;
        foreach (var resolver in Context.GetChildren()) Context.Stop(resolver);
        // Until the next one begins there is nothing to end.
        (_began, _beganAt) = (_time.GetTimestamp(), _time.GetUtcNow());
        _log.Warning("The clock of this host was set {0} by {1} s: silent nodes are waited for anew before they are taken out", set > TimeSpan.Zero ? "forward" : "back", (long)set.Duration().TotalSeconds);
    }

    private sealed class Look : INotInfluenceReceiveTimeout
    {
        public static readonly Look Instance = new();
    }
}
