using Cluster.Node.Cli.Chaos;

namespace Cluster.Tests.Unit.Chaos;

/// <summary>A node's log, followed while it grows.</summary>
public sealed class LogFollowerSpecs : IDisposable
{
    private readonly string _path = Path.GetTempFileName();

    public void Dispose() => File.Delete(_path);

    [Fact(DisplayName = "Each line comes once and only when it is whole; those of before do not come")]
    public void Lines()
    {
        File.WriteAllText(_path, "old\n");
        var log = new LogFollower(_path);
        Assert.Empty(log.ReadNew());
        File.AppendAllText(_path, "first\nsec");
        Assert.Equal(["first"], log.ReadNew());
        Assert.Empty(log.ReadNew());
        File.AppendAllText(_path, "ond\nthird\n");
        Assert.Equal(["second", "third"], log.ReadNew());
    }

    [Fact(DisplayName = "A log that is not there yet has no lines, and one that grew by much comes in parts")]
    public void Sizes()
    {
        File.Delete(_path);
        var log = new LogFollower(_path);
        Assert.Empty(log.ReadNew());
        var lines = Enumerable.Range(0, 300_000).Select(number => $"line {number}").ToArray();
        File.WriteAllLines(_path, lines);
        var seen = new List<string>();
        while (log.ReadNew() is { Count: > 0 } some) seen.AddRange(some);
        Assert.Equal(lines, seen);
    }
}
