using System.Globalization;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Ingress;

namespace Cluster.Tests.Integration.Mesh;

/// <summary>Peers that somebody waits for in vain.</summary>
public sealed class MeshDoubtSpecs
{
    private const string ByDoubt = "it was waited for";

    [Fact(DisplayName = "A doubted peer whose loop stands still loses its links as silent, since all that are heard say so; one that is heard keeps them; one that is back soon has to be silent for twice as long")]
    public async Task Doubted()
    {
        await using var asker = new MeshFixture(1);
        await using var hung = new MeshFixture(2);
        await using var other = new MeshFixture(3);
        await JoinAsync(asker, hung, other);
        asker.Mesh.Doubt(other.Id);
        hung.Mesh.Doubt(other.Id);
        for (var round = 1; round <= 2; round++)
        {
            using var go = new ManualResetEventSlim();
            hung.Loop.Post(go.Wait);
            asker.Mesh.Doubt(hung.Id);
            other.Mesh.Doubt(hung.Id);
            await asker.Until(node => node.Downs.Count == round);
            await other.Until(node => node.Downs.Count == round);
            go.Set();
            var (link, reason, detail) = asker.Downs[^1];
            Assert.Equal((hung.Id, CloseReason.TimedOut), (link.Peer, reason));
            Assert.StartsWith(ByDoubt, detail, StringComparison.Ordinal);
            Assert.InRange(SilentMs(detail), round * Limits.DoubtedSilenceMs, Limits.MeshSilenceMs);
            Assert.Equal(round, asker.Mesh.DoubtsTrue);
            await asker.UntilUp(2 + round);
            await other.UntilUp(2 + round);
        }
        Assert.All(asker.Downs, down => Assert.Equal(hung.Id, down.Link.Peer));
    }

    [Fact(DisplayName = "A doubted peer that another node does not say it misses keeps its link for as long as without a doubt: only the way to it is cut")]
    public async Task Heard_by_another()
    {
        await using var asker = new MeshFixture(1);
        await using var cut = new MeshFixture(2);
        await using var other = new MeshFixture(3);
        await JoinAsync(asker, cut, other);
        var told = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        asker.Mesh.TellUnheard = _ => told.TrySetResult();
        using var go = new ManualResetEventSlim();
        cut.Loop.Post(go.Wait);
        asker.Mesh.Doubt(cut.Id);
        await asker.Until(node => node.Downs.Count == 1);
        go.Set();
        Assert.True(told.Task.IsCompleted);
        Assert.StartsWith("nothing was heard for", Assert.Single(asker.Downs).Detail, StringComparison.Ordinal);
        Assert.Equal(0, asker.Mesh.DoubtsTrue);
    }

    [Fact(DisplayName = "A node that hears nobody believes no doubt: its silent peer keeps the link for as long as without one")]
    public async Task Lonely()
    {
        await using var asker = new MeshFixture(1);
        await using var hung = new MeshFixture(2);
        await JoinAsync(asker, hung);
        using var go = new ManualResetEventSlim();
        hung.Loop.Post(go.Wait);
        asker.Mesh.Doubt(hung.Id);
        await asker.Until(node => node.Downs.Count == 1);
        go.Set();
        Assert.StartsWith("nothing was heard for", Assert.Single(asker.Downs).Detail, StringComparison.Ordinal);
        Assert.Equal(0, asker.Mesh.DoubtsTrue);
    }

    [Fact(DisplayName = "A node whose own loop has just stood still passes a doubt over")]
    public async Task Own_pause()
    {
        await using var asker = new MeshFixture(1);
        await using var hung = new MeshFixture(2);
        await using var other = new MeshFixture(3);
        await JoinAsync(asker, hung, other);
        using var go = new ManualResetEventSlim();
        hung.Loop.Post(go.Wait);
        other.Mesh.Doubt(hung.Id);
        // The pause is what is tried: a heartbeat falls due soon after its start, and is late by more than the bound at its end.
        using var awake = new ManualResetEventSlim();
        asker.Loop.Post(awake.Wait);
        await other.On(() => other.Loop.Schedule(Limits.HeartbeatMs + MeshLimits.LookLateMsMax + 100, awake.Set));
        asker.Mesh.Doubt(hung.Id);
        await asker.Until(node => node.Downs.Count == 1);
        go.Set();
        Assert.StartsWith("nothing was heard for", Assert.Single(asker.Downs).Detail, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "A node without a link to a doubted one says at once that it does not hear it")]
    public async Task Without_a_link()
    {
        await using var asker = new MeshFixture(1);
        var gone = new NodeId(new Guid([0, 0, 0, 2, .. Guid.NewGuid().ToByteArray().AsSpan(4)]));
        var told = new TaskCompletionSource<NodeId>(TaskCreationOptions.RunContinuationsAsynchronously);
        asker.Mesh.TellUnheard = node => told.TrySetResult(node);
        asker.Mesh.UpdatePeers([asker.Info with { Node = gone }]);
        asker.Mesh.Doubt(gone);
        Assert.Equal(gone, await told.Task.WaitAsync(LoopFixture.Patience));
    }

    private static int SilentMs(string detail) => int.Parse(detail.Split(" heard for ")[1].Split(' ')[0], CultureInfo.InvariantCulture);

    private static async Task JoinAsync(params MeshFixture[] all)
    {
        foreach (var one in all)
        {
            var others = all.Where(other => other != one).ToArray();
            one.Mesh.TellUnheard = node =>
            {
                foreach (var other in others) other.Mesh.OnUnheard(node, one.Id);
            };
            one.Know(others);
        }
        foreach (var one in all) await one.UntilUp(all.Length - 1);
    }
}
