namespace Cluster.Tests.Integration.Cli;

/// <summary>
/// What a command prints. Locked, and never closed: a progress bar draws on a thread of its own, which may come late when the work was short.
/// </summary>
internal sealed class CapturedText : StringWriter
{
    private readonly Lock _lock = new();

    public override void Write(char value)
    {
        lock (_lock) base.Write(value);
    }

    public override void Write(char[] buffer, int index, int count)
    {
        lock (_lock) base.Write(buffer, index, count);
    }

    public override void Write(ReadOnlySpan<char> buffer)
    {
        lock (_lock) base.Write(buffer);
    }

    public override void Write(string? value)
    {
        lock (_lock) base.Write(value);
    }

    public override string ToString()
    {
        lock (_lock) return base.ToString();
    }

    protected override void Dispose(bool disposing)
    {
    }
}
