using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Messages.Wire;

namespace Cluster.Node.Hosting.Volumes;

// Front ends of this process: each connection to an owner has a route number, which the owner's answers carry back.
public sealed partial class VolumeRuntime
{
    private readonly Dictionary<ulong, FrontEndLink> _frontEnds = [];
    private ulong _lastRoute;

    /// <summary>Gives the front end a link of its own to the volume's owner on that node, or says why there is none. Loop thread only.</summary>
    internal void LinkFrontEnd(VolumeId volume, NodeId owner, string ownerName, IOwnerEvents events)
    {
        if (LinkTo(owner) is not { } link)
        {
            _mesh!.RetryNow(owner);
            events.OnNotLinked(IoStatus.Offline, $"node {ownerName} owns the volume, and there is no mesh connection to it now");
            return;
        }
        var route = ++_lastRoute;
        var own = new FrontEndLink(this, link, volume, route, events);
        _frontEnds.Add(route, own);
        events.OnLinked(own);
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
