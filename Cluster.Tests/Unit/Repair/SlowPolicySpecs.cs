using Cluster.Node.Repair;

namespace Cluster.Tests.Unit.Repair;

public sealed class SlowPolicySpecs
{
    [Theory(DisplayName = "Slow is who lags the fastest by more than the lag, while all others are fine and the slow are no more than half")]
    [InlineData(0b100, 5, 7, 600)]
    [InlineData(0b001, 900, 7, 6)]
    [InlineData(0b10, 5, 600)]
    [InlineData(0b11000, 5, 5, 5, 600, 700)]
    // Not by enough; measured from the fastest.
    [InlineData(0, 5, 7, 504)]
    [InlineData(0, 600, 610, 620)]
    // All are late, more or less: load.
    [InlineData(0, 5, 600, 700)]
    [InlineData(0, 5, 300, 700)]
    [InlineData(0, 5, 5, 600, 700, 800)]
    // Nobody to compare it with.
    [InlineData(0, 600)]
    [InlineData(0, -1, -1, 600)]
    // Who was asked nothing is neither.
    [InlineData(0b100, 5, -1, 600)]
    public void Outliers(int slow, params int[] latencies) =>
        Assert.Equal((uint)slow, SlowPolicy.SlowOf([.. latencies.Select(latency => (long)latency)], 500));

    [Theory(DisplayName = "The wait doubles with each offence, up to a bound")]
    [InlineData(1, 30)]
    [InlineData(2, 60)]
    [InlineData(4, 240)]
    [InlineData(7, 1920)]
    [InlineData(8, 1920)]
    [InlineData(int.MaxValue, 1920)]
    public void Waits(int offences, long wait) => Assert.Equal(wait, SlowPolicy.WaitMs(offences, 30));
}
