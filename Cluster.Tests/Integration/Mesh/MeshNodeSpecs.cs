using System.Net.Sockets;
using System.Text;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Ingress;

namespace Cluster.Tests.Integration.Mesh;

public class MeshNodeSpecs
{
    [Fact(DisplayName = "Two nodes that know each other get one link, whoever starts first")]
    public async Task One_link_per_pair()
    {
        await using var low = new MeshFixture(1);
        await using var high = new MeshFixture(2);
        high.Know(low);
        low.Know(high);
        await low.UntilUp();
        await high.UntilUp();
        Assert.Equal(high.Id, low.Ups[0].Peer);
        Assert.Equal("node-1", high.Ups[0].PeerName);
        Assert.Same(low.Ups[0], await low.On(() => low.Mesh.LinkTo(high.Id)));
        Assert.Single(await high.On(() => high.Mesh.Links.ToArray()));
        await Quiet(low, high);
        Assert.Single(low.Ups);
        Assert.Single(high.Ups);
    }

    [Fact(DisplayName = "The side that does not dial learns of the peer last: its probe makes the other one dial")]
    public async Task Late_directory()
    {
        await using var low = new MeshFixture(1);
        await using var high = new MeshFixture(2);
        low.Know(high);
        await high.Until(node => node.Lines.Any(line => line.Contains("does not find it in the directory")));
        high.Know(low);
        await low.UntilUp();
        await high.UntilUp();
        Assert.Contains(low.Lines, line => line.Contains(low.Id.ToString()) && line.Contains(high.Id.ToString()));
    }

    [Fact(DisplayName = "Frames of random sizes echo over the link in order, both ways at once")]
    public async Task Echo_both_ways()
    {
        await using var low = new MeshFixture(1) { Echo = true };
        await using var high = new MeshFixture(2) { Echo = true };
        await Join(low, high);
        const int Count = 1500;
        await Task.WhenAll(SendMany(low, Count, seed: 1), SendMany(high, Count, seed: 2));
        await low.Until(node => node.Frames.Count == Count);
        await high.Until(node => node.Frames.Count == Count);
        CheckMany(low, seed: 1);
        CheckMany(high, seed: 2);
        Assert.Empty(low.Downs);
    }

    [Fact(DisplayName = "Both ends of a record's travel see the same bytes, in a buffer that may be kept")]
    public async Task Records_travel()
    {
        await using var low = new MeshFixture(1);
        await using var high = new MeshFixture(2);
        await Join(low, high);
        var record = TestFrames.Record(blocks: 3, seed: 5);
        await low.On(() =>
        {
            var buffer = BufferPool.Shared.Rent(record.Length);
            record.CopyTo(buffer.Span);
            low.Ups[0].Send(FrameHeader.Of(FrameKind.Append, TestFrames.Volume, epoch: 4), buffer);
            buffer.Release();
        });
        await high.Until(node => node.Frames.Count == 1);
        Assert.Equal(record, high.Frames[0].Body);
        Assert.Equal(FrameFlags.SelfChecked, high.Frames[0].Header.Flags);
    }

    [Fact(DisplayName = "Heartbeats give each side a lease, and the grantor always knows of at least as long a one")]
    public async Task Leases()
    {
        await using var low = new MeshFixture(1);
        await using var high = new MeshFixture(2);
        var startedMs = high.Loop.FreshNowMs();
        Assert.True(high.Mesh.GrantedUntilMs(low.Id) <= Lease.GrantedUntilMs(startedMs));
        Assert.True(high.Mesh.GrantedUntilMs(low.Id) >= Lease.GrantedUntilMs(startedMs) - 20_000);
        await Join(low, high);
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        void Look()
        {
            if (low.Ups[0].LeaseUntilMs > 0) done.SetResult();
            else low.Loop.Schedule(1, Look);
        }
        await low.On(Look);
        await done.Task.WaitAsync(LoopFixture.Patience);
        var heldUntilMs = await low.On(() => low.Ups[0].LeaseUntilMs);
        var nowMs = low.Loop.FreshNowMs();
        Assert.InRange(heldUntilMs, startedMs, nowMs + Limits.LeaseMs);
        Assert.True(await high.On(() => high.Mesh.GrantedUntilMs(low.Id)) > heldUntilMs);
    }

    [Fact(DisplayName = "A killed peer is told as down and as refused, whoever dials; when it is back the link has a higher generation")]
    public async Task Peer_killed_and_back()
    {
        foreach (var (survivorRank, victimRank) in new (byte, byte)[] { (1, 2), (2, 1) })
        {
            await using var survivor = new MeshFixture(survivorRank);
            var victim = new MeshFixture(victimRank);
            await Join(survivor, victim);
            var (info, id) = (victim.EndPoint, victim.Id);
            await victim.DisposeAsync();
            await survivor.Until(node => node.Refused.Count == 1);
            Assert.Equal(id, survivor.Refused[0]);
            Assert.Single(survivor.Downs);
            Assert.Null(await survivor.On(() => survivor.Mesh.LinkTo(id)));

            await using var again = new MeshFixture(victimRank, info, id: id);
            again.Know(survivor);
            await survivor.UntilUp(2);
            Assert.True(survivor.Ups[1].Generation > survivor.Ups[0].Generation);
            Assert.True(survivor.Ups[1].IsUp);
            Assert.Single(survivor.Refused);
        }
    }

    [Fact(DisplayName = "A link closed by one side comes back by itself with a new generation")]
    public async Task Link_comes_back()
    {
        await using var low = new MeshFixture(1);
        await using var high = new MeshFixture(2);
        await Join(low, high);
        for (var round = 1; round <= 3; round++)
        {
            var closer = round % 2 == 0 ? low : high;
            await closer.On(() => closer.Ups[^1].Close("a test closes it"));
            await low.UntilUp(round + 1);
            await high.UntilUp(round + 1);
            Assert.Equal(round, low.Downs.Count);
            Assert.True(low.Ups[round].Generation > low.Ups[round - 1].Generation);
        }
        Assert.Empty(low.Refused);
    }

    [Fact(DisplayName = "A node that leaves the directory loses its link")]
    public async Task Leaving_the_directory()
    {
        await using var low = new MeshFixture(1);
        await using var high = new MeshFixture(2);
        await Join(low, high);
        low.Mesh.UpdatePeers([]);
        await low.Until(node => node.Downs.Count == 1);
        await high.Until(node => node.Downs.Count >= 1);
        Assert.Empty(await low.On(() => low.Mesh.Links.ToArray()));
    }

    [Fact(DisplayName = "A directory that has one node under two names makes one link, and the loop goes on")]
    public async Task Two_names_of_a_node()
    {
        await using var low = new MeshFixture(1);
        await using var high = new MeshFixture(2);
        low.Mesh.UpdatePeers([high.Info, high.Info with { Name = "other" }, low.Info, low.Info with { Name = "self" }]);
        high.Know(low);
        await low.UntilUp();
        await high.UntilUp();
        low.Mesh.UpdatePeers([high.Info with { Name = "other" }, high.Info]);
        Assert.Single(await low.On(() => low.Mesh.Links.ToArray()));
    }

    [Fact(DisplayName = "Other clusters, eras, versions and features are refused, with a reason that names both sides on both sides")]
    public async Task Handshake_refusals()
    {
        await Refused("belongs to cluster", identity => identity with { Cluster = Guid.NewGuid() });
        await Refused("is of recovery era", identity => identity with { Era = Guid.NewGuid() });
        await Refused("speaks mesh versions", identity => identity with { VersionOldest = 9, VersionCurrent = 9 });
        await Refused("needs the mesh features", identity => identity with { Features = new MeshFeatures(0, 0, 4) });
    }

    [Theory(DisplayName = "Of the compat features those count on a link that both sides have")]
    [InlineData(1UL, 1UL, 1UL)]
    [InlineData(1UL, 0UL, 0UL)]
    [InlineData(0UL, 1UL, 0UL)]
    [InlineData(7UL, 5UL, 5UL)]
    public async Task Compat_features(ulong ofLow, ulong ofHigh, ulong both)
    {
        await using var low = new MeshFixture(1, change: identity => identity with { Features = new MeshFeatures(ofLow, 0, 0) });
        await using var high = new MeshFixture(2, change: identity => identity with { Features = new MeshFeatures(ofHigh, 0, 0) });
        await Join(low, high);
        Assert.Equal((both, both), (low.Ups[0].CompatFeatures, high.Ups[0].CompatFeatures));
        Assert.Equal(MeshFeatures.CachedReads | MeshFeatures.PartialRestores, MeshFeatures.Current.Compat);
    }

    [Fact(DisplayName = "A node that finds itself or another one at a peer's address makes no link")]
    public async Task Wrong_node_at_an_address()
    {
        await using var low = new MeshFixture(1);
        await using var high = new MeshFixture(3);
        var missing = new NodeId(new Guid([0, 0, 0, 2, .. Guid.NewGuid().ToByteArray().AsSpan(4)]));
        low.Mesh.UpdatePeers([high.Info with { Node = missing }]);
        high.Know(low);
        await high.Until(node => node.Lines.Any(line => line.Contains("looks for node")));
        low.Mesh.UpdatePeers([new MeshPeerInfo(missing, "self", "127.0.0.1", low.EndPoint.Port)]);
        await low.Until(node => node.Lines.Any(line => line.Contains("has the id of this very node")
            || line.Contains("has the id, node")));
        Assert.Empty(low.Ups);
        Assert.Empty(high.Ups);
    }

    [Theory(DisplayName = "Whatever comes from a stranger closes only his connection")]
    [InlineData("GET / HTTP/1.1\r\nHost: x\r\n\r\n")]
    [InlineData("\0\0\0\0\0\0\0\0")]
    [InlineData("MYM")]
    [InlineData("")]
    public async Task Garbage(string text)
    {
        await using var low = new MeshFixture(1);
        await using var high = new MeshFixture(2);
        await Join(low, high);
        using (var scanner = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp))
        {
            await scanner.ConnectAsync(high.EndPoint);
            scanner.Send(Encoding.ASCII.GetBytes(text));
            if (text.Length > 3) Assert.Equal(0, await ReceiveNothing(scanner));
        }
        await Quiet(low, high);
        Assert.Empty(high.Downs);
        Assert.Single(high.Ups);
        Assert.Equal(0, await high.On(() => high.Mesh.HandshakeCount));
    }

    [Fact(DisplayName = "A stranger who connects and says nothing is cut off, and only so many of them are let in at once")]
    public async Task Silent_strangers()
    {
        await using var node = new MeshFixture(1);
        var silent = new List<Socket>();
        for (var count = 0; count <= MeshLimits.HandshakesMax; count++)
        {
            var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            await socket.ConnectAsync(node.EndPoint);
            silent.Add(socket);
        }
        Assert.Equal(0, await ReceiveNothing(silent[^1]));
        Assert.Contains(node.Lines, line => line.Contains("closed unread"));
        foreach (var socket in silent) Assert.Equal(0, await ReceiveNothing(socket));
        Assert.Equal(0, await node.On(() => node.Mesh.HandshakeCount));
        foreach (var socket in silent) socket.Dispose();
    }

    [Fact(DisplayName = "A peer that breaks the protocol after the handshake loses its link, with a logged reason; the node goes on")]
    public async Task Broken_peer()
    {
        await using var low = new MeshFixture(1);
        await using var high = new MeshFixture(2);
        await Join(low, high);
        await low.On(() => low.Ups[0].Send(FrameHeader.Of(FrameKind.Welcome, default), []));
        await high.Until(node => node.Downs.Count == 1);
        Assert.Equal(CloseReason.Protocol, high.Downs[0].Reason);
        Assert.Contains(high.Lines, line => line.Contains("node-1") && line.Contains("Welcome after the handshake"));
        await high.UntilUp(2);
        await high.On(() => high.Ups[1].Send(FrameHeader.Of(FrameKind.Pong, default, argument: ulong.MaxValue), []));
        await low.Until(node => node.Downs.Count >= 2);
        Assert.Contains(low.Lines, line => line.Contains("a Pong answers a Ping that was not sent"));
    }

    [Fact(DisplayName = "A peer that does not read: bytes queue up to the cap, then the link is closed as stuck and the buffers are free")]
    public async Task Stuck_peer()
    {
        await using var low = new MeshFixture(1);
        await using var high = new MeshFixture(2);
        await Join(low, high);
        await high.On(high.Ups[0].PauseReading);
        var pool = new BufferPool();
        await low.On(() =>
        {
            var buffer = pool.Rent(Limits.FrameBodyBytesMax);
            var link = low.Ups[0];
            for (var count = 0; link.IsUp; count++)
            {
                Assert.True(link.QueuedBytes <= MeshLimits.QueuedBytesMax, "the cap did not hold");
                link.Send(FrameHeader.Of(FrameKind.ClientReadReply, default), buffer);
            }
            buffer.Release();
        });
        await low.Until(node => node.Downs.Count == 1);
        Assert.Contains("does not read", low.Downs[0].Detail);
        Assert.Equal(0, pool.RentedBytes);
    }

    [Fact(DisplayName = "Back-pressure: a paused link delivers nothing and stays up; resumed, it delivers all in order")]
    public async Task Pause_and_resume()
    {
        await using var low = new MeshFixture(1);
        await using var high = new MeshFixture(2);
        await Join(low, high);
        await high.On(high.Ups[0].PauseReading);
        await low.On(() =>
        {
            for (ulong id = 0; id < 100; id++)
                low.Ups[0].Send(FrameHeader.Of(FrameKind.ClientFlush, TestFrames.Volume, requestId: id), [1, 2, 3]);
        });
        await Quiet(low, high);
        Assert.Empty(high.Frames);
        await high.On(() => high.Ups[0].ResumeReading(high.Loop.NowMs));
        await high.Until(node => node.Frames.Count == 100);
        Assert.Equal(Enumerable.Range(0, 100).Select(n => (ulong)n), high.Frames.Select(frame => frame.Header.RequestId));
        Assert.Empty(high.Downs);
    }

    internal static async Task Join(MeshFixture left, MeshFixture right)
    {
        left.Know(right);
        right.Know(left);
        await left.UntilUp();
        await right.UntilUp();
    }

    private static async Task Refused(string reason, Func<MeshIdentity, MeshIdentity> change)
    {
        await using var low = new MeshFixture(1, change: change);
        await using var high = new MeshFixture(2);
        low.Know(high);
        high.Know(low);
        foreach (var node in new[] { low, high })
        {
            await node.Until(n => n.Lines.Any(line => line.Contains(reason)));
            Assert.Contains(node.Lines, line => line.Contains(reason)
                && line.Contains(low.Id.ToString()) && line.Contains(high.Id.ToString()));
            Assert.Empty(node.Ups);
        }
    }

    /// <summary>Several turns of both loops.</summary>
    private static async Task Quiet(MeshFixture left, MeshFixture right)
    {
        for (var turn = 0; turn < 20; turn++)
        {
            await left.On(() => true);
            await right.On(() => true);
        }
    }

    private static async Task<int> ReceiveNothing(Socket socket)
    {
        try
        {
            return await socket.ReceiveAsync(new byte[1]).WaitAsync(LoopFixture.Patience);
        }
        catch (SocketException reset) when (reset.SocketErrorCode == SocketError.ConnectionReset)
        {
            return 0;
        }
    }

    private static async Task SendMany(MeshFixture node, int count, int seed)
    {
        var random = new Random(seed);
        for (var sent = 0; sent < count; sent++)
        {
            var body = new byte[random.Next(4) == 0 ? random.Next(100_000) : random.Next(Limits.SmallBodyBytesMax)];
            random.NextBytes(body);
            var header = FrameHeader.Of(FrameKind.ClientRead, TestFrames.Volume, epoch: 1, requestId: (ulong)sent, argument: 3);
            node.Loop.Post(() => TestFrames.Send(node.Ups[0], header, body));
            if (sent % 50 == 0) await node.On(() => true);
        }
    }

    private static void CheckMany(MeshFixture node, int seed)
    {
        var random = new Random(seed);
        for (var index = 0; index < node.Frames.Count; index++)
        {
            var body = new byte[random.Next(4) == 0 ? random.Next(100_000) : random.Next(Limits.SmallBodyBytesMax)];
            random.NextBytes(body);
            Assert.Equal((ulong)index, node.Frames[index].Header.RequestId);
            Assert.True(body.AsSpan().SequenceEqual(node.Frames[index].Body), $"body {index}");
        }
    }
}
