using System.Collections.Immutable;
using Cluster.Messages.Model;
using Cluster.Node.Api;
using Cluster.Node.Owner;

namespace Cluster.Tests.Unit.Owner;

public sealed class SnapshotScheduleSpecs
{
    private const ulong Minute = 60_000;
    private const ulong Hour = 60 * Minute;

    /// <summary>2026-11-29 01:47:10 UTC.</summary>
    private const ulong Now = 1_795_916_830_000;

    [Fact(DisplayName = "Without labels nothing is made and nothing deleted")]
    public void Nothing_is_done() => Assert.Same(SnapshotPlan.Nothing, SnapshotSchedule.Plan(Of(("auto-a", Now - (99 * Hour))), null, null, Now));

    [Fact(DisplayName = "The first snapshot is due at once, and its name is its time and one that users could write")]
    public void First_is_due()
    {
        var plan = SnapshotSchedule.Plan(Of(("mine", Now - Minute)), TimeSpan.FromHours(1), null, Now);
        Assert.Equal("auto-20261129t014710z", plan.Create);
        Assert.True(SnapshotSchedule.IsScheduled(plan.Create!));
        Assert.True(VolumeName.IsLabel(plan.Create!, "snapshot name", out _));
        Assert.Equal(SnapshotSchedule.LookMax, plan.Next);
    }

    [Theory(DisplayName = "The next one is due a period after the last, whoever made that; what is due long ago is made once")]
    [InlineData(0, 60_000)]
    [InlineData(59, 60_000)]
    [InlineData(59.5, 30_000)]
    [InlineData(60, null)]
    [InlineData(1000, null)]
    public void Rhythm(double minutesAgo, int? waitMs)
    {
        var plan = SnapshotSchedule.Plan(Of(("auto-a", Now - (ulong)(minutesAgo * Minute)), ("mine", Now)), TimeSpan.FromHours(1), null, Now);
        Assert.Equal(waitMs is null, plan.Create is not null);
        Assert.Equal(TimeSpan.FromMilliseconds(waitMs ?? 60_000), plan.Next);
    }

    [Fact(DisplayName = "One from the future, made by a clock that was wrong, does not stop the schedule; one from a clock that is a little ahead counts")]
    public void Future()
    {
        Assert.NotNull(SnapshotSchedule.Plan(Of(("auto-a", Now + (2 * Hour))), TimeSpan.FromHours(1), null, Now).Create);
        Assert.Null(SnapshotSchedule.Plan(Of(("auto-a", Now + 2000)), TimeSpan.FromHours(1), null, Now).Create);
    }

    [Fact(DisplayName = "The oldest of the schedule's own beyond snapshot-keep go, 24 stay when only snapshot-every is set, and those of users count for nothing")]
    public void Surplus()
    {
        var some = Of([.. Enumerable.Range(0, 30).Select(number => ($"auto-{number}", Now)), ("mine", Now)]);
        Assert.Equal(["auto-0", "auto-1", "auto-2", "auto-3", "auto-4", "auto-5"], Deleted(SnapshotSchedule.Plan(some, TimeSpan.FromHours(1), null, Now)));
        Assert.Equal(["auto-0"], Deleted(SnapshotSchedule.Plan(some, null, 29, Now)));
        Assert.Empty(SnapshotSchedule.Plan(some, TimeSpan.FromHours(1), 30, Now).Delete);
        Assert.Null(SnapshotSchedule.Plan(some, null, 30, Now).Next);
    }

    [Fact(DisplayName = "A label that is lowered by much takes several looks")]
    public void Deletions_are_bounded()
    {
        var many = Of([.. Enumerable.Range(0, 100).Select(number => ($"auto-{number}", Now))]);
        var plan = SnapshotSchedule.Plan(many, null, 1, Now);
        Assert.Equal(SnapshotSchedule.DeletedAtOnceMax, plan.Delete.Length);
        Assert.Equal(TimeSpan.FromSeconds(1), plan.Next);
    }

    [Theory(DisplayName = "Users can't take names of the schedule, nor names that no volume could have")]
    [InlineData("auto-mobile", "names that begin with \"auto-\" are the schedule's")]
    [InlineData("Monday", "The snapshot name \"Monday\" is not valid")]
    [InlineData("automobile", null)]
    public void Names(string name, string? refusal)
    {
        var failure = RequestChecks.Check(new CreateSnapshotRequest { Name = name });
        if (refusal is null) Assert.Null(failure);
        else Assert.Contains(refusal, failure!.Reason, StringComparison.Ordinal);
    }

    private static IEnumerable<string> Deleted(SnapshotPlan plan) => plan.Delete.Select(snapshot => snapshot.Name);

    private static ImmutableArray<VolumeSnapshot> Of(params (string Name, ulong UnixMs)[] snapshots) =>
        [.. snapshots.Select((snapshot, index) => new VolumeSnapshot((ulong)index + 1, snapshot.Name, snapshot.UnixMs))];
}
