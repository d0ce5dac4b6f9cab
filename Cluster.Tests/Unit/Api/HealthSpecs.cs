using Cluster.Node.Api;
using Cluster.Tests.Unit.Fakes;

namespace Cluster.Tests.Unit.Api;

public class HealthSpecs
{
    [Fact(DisplayName = "A repeated report moves updatedAt only; another state or reason moves changedAt too")]
    public void Times_tell_news_from_repeats()
    {
        var time = new ManualTime();
        var start = time.Now;
        var health = new Health(time);
        health.Report("store", HealthState.Healthy);
        time.Now = start.AddSeconds(5);
        health.Report("store", HealthState.Healthy);
        var store = Assert.Single(health.Look("n").Submodules);
        Assert.Equal((start, start.AddSeconds(5)), (store.ChangedAt, store.UpdatedAt));
        time.Now = start.AddSeconds(9);
        health.Report("store", HealthState.Degraded, "The disk is 90 % full.");
        store = Assert.Single(health.Look("n").Submodules);
        Assert.Equal((start.AddSeconds(9), start.AddSeconds(9)), (store.ChangedAt, store.UpdatedAt));
    }

    [Theory(DisplayName = "A node is as healthy as its worst part, and ready while nothing is unhealthy or starting")]
    [InlineData(HealthState.Healthy, "healthy", true)]
    [InlineData(HealthState.Degraded, "degraded", true)]
    [InlineData(HealthState.Starting, "starting", false)]
    [InlineData(HealthState.Unhealthy, "unhealthy", false)]
    public void Worst_part_counts(HealthState state, string status, bool ready)
    {
        var health = new Health(TimeProvider.System);
        health.Report("a", HealthState.Healthy);
        health.AddProbe("b", () => (state, "why"));
        var seen = health.Look("n");
        Assert.Equal((status, ready), (seen.Status, Health.IsReady(seen)));
    }

    [Fact(DisplayName = "A node of which nothing has reported yet is starting")]
    public void Nothing_known_is_starting() => Assert.Equal("starting", new Health(TimeProvider.System).Look("n").Status);
}
