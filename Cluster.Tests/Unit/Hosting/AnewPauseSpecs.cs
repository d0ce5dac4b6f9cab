using Cluster.Node.Hosting;
using Cluster.Node.Hosting.Options;

namespace Cluster.Tests.Unit.Hosting;

/// <summary>A process that starts anew again and again.</summary>
public sealed class AnewPauseSpecs
{
    [Fact(DisplayName = "The first start anew is at once, each further one in a row waits twice as long as the one before, up to the longest pause")]
    public void Grows()
    {
        string? variable = null;
        List<double> seconds = [];
        for (var run = 0; run < 8; run++)
        {
            var count = AnewPause.Count(variable, TimeSpan.Zero);
            seconds.Add(AnewPause.Before(count).TotalSeconds);
            variable = $"{count}";
        }
        Assert.Equal([0, 1, 2, 4, 8, 10, 10, 10], seconds);
        Assert.Equal(AnewPause.Max, AnewPause.Before(int.MaxValue));
    }

    [Fact(DisplayName = "A run that served for a minute begins the count anew; one that served for less does not")]
    public void Served()
    {
        Assert.Equal(1, AnewPause.Count("7", AnewPause.Settled));
        Assert.Equal(8, AnewPause.Count("7", AnewPause.Settled - TimeSpan.FromMilliseconds(1)));
    }

    [Theory(DisplayName = "What is no count in the environment counts as none, and a count of any size stays one")]
    [InlineData(null, 1)]
    [InlineData("", 1)]
    [InlineData("-3", 1)]
    [InlineData("many", 1)]
    [InlineData("99999999999999999999", 1)]
    [InlineData("2147483647", 1_000_000)]
    public void Odd(string? variable, int count) => Assert.Equal(count, AnewPause.Count(variable, TimeSpan.Zero));

    [Fact(DisplayName = "The variable that carries the count is no slip of a setting's, so that a run that has it starts")]
    public void Is_no_setting()
    {
        var loaded = NodeSettings.Load(new Dictionary<string, string> { ["name"] = "a", ["data"] = "/tmp/a" }, new Dictionary<string, string> { [AnewPause.Variable] = "3" }, null);
        Assert.True(loaded.Options is not null, loaded.Error);
    }
}
