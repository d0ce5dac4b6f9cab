using Cluster.Node.Api;

namespace Cluster.Tests.Unit.Api;

public class MetricsSpecs
{
    [Fact(DisplayName = "The page is the Prometheus text format, to the byte")]
    public void Page_is_exact()
    {
        var metrics = new Metrics();
        metrics.AddCounter("myrmidon_b_total", "Things done.", ("volume", "a\"b\\c\nd")).Add(3);
        metrics.AddGauge("myrmidon_c_bytes", "Space.", () => 1.5);
        var histogram = metrics.AddHistogram("myrmidon_a_seconds", "Time.", [0.1, 1], ("op", "read"));
        histogram.Observe(0.1);
        histogram.Observe(0.5);
        histogram.Observe(7);
        Assert.Equal(
            """
            # HELP myrmidon_a_seconds Time.
            # TYPE myrmidon_a_seconds histogram
            myrmidon_a_seconds_bucket{op="read",le="0.1"} 1
            myrmidon_a_seconds_bucket{op="read",le="1"} 2
            myrmidon_a_seconds_bucket{op="read",le="+Inf"} 3
            myrmidon_a_seconds_sum{op="read"} 7.6
            myrmidon_a_seconds_count{op="read"} 3
            # HELP myrmidon_b_total Things done.
            # TYPE myrmidon_b_total counter
            myrmidon_b_total{volume="a\"b\\c\nd"} 3
            # HELP myrmidon_c_bytes Space.
            # TYPE myrmidon_c_bytes gauge
            myrmidon_c_bytes 1.5

            """.Replace("\r", "", StringComparison.Ordinal), metrics.Write());
    }

    [Fact(DisplayName = "The same name and labels give the same counter, other labels another one")]
    public void Same_labels_same_counter()
    {
        var metrics = new Metrics();
        var first = metrics.AddCounter("x_total", "X.", ("k", "1"));
        Assert.Same(first, metrics.AddCounter("x_total", "X.", ("k", "1")));
        Assert.NotSame(first, metrics.AddCounter("x_total", "X.", ("k", "2")));
    }

    [Fact(DisplayName = "A removed series is no longer on the page")]
    public void Removed_series_is_gone()
    {
        var metrics = new Metrics();
        metrics.AddCounter("x_total", "X.", ("volume", "gone")).Add();
        metrics.Remove("x_total", ("volume", "gone"));
        Assert.Equal("", metrics.Write());
    }

    [Fact(DisplayName = "Counting from many threads loses nothing")]
    public void Counting_is_atomic()
    {
        var metrics = new Metrics();
        var counter = metrics.AddCounter("x_total", "X.");
        var histogram = metrics.AddHistogram("y_seconds", "Y.", [1]);
        Parallel.For(0, 4, _ =>
        {
            for (var index = 0; index < 10_000; index++)
            {
                counter.Add();
                histogram.Observe(1);
            }
        });
        Assert.Equal(40_000, counter.Value);
        Assert.Contains("y_seconds_sum 40000\n", metrics.Write(), StringComparison.Ordinal);
    }

    [Theory(DisplayName = "Names that Prometheus refuses, two kinds under one name, and falling counters break an invariant")]
    [InlineData("with-dash")]
    [InlineData("9starts")]
    [InlineData("")]
    public void Wrong_use_throws(string name)
    {
        var metrics = new Metrics();
        Assert.ThrowsAny<Exception>(() => metrics.AddCounter(name, "X."));
        var counter = metrics.AddCounter("x_total", "X.");
        Assert.ThrowsAny<Exception>(() => metrics.AddGauge("x_total", "X.", () => 0));
        Assert.ThrowsAny<Exception>(() => counter.Add(-1));
    }
}
