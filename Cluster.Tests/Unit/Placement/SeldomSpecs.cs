using Cluster.Node.Placement;
using Cluster.Tests.Unit.Fakes;

namespace Cluster.Tests.Unit.Placement;

public sealed class SeldomSpecs
{
    [Fact(DisplayName = "What fails again and again is logged at once, then every 30 s with how often it came between")]
    public void First_and_then_seldom()
    {
        var time = new ManualTime();
        var seldom = new Seldom(time);
        Assert.Equal(0, seldom.MaySay());
        for (var failure = 0; failure < 100; failure++) Assert.Null(seldom.MaySay());
        time.Since += Seldom.Pause;
        Assert.Equal(100, seldom.MaySay());
        Assert.Null(seldom.MaySay());
        time.Since += Seldom.Pause;
        Assert.Equal(1, seldom.MaySay());
        time.Since += Seldom.Pause * 10;
        Assert.Equal(0, seldom.MaySay());
    }
}
