using System.Globalization;

namespace Cluster.Node.Cli.Bench;

/// <summary>A node's metrics as of one moment: the Prometheus text format, as far as our own pages use it.</summary>
internal sealed class MetricsPage
{
    private readonly Dictionary<string, double> _samples = new(StringComparer.Ordinal);

    public static MetricsPage Parse(string text)
    {
        var page = new MetricsPage();
        foreach (var line in text.Split('\n'))
        {
            var space = line.LastIndexOf(' ');
            if (space <= 0 || line[0] == '#') continue;
            if (double.TryParse(line.AsSpan(space + 1), NumberStyles.Float, CultureInfo.InvariantCulture, out var value)) page._samples[line[..space]] = value;
        }
        return page;
    }

    public bool Has(string name) => _samples.ContainsKey(name);

    /// <summary>0 where there is none.</summary>
    public double this[string name] => _samples.GetValueOrDefault(name);

    public double this[string name, string label, string value] => this[$"{name}{{{label}=\"{value}\"}}"];
}
