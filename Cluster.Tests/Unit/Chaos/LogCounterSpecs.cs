using Cluster.Node.Cli.Chaos;

namespace Cluster.Tests.Unit.Chaos;

/// <summary>A node that starts anew in place keeps its process id: only its log tells.</summary>
public sealed class LogCounterSpecs : IDisposable
{
    private readonly string _log = Path.GetTempFileName();

    public void Dispose() => File.Delete(_log);

    [Fact(DisplayName = "Lines with the text are counted once each, from where the log was, and only when they are whole")]
    public void Counts()
    {
        File.WriteAllText(_log, "was taken out before\n");
        var counter = new LogCounter(_log, "was taken out");
        Assert.Equal(0, counter.CountNew());
        File.AppendAllText(_log, "serves\nnode-0 was taken out of its cluster\nwas tak");
        Assert.Equal(1, counter.CountNew());
        Assert.Equal(0, counter.CountNew());
        File.AppendAllText(_log, "en out\nwas taken out\n");
        Assert.Equal(2, counter.CountNew());
    }

    [Fact(DisplayName = "A log that is begun anew is read from its beginning; one that is not there has no lines")]
    public void Begun_anew()
    {
        File.WriteAllText(_log, "a long line that was there before\n");
        var counter = new LogCounter(_log, "out");
        File.WriteAllText(_log, "out\n");
        Assert.Equal(1, counter.CountNew());
        File.Delete(_log);
        Assert.Equal(0, counter.CountNew());
    }
}
