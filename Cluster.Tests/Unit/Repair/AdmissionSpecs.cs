using Cluster.Node.Repair;

namespace Cluster.Tests.Unit.Repair;

public sealed class AdmissionSpecs
{
    private readonly Admission _two = new(2);
    private readonly object[] _who = [.. Enumerable.Range(0, 5).Select(_ => new object())];

    [Fact(DisplayName = "So many are inside at once; the others come in the order in which they first asked, however often they ask")]
    public void First_come_first_served()
    {
        Assert.True(_two.TryEnter(_who[0]) && _two.TryEnter(_who[1]) && _two.TryEnter(_who[0]));
        Assert.False(_two.TryEnter(_who[2]));
        Assert.False(_two.TryEnter(_who[3]));
        Assert.False(_two.TryEnter(_who[2]));
        Assert.Equal((2, 2), (_two.InsideCount, _two.WaitingCount));
        _two.Leave(_who[0]);
        Assert.False(_two.TryEnter(_who[3]));
        Assert.False(_two.TryEnter(_who[4]));
        Assert.True(_two.TryEnter(_who[2]));
        Assert.False(_two.TryEnter(_who[3]));
    }

    [Fact(DisplayName = "Who gives up waiting holds nobody up, and who does not queue takes no place")]
    public void Leaving_the_queue()
    {
        Assert.True(_two.TryEnter(_who[0]) && _two.TryEnter(_who[1]));
        Assert.False(_two.TryEnter(_who[2], queues: false));
        Assert.Equal(0, _two.WaitingCount);
        Assert.False(_two.TryEnter(_who[2]));
        Assert.False(_two.TryEnter(_who[3]));
        _two.Leave(_who[2]);
        _two.Leave(_who[1]);
        Assert.False(_two.TryEnter(_who[4], queues: false));
        Assert.True(_two.TryEnter(_who[3]));
    }
}
