using Akka.Actor;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Hosting.Volumes;
using Cluster.Node.Ingress;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Unit.Hosting;

public sealed class NodeDoubtsSpecs : ICanTell
{
    private static readonly NodeId Self = Id(1);
    private static readonly NodeId A = Id(2);
    private static readonly NodeId B = Id(3);
    private readonly List<object> _told = [];
    private readonly List<NodeId> _looked = [];
    private readonly NodeDoubts _doubts;

    public NodeDoubtsSpecs() => _doubts = new NodeDoubts(Self, _looked.Add, () => [(A, this), (B, this)], node => node.ToString(), NullLogger<NodeDoubts>.Instance);

    [Fact(DisplayName = "A doubt is looked at here and told to all but the node that it is of, once in a while; no node doubts itself")]
    public void Told()
    {
        _doubts.Tell(Self);
        Assert.Equal((0, 0L), (_told.Count + _looked.Count, _doubts.Told));
        _doubts.Tell(A);
        _doubts.Tell(A);
        Assert.Equal([A], _looked);
        Assert.Equal([new NodeProtocol.Doubted(A)], _told);
        _doubts.TellUnheard(A);
        Assert.Equal(new NodeProtocol.Unheard(A, Self), _told[^1]);
    }

    [Fact(DisplayName = "Who waits for long doubts three times, and each time later")]
    public void Paced()
    {
        var (doubts, at) = (0, new List<int>());
        for (var ms = 0; ms < 60_000; ms += 100)
        {
            if (!NodeDoubts.IsDue(TimeSpan.FromMilliseconds(ms), doubts)) continue;
            doubts++;
            at.Add(ms);
        }
        Assert.Equal([300, 600, 1200], at);
    }

    [Fact(DisplayName = "A peer that is back soon after a doubt closed its link has to be silent for twice as long, up to the silence without a doubt; that is over in minutes")]
    public void Backs_off()
    {
        var (backOff, nowMs) = (new DoubtBackOff(), 1_000_000L);
        foreach (var neededMs in new[] { 1100, 2200, 3000, 3000 })
        {
            Assert.Equal(neededMs, backOff.NeededMs(nowMs));
            Close(1000, sameProcess: true);
        }
        nowMs += DoubtBackOff.HalvesMs;
        Assert.Equal(1500, backOff.NeededMs(nowMs));
        nowMs += DoubtBackOff.HalvesMs;
        Assert.Equal(1100, backOff.NeededMs(nowMs));
        Close(DoubtBackOff.BackSoonMs + 1, sameProcess: true);
        Close(1000, sameProcess: false);
        backOff.OnBack(true, nowMs);
        Assert.Equal(1100, backOff.NeededMs(nowMs));

        void Close(int awayMs, bool sameProcess)
        {
            backOff.ClosedMs = nowMs;
            backOff.OnBack(sameProcess, nowMs += awayMs);
        }
    }

    void ICanTell.Tell(object message, IActorRef sender) => _told.Add(message);

    private static NodeId Id(int number) => new(new Guid(number, 0, 0, new byte[8]));
}
