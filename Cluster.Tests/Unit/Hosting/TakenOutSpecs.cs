using Akka.Actor;
using Cluster.Node.Hosting.Membership;
using Cluster.Tests.Unit.Fakes;

namespace Cluster.Tests.Unit.Hosting;

public sealed class TakenOutSpecs
{
    [Theory(DisplayName = "A node believes that it was taken out when most of the others say so, and not a few of them")]
    [InlineData(1, 1, true)]
    [InlineData(1, 2, false)]
    [InlineData(2, 2, true)]
    [InlineData(2, 4, false)]
    [InlineData(3, 4, true)]
    [InlineData(0, 0, false)]
    [InlineData(0, 2, false)]
    public void Most_of_the_others(int refusers, int others, bool takenOut)
    {
        var refusals = Of(others, TimeProvider.System);
        for (var other = 0; other < refusers; other++) refusals.OnRefused(Node(other));
        Assert.Equal(takenOut, refusals.IsTakenOut());
    }

    [Fact(DisplayName = "A node that woke up and took the others out at once, before more than one of them could refuse it, was taken out itself")]
    public void Alone_after_it_woke_up()
    {
        var refusals = Of(2, TimeProvider.System);
        refusals.OnRefused(Node(0));
        Assert.False(refusals.IsTakenOut());
        refusals.OnTakenOut(Node(0));
        refusals.OnTakenOut(Node(1));
        Assert.True(refusals.IsTakenOut());
    }

    [Fact(DisplayName = "The order of the two does not matter: a refusal by whom it has just taken out counts")]
    public void Refused_by_whom_it_took_out()
    {
        var refusals = Of(2, TimeProvider.System);
        refusals.OnTakenOut(Node(0));
        refusals.OnTakenOut(Node(1));
        Assert.False(refusals.IsTakenOut());
        refusals.OnRefused(Node(1));
        Assert.True(refusals.IsTakenOut());
    }

    [Fact(DisplayName = "One that most have taken out, and that refuses them in turn, does not bring them down")]
    public void Refused_by_a_minority()
    {
        var refusals = Of(2, TimeProvider.System);
        refusals.OnTakenOut(Node(0));
        refusals.OnRefused(Node(0));
        Assert.False(refusals.IsTakenOut());
    }

    [Fact(DisplayName = "A refusal counts no more once its process has left or is a new one, and whoever was taken out long ago is none of the others")]
    public void What_counts_no_more()
    {
        var time = new ManualTime();
        var refusals = Of(2, time);
        refusals.OnRefused(Node(0));
        refusals.OnMember(Node(0));
        refusals.OnRefused(Node(1));
        Assert.False(refusals.IsTakenOut());
        refusals.OnLeft(Node(1));
        Assert.False(refusals.IsTakenOut());

        refusals = Of(3, time);
        refusals.OnTakenOut(Node(2));
        time.Since += Refusals.Recent + TimeSpan.FromSeconds(1);
        refusals.OnRefused(Node(2));
        Assert.False(refusals.IsTakenOut());
        refusals.OnRefused(Node(0));
        Assert.False(refusals.IsTakenOut());
        refusals.OnRefused(Node(1));
        Assert.True(refusals.IsTakenOut());
    }

    [Theory(DisplayName = "A wall clock that is set by a day makes nobody's being taken out longer ago, or later")]
    [InlineData(1)]
    [InlineData(-1)]
    public void Wall_clock_is_set(int days)
    {
        var time = new ManualTime();
        var refusals = Of(2, time);
        refusals.OnTakenOut(Node(0));
        refusals.OnTakenOut(Node(1));
        time.Now += TimeSpan.FromDays(days);
        refusals.OnRefused(Node(1));
        Assert.True(refusals.IsTakenOut());

        refusals = Of(3, time);
        refusals.OnTakenOut(Node(2));
        time.Now += TimeSpan.FromDays(days);
        time.Since += Refusals.Recent + TimeSpan.FromSeconds(1);
        refusals.OnRefused(Node(0));
        Assert.False(refusals.IsTakenOut());
        refusals.OnRefused(Node(1));
        Assert.True(refusals.IsTakenOut());
    }

    private static Refusals Of(int others, TimeProvider time)
    {
        var refusals = new Refusals(time);
        for (var other = 0; other < others; other++) refusals.OnMember(Node(other));
        return refusals;
    }

    private static Address Node(int number) => new("akka.tcp", "myrmidon", $"10.0.0.{number}", 5708);
}
