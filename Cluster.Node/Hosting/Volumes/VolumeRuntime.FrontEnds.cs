using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Messages.Wire;
using Cluster.Node.Owner;

namespace Cluster.Node.Hosting.Volumes;

// Front ends of this process: each connection to an owner has a route number, which the owner's answers carry back.
public sealed partial class VolumeRuntime
{
    /// <summary>A front end that looks for an owner is answered after this long at the latest.</summary>
    private const int SeekMs = 2000;

    /// <summary>Between two questions of a front end that nobody has answered: the volume may need to be woken.</summary>
    private const int SeekAgainMs = 500;

    private readonly Dictionary<ulong, FrontEndLink> _frontEnds = [];
    private readonly List<Seeker> _seekers = [];
    private ulong _lastRoute;

    /// <summary>A front end that waits for its volume to be served.</summary>
    private sealed class Seeker(VolumeId volume, IOwnerEvents events, Action wake, long untilMs)
    {
        public VolumeId Volume => volume;

        public IOwnerEvents Events => events;

        public Action Wake => wake;

        public long UntilMs => untilMs;

        public long WakeAtMs { get; set; }
    }

    /// <summary>
    /// Links the front end to the volume's owner as soon as a node serves it; answers within <see cref="SeekMs"/>. <paramref name="wake"/> asks
    /// those who look after volumes that nobody serves. Loop thread only.
    /// </summary>
    internal void SeekOwner(VolumeId volume, IOwnerEvents events, Action wake)
    {
        if (TryLinkFrontEnd(volume, events)) return;
        var now = _loop.FreshNowMs();
        _seekers.Add(new Seeker(volume, events, wake, now + SeekMs) { WakeAtMs = now + SeekAgainMs });
        wake();
    }

    /// <summary>The volume is gone for good: who waits for it is told.</summary>
    internal void OnDeleted(VolumeId volume, string reason)
    {
        foreach (var seeker in TakeSeekers(seeker => seeker.Volume == volume)) seeker.Events.OnNotLinked(IoStatus.Deleted, reason);
    }

    private bool TryLinkFrontEnd(VolumeId volume, IOwnerEvents events)
    {
        if (Owners.Of(volume) is not { } owner || LinkTo(owner.Node) is not { } link) return false;
        var route = ++_lastRoute;
        var own = new FrontEndLink(this, link, volume, route, events);
        _frontEnds.Add(route, own);
        events.OnLinked(own);
        return true;
    }

    /// <summary>An owner begins: those who wait are linked, and those who still hold on to an older one are told to let go of it.</summary>
    private void OnOwnerServes(VolumeId volume, NodeId node, ulong epoch)
    {
        if (!Owners.Serves(volume, node, epoch)) return;
        _claims.OnServes(volume, epoch);
        foreach (var old in _frontEnds.Values.Where(own => own.Volume == volume && own.Peer != node).ToArray())
        {
            _frontEnds.Remove(old.Route);
            old.Events.OnLinkLost(old, $"node {node} serves it in epoch {epoch}");
        }
        foreach (var seeker in TakeSeekers(seeker => seeker.Volume == volume))
        {
            if (!TryLinkFrontEnd(volume, seeker.Events)) _seekers.Add(seeker);
        }
    }

    private void TickSeekers()
    {
        if (_seekers.Count == 0) return;
        var now = _loop.FreshNowMs();
        foreach (var late in TakeSeekers(seeker => seeker.UntilMs <= now))
            late.Events.OnNotLinked(IoStatus.Offline, $"no node has served it for {SeekMs} ms");
        foreach (var seeker in _seekers.ToArray())
        {
            if (seeker.WakeAtMs > now) continue;
            seeker.WakeAtMs = now + SeekAgainMs;
            seeker.Wake();
        }
    }

    private Seeker[] TakeSeekers(Func<Seeker, bool> which)
    {
        if (_seekers.Count == 0) return [];
        var taken = _seekers.Where(which).ToArray();
        if (taken.Length > 0) _seekers.RemoveAll(seeker => taken.Contains(seeker));
        return taken;
    }

    private void ToFrontEnd(in FrameHeader header, ReadOnlySpan<byte> body, IoBuffer? buffer)
    {
        // An answer for a route that was closed meanwhile is dropped: the request was sent again over another one.
        if (_frontEnds.TryGetValue(header.Argument, out var link) && link.Volume == header.Volume)
            link.Events.OnFrame(link, in header, body, buffer);
    }

    private void FrontEndsLost(IFrameLink link)
    {
        foreach (var own in _frontEnds.Values.Where(own => own.Link == link).ToArray())
        {
            _frontEnds.Remove(own.Route);
            own.Events.OnLinkLost(own, "the mesh connection to the owner's node is down");
        }
    }

    /// <summary>Tells every node that this one serves the volume, or does not any more.</summary>
    internal void Announce(VolumeId volume, ulong epoch, bool serves)
    {
        if (!serves) Owners.Ended(volume, Identity.Id, epoch);
        var header = serves ? FrameHeader.Of(FrameKind.OwnerServes, volume, epoch)
            : FrameHeader.Of(FrameKind.OwnerEnded, volume, epoch, argument: (ulong)(_leaving ? OwnerEnding.Released : OwnerEnding.Ended));
        foreach (var link in _links.Values)
        {
            if (link.Peer != Identity.Id) link.Send(header, []);
        }
        if (serves) OnOwnerServes(volume, Identity.Id, epoch);
    }

    /// <summary>What a node that was not linked has missed.</summary>
    private void AnnounceAll(IFrameLink link)
    {
        foreach (var owner in _owners.Values)
        {
            if (owner.Machine.Phase == VolumePhase.Serving) link.Send(FrameHeader.Of(FrameKind.OwnerServes, owner.Volume, owner.Machine.EpochNumber), []);
        }
    }

    /// <summary>A front end's link: the node's own, with the route stamped on every frame. Closed by the front end when it is done with it.</summary>
    private sealed class FrontEndLink(VolumeRuntime runtime, IFrameLink link, VolumeId volume, ulong route, IOwnerEvents events) : IOwnerLink
    {
        public IFrameLink Link => link;

        public VolumeId Volume => volume;

        public ulong Route => route;

        public IOwnerEvents Events => events;

        public NodeId Peer => link.Peer;

        public ulong Generation => link.Generation;

        public bool IsUp => link.IsUp && runtime._frontEnds.ContainsKey(route);

        public long QueuedBytes => link.QueuedBytes;

        public void Send(FrameHeader header, ReadOnlySpan<byte> body)
        {
            header.Argument = route;
            if (IsUp) link.Send(header, body);
        }

        public void Send(FrameHeader header, IoBuffer body)
        {
            header.Argument = route;
            if (IsUp) link.Send(header, body);
        }

        public void Close() => runtime._frontEnds.Remove(route);
    }
}
