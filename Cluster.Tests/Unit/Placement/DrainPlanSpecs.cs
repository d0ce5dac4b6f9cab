using Cluster.Messages.Model;
using Cluster.Node.Placement;

namespace Cluster.Tests.Unit.Placement;

public sealed class DrainPlanSpecs
{
    private static readonly DrainTarget[] AllUp = [new("a", true, false), new("b", true, false), new("c", true, false)];

    [Fact(DisplayName = "Owners leave for nodes with an in-sync copy, spread over them; what others own stays")]
    public void Owners_leave()
    {
        var volumes = Enumerable.Range(1, 100).Select(number => Volume(number, "a")).Append(Volume(101, "b")).ToArray();
        var plan = DrainPlan.Of("a", volumes, AllUp, forRestart: false);
        Assert.Equal((100, "", false), (plan.Owned, plan.Refusal, plan.IsDone));
        Assert.Equal(100, plan.Moves.Length);
        Assert.All(plan.Moves, move => Assert.Contains(move.Target, (string[])["b", "c"]));
        Assert.InRange(plan.Moves.Count(move => move.Target == "b"), 25, 75);
        Assert.True(DrainPlan.Of("c", volumes, AllUp, forRestart: false).IsDone);
    }

    [Fact(DisplayName = "Nothing moves to a node that is cordoned or down, or to a copy that is not in sync; the wait says which")]
    public void Unfit_nodes_are_waited_for()
    {
        DrainTarget[] targets = [new("a", true, true), new("b", true, true), new("c", false, false), new("d", true, false)];
        var volume = new DrainVolume(new VolumeId(1), "db", "a", [("a", "in-sync"), ("b", "in-sync"), ("c", "in-sync"), ("d", "catching-up")]);
        var plan = DrainPlan.Of("a", [volume], targets, forRestart: false);
        Assert.Empty(plan.Moves);
        Assert.Equal("volume db can move nowhere yet: its copy on b is cordoned, on c is down, on d is catching-up", Assert.Single(plan.Waits));
        Assert.Equal(("", false), (plan.Refusal, plan.IsDone));
    }

    [Fact(DisplayName = "A node that holds a volume's only copy is not drained, and the refusal names the volumes")]
    public void Only_copies_refuse()
    {
        var volumes = Enumerable.Range(1, 7).Select(number => Volume(number, "a") with { Copies = [("a", "in-sync")] }).ToArray();
        var plan = DrainPlan.Of("a", volumes, AllUp, forRestart: false);
        Assert.Empty(plan.Moves);
        Assert.StartsWith("Node a can't be drained: it holds the only copy of v1, v2, v3, v4, v5 and 2 more;", plan.Refusal, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "Before a restart an only copy refuses nothing: what can move moves, and what can't is named")]
    public void Only_copies_stay()
    {
        var single = Volume(1, "a") with { Copies = [("a", "in-sync")] };
        var plan = DrainPlan.Of("a", [single, Volume(2, "a")], AllUp, forRestart: true);
        Assert.Equal(new VolumeId(2), Assert.Single(plan.Moves).Volume.Id);
        Assert.Equal((1, "", false), (plan.Owned, plan.Refusal, plan.IsDone));
        Assert.Equal("volume v1 has its only copy on a, and waits until that is back", Assert.Single(plan.Stays));
        foreach (var volume in new[] { single, single with { Owner = "" } }) Assert.True(DrainPlan.Of("a", [volume], AllUp, forRestart: true).IsDone);
        Assert.False(DrainPlan.Of("a", [single with { Owner = "" }], AllUp, forRestart: false).IsDone);
    }

    [Fact(DisplayName = "A volume that nobody serves just now, and that the node may come to own, is waited for")]
    public void Ownerless_volumes_are_waited_for()
    {
        Assert.False(DrainPlan.Of("a", [Volume(1, "")], AllUp, forRestart: false).IsDone);
        Assert.True(DrainPlan.Of("d", [Volume(1, "")], AllUp, forRestart: false).IsDone);
    }

    private static DrainVolume Volume(int number, string owner) =>
        new(new VolumeId((ulong)number), $"v{number}", owner, [("a", "in-sync"), ("b", "in-sync"), ("c", "in-sync")]);
}
