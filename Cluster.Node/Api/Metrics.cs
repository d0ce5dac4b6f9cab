using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using Cluster.Messages.Model;

namespace Cluster.Node.Api;

/// <summary>
/// A node's counters, gauges and histograms, written in the Prometheus text format, version 0.0.4. Parts register at their start and keep
/// the object; counting allocates nothing and takes no lock. Any thread. Names follow Prometheus: myrmidon_PART_WHAT_UNIT, counters end
/// in _total.
/// </summary>
public sealed class Metrics
{
    /// <summary>Series of one metric at most, so that a label with too many values can't fill the memory.</summary>
    public const int SeriesMax = 4096;

    public const string ContentType = "text/plain; version=0.0.4; charset=utf-8";

    private readonly ConcurrentDictionary<string, Family> _families = new(StringComparer.Ordinal);

    private sealed record Family(string Name, string Kind, string Help, ConcurrentDictionary<string, ISeries> Series);

    internal interface ISeries
    {
        void WriteTo(StringBuilder text, string name, string labels);
    }

    /// <summary>The same name and labels give the same counter.</summary>
    public Counter AddCounter(string name, string help, params ReadOnlySpan<(string Key, string Value)> labels) =>
        (Counter)Add(name, "counter", help, labels, new Counter());

    /// <summary>The function is called at each scrape: it must be quick and may be called by any thread.</summary>
    public void AddGauge(string name, string help, Func<double> read, params ReadOnlySpan<(string Key, string Value)> labels) =>
        Add(name, "gauge", help, labels, new Gauge(read));

    /// <summary>
    /// A gauge of series that come and go: one sample for each that the function tells, with its labels behind those given here. Called at each scrape: it must be quick, may be called by any
    /// thread, and bounds by itself how many it tells.
    /// </summary>
    public void AddGauges(string name, string help, Func<IEnumerable<GaugeSample>> read, params ReadOnlySpan<(string Key, string Value)> labels) =>
        Add(name, "gauge", help, labels, new GaugeSet(read));

    /// <summary>Counters of series that come and go, as <see cref="AddGauges"/>.</summary>
    public void AddCounters(string name, string help, Func<IEnumerable<GaugeSample>> read) => Add(name, "counter", help, [], new GaugeSet(read));

    /// <summary>A counter that is kept elsewhere; the function is called at each scrape.</summary>
    public void AddCounter(string name, string help, Func<double> read, params ReadOnlySpan<(string Key, string Value)> labels) =>
        Add(name, "counter", help, labels, new Gauge(read));

    /// <summary>Bounds ascend; the last bucket, +Inf, is added.</summary>
    public Histogram AddHistogram(string name, string help, double[] bounds, params ReadOnlySpan<(string Key, string Value)> labels) =>
        (Histogram)Add(name, "histogram", help, labels, new Histogram(bounds));

    /// <summary>Takes the metrics of something that is gone out of the page.</summary>
    public void Remove(string name, params ReadOnlySpan<(string Key, string Value)> labels)
    {
        if (_families.TryGetValue(name, out var family)) family.Series.TryRemove(Labels(labels), out _);
    }

    /// <summary>The whole page, metrics sorted by name.</summary>
    public string Write()
    {
        var text = new StringBuilder();
        foreach (var family in _families.Values.OrderBy(family => family.Name, StringComparer.Ordinal))
        {
            if (family.Series.IsEmpty) continue;
            text.Append("# HELP ").Append(family.Name).Append(' ').Append(family.Help).Append('\n');
            text.Append("# TYPE ").Append(family.Name).Append(' ').Append(family.Kind).Append('\n');
            foreach (var (labels, series) in family.Series.OrderBy(series => series.Key, StringComparer.Ordinal))
            {
                series.WriteTo(text, family.Name, labels);
            }
        }
        return text.ToString();
    }

    private ISeries Add(string name, string kind, string help, ReadOnlySpan<(string Key, string Value)> labels, ISeries series)
    {
        Invariant.That(IsName(name), "a metric's name has a character that Prometheus refuses");
        var family = _families.GetOrAdd(name, _ => new Family(name, kind, help, new(StringComparer.Ordinal)));
        Invariant.That(family.Kind == kind, "two parts registered one metric under different kinds");
        Invariant.That(family.Series.Count < SeriesMax, "a metric has too many series");
        return family.Series.GetOrAdd(Labels(labels), series);
    }

    internal static string Labels(ReadOnlySpan<(string Key, string Value)> labels)
    {
        var text = new StringBuilder();
        foreach (var (key, value) in labels)
        {
            Invariant.That(IsName(key), "a metric's label has a character that Prometheus refuses");
            if (text.Length > 0) text.Append(',');
            text.Append(key).Append("=\"");
            text.Append(value.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal)
                .Replace("\n", "\\n", StringComparison.Ordinal)).Append('"');
        }
        return text.ToString();
    }

    private static bool IsName(string name) => name.Length > 0 && !char.IsAsciiDigit(name[0])
        && name.All(c => char.IsAsciiLetterOrDigit(c) || c == '_');

    internal static void WriteSample(StringBuilder text, string name, string labels, double value)
    {
        text.Append(name);
        if (labels.Length > 0) text.Append('{').Append(labels).Append('}');
        text.Append(' ').Append(Number(value)).Append('\n');
    }

    internal static string Number(double value) =>
        double.IsPositiveInfinity(value) ? "+Inf" : double.IsNegativeInfinity(value) ? "-Inf"
            : value.ToString("R", CultureInfo.InvariantCulture);
}

/// <summary>Only rises. Any thread.</summary>
public sealed class Counter : Metrics.ISeries
{
    private long _value;

    public long Value => Interlocked.Read(ref _value);

    public void Add(long amount = 1)
    {
        Invariant.That(amount >= 0, "a counter can't fall");
        Interlocked.Add(ref _value, amount);
    }

    void Metrics.ISeries.WriteTo(StringBuilder text, string name, string labels) => Metrics.WriteSample(text, name, labels, Value);
}

/// <summary>Read when the page is written.</summary>
internal sealed class Gauge(Func<double> read) : Metrics.ISeries
{
    void Metrics.ISeries.WriteTo(StringBuilder text, string name, string labels) => Metrics.WriteSample(text, name, labels, read());
}

/// <summary>One of a set's series as it is now.</summary>
public readonly record struct GaugeSample(double Value, params (string Key, string Value)[] Labels);

/// <summary>Which series there are is read when the page is written.</summary>
internal sealed class GaugeSet(Func<IEnumerable<GaugeSample>> read) : Metrics.ISeries
{
    void Metrics.ISeries.WriteTo(StringBuilder text, string name, string labels)
    {
        foreach (var sample in read())
        {
            var own = Metrics.Labels(sample.Labels);
            Metrics.WriteSample(text, name, labels.Length > 0 ? own.Length > 0 ? $"{labels},{own}" : labels : own, sample.Value);
        }
    }
}

/// <summary>Counts of values per bucket. Any thread; a scrape may see a value in the count and not yet in the sum.</summary>
public sealed class Histogram : Metrics.ISeries
{
    private readonly double[] _bounds;
    private readonly long[] _counts;
    private double _sum;

    internal Histogram(double[] bounds)
    {
        for (var index = 1; index < bounds.Length; index++) Invariant.That(bounds[index - 1] < bounds[index],
            "a histogram's bounds must ascend");
        _bounds = [.. bounds];
        _counts = new long[bounds.Length + 1];
    }

    public void Observe(double value)
    {
        var bucket = Array.BinarySearch(_bounds, value);
        Interlocked.Increment(ref _counts[bucket < 0 ? ~bucket : bucket]);
        double seen;
        do seen = Volatile.Read(ref _sum);
        while (Interlocked.CompareExchange(ref _sum, seen + value, seen) != seen);
    }

    void Metrics.ISeries.WriteTo(StringBuilder text, string name, string labels)
    {
        var separator = labels.Length > 0 ? "," : "";
        long total = 0;
        for (var index = 0; index < _counts.Length; index++)
        {
            total += Interlocked.Read(ref _counts[index]);
            var bound = index < _bounds.Length ? _bounds[index] : double.PositiveInfinity;
            Metrics.WriteSample(text, name + "_bucket", $"{labels}{separator}le=\"{Metrics.Number(bound)}\"", total);
        }
        Metrics.WriteSample(text, name + "_sum", labels, Volatile.Read(ref _sum));
        Metrics.WriteSample(text, name + "_count", labels, total);
    }
}
