using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Owner;

/// <summary>
/// Where an answer to a front end goes: its link, and the number that the front end put into the Argument of its frame. Every answer carries
/// that number back, so that one user of a link never takes an answer meant for another, or for its own predecessor.
/// </summary>
internal readonly record struct ClientRoute(IFrameLink? Link, ulong Number)
{
    public bool IsUp => Link is { IsUp: true };

    public void Send(FrameKind kind, VolumeId volume, ulong epoch, ulong requestId, IoStatus status, ReadOnlySpan<byte> body)
    {
        if (IsUp) Link!.Send(FrameHeader.Of(kind, volume, epoch, requestId, Number, status), body);
    }
}
