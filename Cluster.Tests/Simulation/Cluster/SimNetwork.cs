using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>
/// Connections between nodes: frames in order or not at all, random delays, cuts, partitions that only silence tells, one-way stalls,
/// and the heartbeats that
/// renew leases.
/// </summary>
internal sealed class SimNetwork(SimWorld world)
{
    private ulong _generation;
    private int _size;
    private bool[,] _cut = new bool[0, 0];
    private long[,] _stalledUntilUs = new long[0, 0];

    private readonly int[] _byKind = new int[256];

    public int Delivered { get; private set; }

    /// <summary>Frames of the kind that arrived between nodes.</summary>
    public int CountOf(FrameKind kind) => _byKind[(int)kind];

    public void Start()
    {
        _size = world.Nodes.Count;
        (_cut, _stalledUntilUs) = (new bool[_size, _size], new long[_size, _size]);
        foreach (var left in world.Nodes)
        {
            foreach (var right in world.Nodes.Where(right => right.Index > left.Index)) Connect(left, right);
        }
        world.Every(150_000, ConnectAll);
    }

    /// <summary>Nothing passes from one to the other, and nobody is told.</summary>
    public void Cut(SimNode from, SimNode to) => _cut[from.Index, to.Index] = true;

    public void CutBoth(SimNode left, SimNode right)
    {
        Cut(left, right);
        Cut(right, left);
    }

    public void Heal() => Array.Clear(_cut);

    public bool Passes(SimNode from, SimNode to) => !_cut[from.Index, to.Index];

    /// <summary>Frames from one to the other arrive only after that long.</summary>
    public void Stall(SimNode from, SimNode to, long forUs) => _stalledUntilUs[from.Index, to.Index] = world.NowUs + forUs;

    /// <summary>The connection is reset; what was on its way is lost, or just makes it.</summary>
    public void Reset(SimNode left, SimNode right)
    {
        if (left.Links[right.Index] is { IsUp: true } link) Close(link);
    }

    /// <summary>Nothing passes between the two any more; the first hears of it at once, the other only by silence.</summary>
    public void Sever(SimNode told, SimNode other)
    {
        CutBoth(told, other);
        if (told.Links[other.Index] is { IsUp: true } link) Close(link);
    }

    /// <summary>More than half of the nodes with replicas can be heard: the journal answers.</summary>
    public bool ReachesJournal(SimNode node)
    {
        var heard = world.Replicas.Count(other => other == node || (Passes(node, other) && Passes(other, node)));
        return heard > world.Profile.Replicas / 2;
    }

    public void Transmit(SimLink from, FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (!Passes(from.Node, from.PeerNode)) from.IsBroken = true;
        if (from.IsBroken) return;
        IoBuffer? copy = null;
        if (!body.IsEmpty)
        {
            copy = BufferPool.Shared.Rent(body.Length);
            body.CopyTo(copy.Span);
        }
        var random = world.Random;
        var delay = random.Percent(2) ? random.Between(5_000, 60_000) : random.Between(40, 900);
        var arrival = Math.Max(world.NowUs + delay, Math.Max(from.LastArrivalUs, _stalledUntilUs[from.Node.Index, from.PeerNode.Index]));
        from.LastArrivalUs = arrival;
        var bytes = FrameHeader.SizeBytes + body.Length;
        from.QueuedBytes += bytes;
        var isSmall = body.Length <= Limits.SmallBodyBytesMax && !FrameKinds.CarriesRecord(header.Kind);
        from.PeerNode.Post(arrival - world.NowUs, () =>
        {
            from.QueuedBytes -= bytes;
            Arrive(from.Other, in header, copy, isSmall);
        }, copy);
    }

    public void Heartbeat(SimNode node)
    {
        foreach (var link in node.Links)
        {
            if (link is not { IsUp: true }) continue;
            if (node.NowMs - link.LastHeardMs > Limits.MeshSilenceMs) Close(link);
            else link.Send(FrameHeader.Of(FrameKind.Ping, default, argument: (ulong)node.NowMs), default(ReadOnlySpan<byte>));
        }
    }

    public void OnNodeDied(SimNode node)
    {
        foreach (var link in node.Links)
        {
            if (link is not { IsUp: true }) continue;
            link.IsUp = false;
            TellOther(link);
        }
        Array.Clear(node.Links);
    }

    private void Arrive(SimLink at, in FrameHeader header, IoBuffer? body, bool isSmall)
    {
        if (!at.IsUp || at.Incarnation != at.Node.Incarnation) return;
        Delivered++;
        _byKind[(int)header.Kind]++;
        world.Trace((ulong)header.Kind | (header.RequestId << 8) | (header.Epoch << 32) | ((ulong)header.Status << 48) | ((ulong)at.Node.Index << 56));
        at.LastHeardMs = at.Node.NowMs;
        switch (header.Kind)
        {
            case FrameKind.Ping:
                at.Node.Grant(at.PeerNode.Index);
                at.Send(FrameHeader.Of(FrameKind.Pong, default, argument: header.Argument), default(ReadOnlySpan<byte>));
                break;
            case FrameKind.Pong:
                at.LeaseUntilMs = (long)header.Argument + Limits.LeaseMs - (Limits.LeaseMs * Limits.ClockDriftPercent / 100);
                break;
            default:
                at.Node.Dispatch(at, in header, body is null ? default : body.Span, isSmall ? null : body);
                break;
        }
    }

    private void Close(SimLink link)
    {
        if (!link.IsUp) return;
        link.IsUp = false;
        link.Node.OnLinkDown(link);
        TellOther(link);
    }

    /// <summary>The other end hears of it at once, or after what was on its way, or, behind a partition, by silence only.</summary>
    private void TellOther(SimLink link)
    {
        if (!Passes(link.Node, link.PeerNode)) return;
        var other = link.Other;
        var delay = world.Random.Percent(50) ? world.Random.Between(50, 3_000) : Math.Max(0, link.LastArrivalUs - world.NowUs) + 1;
        if (other.Incarnation != other.Node.Incarnation) return;
        other.Node.Post(delay, () =>
        {
            if (!other.IsUp) return;
            other.IsUp = false;
            other.Node.OnLinkDown(other);
        });
    }

    private void ConnectAll()
    {
        foreach (var left in world.Nodes)
        {
            foreach (var right in world.Nodes)
            {
                if (right.Index <= left.Index || !left.IsWorking || !right.IsWorking || !Passes(left, right) || !Passes(right, left)) continue;
                if (left.Links[right.Index] is { IsUp: true } && right.Links[left.Index] is { IsUp: true }) continue;
                if (world.Random.Percent(60)) Connect(left, right);
            }
        }
    }

    private void Connect(SimNode left, SimNode right)
    {
        var generation = ++_generation;
        var one = new SimLink(this, left, right, generation);
        var two = new SimLink(this, right, left, generation);
        (one.Other, two.Other) = (two, one);
        Adopt(one);
        Adopt(two);
    }

    private void Adopt(SimLink link)
    {
        var delayUs = world.Random.Between(10, 500);
        // What the other end sends arrives only after this one knows of the connection.
        link.Other.LastArrivalUs = world.NowUs + delayUs;
        link.Node.Post(delayUs, () => Announce(link));
    }

    private static void Announce(SimLink link)
    {
        if (link.Node.Links[link.PeerNode.Index] is { } old)
        {
            // Only a newer connection takes the place of one that has not been seen to end.
            if (old.Generation > link.Generation) return;
            if (old.IsUp)
            {
                old.IsUp = false;
                link.Node.OnLinkDown(old);
            }
        }
        link.LastHeardMs = link.Node.NowMs;
        link.Node.Links[link.PeerNode.Index] = link;
        if (link.IsUp) link.Node.OnLinkUp(link);
    }
}
