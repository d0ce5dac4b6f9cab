using System.Collections.Immutable;
using Akka.Actor;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Hosting.Volumes;
using Cluster.Node.Ingress;
using Cluster.Node.Owner;
using Cluster.Node.Store;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Hosting.WarmUp;

/// <summary>
/// Code is compiled when it first runs: the first volume that a node has an owner or a copy of took hundreds of milliseconds for that. Here the machinery of one runs before anybody
/// asks: owner's machine, a copy and its store, over a disk in memory, on a loop of its own on the caller's thread, with a journal that takes everything. It shares nothing with the
/// node's volumes but the pool of buffers: it is in no catalogue, no journal, no metric and no log.
/// </summary>
internal static class VolumeWarmUp
{
    /// <summary>A creation takes 40 or so.</summary>
    private const int TurnsMax = 2000;

    /// <summary>The id is none that placement gives out: those rise from 1.</summary>
    public static readonly VolumeId Volume = new(ulong.MaxValue);

    private static readonly NodeId Node = new(new Guid(1, 0, 0, new byte[8]));

    /// <summary>Creates, attaches, looks at, detaches and deletes a volume. The events that it journaled; throws if one of these did not come to its end.</summary>
    public static ImmutableArray<VolumeEvent> Run(CancellationToken cancellation)
    {
        var loop = new WarmUpLoop();
        using var loggers = LoggerFactory.Create(logging => logging.AddProvider(new WarmUpLogs()));
        var options = new StoreOptions { SegmentBytes = StoreOptions.SegmentBytesMin, CapacityBytes = (long)StoreOptions.SegmentBytesMin * 16, MapCacheBytes = 1 << 20 };
        var opened = BlockStore.Open(options, loop, new OverlayDisk(new WarmUpDisk()), new LoopDiskScheduler(loop), loggers.CreateLogger("Myrmidon.Store"));
        var store = Expect(opened.Store, opened.Reason);
        var runtime = new VolumeRuntime(loop, store, new NodeIdentity(Node, "", Guid.Empty, Guid.Empty), loggers);
        var delivery = new LocalDelivery();
        loop.AddPhase(TurnPhase.Deliver, delivery);
        runtime.Start(new NoMesh(), LocalLink.Pair(delivery, Node, runtime, runtime).Left);
        var copy = new ReplicaPlacement(new ReplicaId(1), Node, "", Guid.NewGuid());
        var spec = new VolumeSpec(Volume, VolumeSpec.DefaultNamespace, "warm-up", 1UL << 30, 1, FailureModeKind.Soft, 0, 0, true, ImmutableSortedDictionary<string, string>.Empty);
        var journal = new EventsOnly(loop, runtime, new VolumeCreated(Volume, spec, [copy]));
        Until(journal, () => journal.Serves, "serve", cancellation);
        journal.Journal(new AttachmentChanged(Volume, new Attachment(1, AttachmentMode.Exclusive, Node, "")));
        VolumeViewed(journal, cancellation);
        journal.Journal(new AttachmentChanged(Volume, new Attachment(2, AttachmentMode.Shared, default, "")));
        journal.Journal(new VolumeDeleted(Volume));
        Until(journal, () => journal.Ended, "end", cancellation);
        // Its buffers are the pool's, which the node counts.
        var closed = false;
        store.Stop(() => closed = true);
        Until(journal, () => closed, "close its store", cancellation);
        return [.. journal.Events];
    }

    private static void VolumeViewed(EventsOnly journal, CancellationToken cancellation)
    {
        var seen = false;
        journal.Owner.View(_ => seen = true);
        Until(journal, () => seen, "tell of itself", cancellation);
    }

    private static void Until(EventsOnly journal, Func<bool> reached, string what, CancellationToken cancellation) =>
        Invariant.That(journal.Loop.RunUntil(reached, TurnsMax, cancellation), $"a volume in memory did not {what}");

    private static T Expect<T>(T? value, string why)
        where T : class => value ?? throw new InvalidOperationException($"A store in memory does not open: {why}");

    private sealed class NoMesh : IMeshLinks
    {
        public IFrameLink? LinkTo(NodeId node) => null;

        public long LeaseUntilMs(IFrameLink link) => 0;

        public long GrantedUntilMs(NodeId peer) => 0;

        public void RetryNow(NodeId node)
        {
        }
    }

    /// <summary>The volume's actor, as far as its machine sees it: every event is written, read again, and folded.</summary>
    private sealed class EventsOnly : MinimalActorRef
    {
        private VolumeState _state = VolumeState.Empty;

        public EventsOnly(WarmUpLoop loop, VolumeRuntime runtime, VolumeCreated created)
        {
            Loop = loop;
            Fold(created);
            Owner = runtime.Start(_state, this, TimeSpan.Zero);
        }

        public WarmUpLoop Loop { get; }

        public IOwnerHandle Owner { get; }

        public List<VolumeEvent> Events { get; } = [];

        public bool Serves { get; private set; }

        public bool Ended { get; private set; }

        public override ActorPath Path { get; } = new RootActorPath(Address.AllSystems) / "warm-up";

        public override IActorRefProvider Provider => throw new NotSupportedException();

        public void Journal(VolumeEvent e) => Owner.OnJournaled(Fold(e), null);

        protected override void TellInternal(object message, IActorRef sender)
        {
            switch (message)
            {
                case OwnerNotice.JournalThis decision:
                    Journal(decision.Event);
                    break;
                case OwnerNotice.ServingChanged serving:
                    Serves |= serving.Serving;
                    break;
                case OwnerNotice.Stopped or OwnerNotice.Ended:
                    Ended = true;
                    break;
            }
        }

        private VolumeEvent Fold(VolumeEvent e)
        {
            var read = (VolumeEvent)EventCodec.Decode(EventCodec.ManifestOf(e), EventCodec.Encode(e));
            Events.Add(read);
            _state = _state.Apply(read);
            return read;
        }
    }
}
