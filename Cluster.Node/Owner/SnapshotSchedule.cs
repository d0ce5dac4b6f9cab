using System.Collections.Immutable;
using System.Globalization;
using Cluster.Messages.Model;

namespace Cluster.Node.Owner;

/// <summary>What is to be done for a volume's schedule now.</summary>
/// <param name="Create">Name of the snapshot that is due; null: none is.</param>
/// <param name="Delete">Surplus ones of the schedule, from the oldest on, at most <see cref="SnapshotSchedule.DeletedAtOnceMax"/>.</param>
/// <param name="Next">When to look again; null: there is no schedule.</param>
public sealed record SnapshotPlan(string? Create, ImmutableArray<VolumeSnapshot> Delete, TimeSpan? Next)
{
    public static readonly SnapshotPlan Nothing = new(null, [], null);
}

/// <summary>
/// Snapshots by the labels snapshot-every and snapshot-keep. Pure: the times are those that the journal has, so that a new owner goes on in the rhythm of the one before. Only
/// names that begin with <see cref="Prefix"/> count, and only such ones are deleted.
/// </summary>
public static class SnapshotSchedule
{
    /// <summary>Reserved for the schedule: a user's own snapshot under such a name would be deleted by it.</summary>
    public const string Prefix = "auto-";

    /// <summary>How many are kept when only snapshot-every is set.</summary>
    public const int KeepDefault = 24;

    /// <summary>Each deletion is an event in the journal; a label that was lowered by much takes several looks.</summary>
    public const int DeletedAtOnceMax = 32;

    /// <summary>Between two looks at most: the clock may jump, and what was due may have been refused.</summary>
    public static readonly TimeSpan LookMax = TimeSpan.FromMinutes(1);

    private static readonly TimeSpan DeletePause = TimeSpan.FromSeconds(1);

    public static bool IsScheduled(string name) => name.StartsWith(Prefix, StringComparison.Ordinal);

    public static string NameAt(ulong unixMs) =>
        Prefix + DateTimeOffset.FromUnixTimeMilliseconds((long)unixMs).ToString("yyyyMMdd't'HHmmss'z'", CultureInfo.InvariantCulture);

    /// <param name="snapshots">Ascending by sequence.</param>
    public static SnapshotPlan Plan(ImmutableArray<VolumeSnapshot> snapshots, TimeSpan? every, int? keep, ulong nowUnixMs)
    {
        if (every is null && keep is null) return SnapshotPlan.Nothing;
        var scheduled = snapshots.Where(snapshot => IsScheduled(snapshot.Name)).ToImmutableArray();
        var surplus = Math.Max(0, scheduled.Length - (keep ?? KeepDefault));
        var delete = scheduled[..Math.Min(surplus, DeletedAtOnceMax)];
        TimeSpan? next = surplus > DeletedAtOnceMax ? DeletePause : null;
        if (every is not { } period) return new SnapshotPlan(null, delete, next);
        var wait = UntilDue(scheduled, (ulong)period.TotalMilliseconds, nowUnixMs);
        return new SnapshotPlan(wait == TimeSpan.Zero ? NameAt(nowUnixMs) : null, delete, next ?? (wait > TimeSpan.Zero && wait < LookMax ? wait : LookMax));
    }

    /// <summary>Zero: it is due. One from further in the future than a period was made by a clock that was wrong, and does not count.</summary>
    private static TimeSpan UntilDue(ImmutableArray<VolumeSnapshot> scheduled, ulong periodMs, ulong nowUnixMs)
    {
        Invariant.That(periodMs > 0, "a schedule without a period");
        var last = scheduled.Select(snapshot => snapshot.UnixMs).Where(time => time <= nowUnixMs + periodMs).DefaultIfEmpty().Max();
        var due = last == 0 ? 0 : last + periodMs;
        return due <= nowUnixMs ? TimeSpan.Zero : TimeSpan.FromMilliseconds(due - nowUnixMs);
    }
}
