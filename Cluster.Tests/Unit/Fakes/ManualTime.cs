namespace Cluster.Tests.Unit.Fakes;

/// <summary>A clock that stands still until it is set.</summary>
internal sealed class ManualTime : TimeProvider
{
    public DateTimeOffset Now { get; set; } = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    /// <summary>Of the monotonic clock, which stands still too.</summary>
    public TimeSpan Since { get; set; } = TimeSpan.FromHours(1);

    public override DateTimeOffset GetUtcNow() => Now;

    public override long GetTimestamp() => (long)(Since.TotalSeconds * TimestampFrequency);
}
