using Cluster.Node.Cli.Bench;

namespace Cluster.Tests.Unit.Bench;

public class LatencyHistogramSpecs
{
    [Fact(DisplayName = "Percentiles are within 1.6 percent of those of the sorted values, never below them and never above the maximum")]
    public void Percentiles()
    {
        var random = new Random(7);
        var values = Enumerable.Range(0, 20_000).Select(_ => (long)Math.Exp(random.NextDouble() * 22)).ToArray();
        var histogram = new LatencyHistogram();
        foreach (var value in values) histogram.Record(value);
        Array.Sort(values);
        foreach (var share in new[] { 0.0001, 0.01, 0.5, 0.9, 0.99, 0.999, 1 })
        {
            var exact = values[(int)Math.Max(1, Math.Ceiling(share * values.Length)) - 1];
            Assert.InRange(histogram.Percentile(share), exact, Math.Min(exact * 1.016, values[^1]));
        }
        Assert.Equal(values.Length, histogram.Count);
        Assert.Equal(values.Average(), histogram.MeanNs, 3);
        Assert.Equal(values[^1], histogram.MaxNs);
    }

    [Fact(DisplayName = "Values at the borders of buckets are told exactly, or by the upper end of their bucket")]
    public void Borders()
    {
        foreach (var (value, told) in new (long, long)[] { (0, 0), (1, 1), (127, 127), (128, 129), (129, 129), (255, 255), (256, 259), (1L << 39, (1L << 39) + (1L << 33) - 1) })
        {
            var histogram = new LatencyHistogram();
            histogram.Record(value);
            histogram.Record((1L << 40) - 1);
            Assert.Equal(told, histogram.Percentile(0.5));
        }
    }

    [Fact(DisplayName = "What is longer than the last bucket is counted there, and its maximum is told as it was")]
    public void Longest()
    {
        var histogram = new LatencyHistogram();
        histogram.Record(long.MaxValue / 4);
        Assert.Equal(1, histogram.Count);
        Assert.Equal((1L << 40) - 1, histogram.Percentile(0.5));
        Assert.Equal(long.MaxValue / 4, histogram.MaxNs);
    }

    [Fact(DisplayName = "An empty histogram has zeroes")]
    public void Empty()
    {
        var histogram = new LatencyHistogram();
        Assert.Equal((0, 0, 0.0), (histogram.Percentile(0.99), histogram.MaxNs, histogram.MeanNs));
    }

    [Fact(DisplayName = "Threads that record at one time lose nothing")]
    public async Task Threads()
    {
        var histogram = new LatencyHistogram();
        await Task.WhenAll(Enumerable.Range(0, 4).Select(thread => Task.Run(() =>
        {
            for (var value = 0; value < 10_000; value++) histogram.Record((value * 4) + thread);
        })));
        Assert.Equal(40_000, histogram.Count);
        Assert.Equal(39_999, histogram.MaxNs);
        Assert.InRange(histogram.Percentile(0.5), 19_999, 20_400);
    }
}
