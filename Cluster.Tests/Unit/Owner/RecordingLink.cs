using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Tests.Unit.Owner;

/// <summary>A link that keeps what is sent on it.</summary>
internal sealed class RecordingLink(NodeId peer) : IFrameLink
{
    public NodeId Peer => peer;

    public ulong Generation => 1;

    public bool IsUp { get; set; } = true;

    public long QueuedBytes => 0;

    public ulong CompatFeatures { get; set; }

    public List<(FrameHeader Header, byte[] Body)> Sent { get; } = [];

    public void Send(FrameHeader header, ReadOnlySpan<byte> body) => Sent.Add((header, body.ToArray()));

    public void Send(FrameHeader header, IoBuffer body) => Sent.Add((header, body.Span.ToArray()));

    public IEnumerable<(FrameHeader Header, byte[] Body)> Of(FrameKind kind) => Sent.Where(frame => frame.Header.Kind == kind);

    public FrameHeader LastOf(FrameKind kind) => Of(kind).Last().Header;
}
