using System.Collections.Immutable;
using Cluster.Messages.Model;
using Cluster.Node.Placement;

namespace Cluster.Tests.Unit.Placement;

public class OwnerChoiceSpecs
{
    private static readonly ImmutableArray<string> All = ["a", "b", "c", "d"];
    private static readonly VolumeWhereabouts Where = new(["a", "b", "c"], ["a", "b"]);

    [Fact(DisplayName = "The owner is where an in-sync copy is alive, else where any copy is, else nowhere in particular")]
    public void Order()
    {
        for (ulong id = 1; id < 100; id++)
        {
            Assert.Contains(Wanted(id, Where, null, All), new[] { "a", "b" });
            Assert.Equal("b", Wanted(id, Where, null, ["b", "c", "d"]));
            Assert.Equal("c", Wanted(id, Where, null, ["c", "d"]));
            Assert.Null(Wanted(id, Where, null, ["d"]));
            Assert.Null(Wanted(id, VolumeWhereabouts.Unknown, null, All));
        }
    }

    [Fact(DisplayName = "A move and an exclusive attachment win where the node has an in-sync copy")]
    public void Wishes()
    {
        Assert.Equal("b", Wanted(1, Where with { Attached = "b" }, null, All));
        Assert.Equal("a", Wanted(1, Where with { Attached = "b" }, "a", All));
        Assert.Contains(Wanted(1, Where with { Attached = "c" }, "d", All), new[] { "a", "b" });
    }

    [Fact(DisplayName = "Who claimed a volume early keeps it, although it is attached elsewhere, and its shard follows")]
    public void Early_claims()
    {
        foreach (var node in new[] { "a", "b" })
        {
            Assert.Equal(node, Wanted(1, Where with { Attached = "a" }, null, All, early: node));
            Assert.Equal(node, Better(Where with { Attached = "a" }, null, "c", servedBy: node));
        }
        Assert.Equal("b", Wanted(1, Where, null, ["b", "c"], early: "a"));
        Assert.Equal("b", Better(Where, null, "a", servedBy: "b"));
        Assert.Null(Better(Where, null, "a", servedBy: "c"));
    }

    [Fact(DisplayName = "A volume whose owner has no shard is moved only once the shard has followed, and goes where it was taken away for")]
    public void Moves_of_early_claims()
    {
        Assert.Equal("b", Wanted(1, Where, "a", All, early: "b"));
        Assert.Equal("a", Wanted(1, Where, "a", All, early: "b", handedTo: "a"));
        Assert.Equal("b", Wanted(1, Where, "a", All, early: "b", handedTo: "c"));
        Assert.Equal("b", Wanted(1, Where, "a", ["b", "c"], early: "b", handedTo: "a"));
        Assert.Equal("a", Better(Where, "a", "b", servedBy: "b"));
        Assert.Equal("b", Better(Where, "a", "c", servedBy: "b"));
        Assert.Equal("b", Better(Where, "a", "a", servedBy: "b"));
    }

    [Fact(DisplayName = "The last claimer counts only where its predecessor was heard of: after a restart of the cluster the attached node comes first again")]
    public void Claims_of_former_times()
    {
        var claimed = Where with { Attached = "a", Claimer = "b", Epoch = 7 };
        Assert.Null(OwnerChoice.EarlyClaimer(claimed, null));
        Assert.Equal("a", Wanted(1, claimed, null, All, early: OwnerChoice.EarlyClaimer(claimed, null)));
        Assert.Equal("b", OwnerChoice.EarlyClaimer(claimed, new OwnerSight("c", 6, Serves: true)));
        Assert.Equal("b", OwnerChoice.EarlyClaimer(claimed, new OwnerSight("c", 6, Serves: false)));
        Assert.Equal("b", OwnerChoice.EarlyClaimer(claimed, new OwnerSight("b", 7, Serves: true)));
        Assert.Null(OwnerChoice.EarlyClaimer(claimed, new OwnerSight("b", 7, Serves: false)));
        Assert.Null(OwnerChoice.ServedBy(claimed, new OwnerSight("c", 6, Serves: true)));
        Assert.Null(OwnerChoice.ServedBy(claimed, new OwnerSight("", 7, Serves: true)));
        Assert.Equal("c", OwnerChoice.ServedBy(claimed, new OwnerSight("c", 8, Serves: true)));
    }

    [Fact(DisplayName = "The order in which nodes take over begins with the attached one and has the in-sync ones only")]
    public void Takeover_order()
    {
        Assert.Equal(["a", "b"], OwnerChoice.Order(new VolumeId(1), Where).Order());
        Assert.Equal(["b", "a"], OwnerChoice.Order(new VolumeId(1), Where with { Attached = "b" }));
        Assert.Equal(["a", "b"], OwnerChoice.Order(new VolumeId(1), Where with { Attached = "a" }));
    }

    [Fact(DisplayName = "Volumes spread over their nodes, and a lost node moves only its own")]
    public void Spread()
    {
        var where = new VolumeWhereabouts(["a", "b", "c"], ["a", "b", "c"]);
        var before = Enumerable.Range(1, 300).ToDictionary(id => id, id => Wanted((ulong)id, where, null, All));
        Assert.All(new[] { "a", "b", "c" }, node => Assert.InRange(before.Values.Count(owner => owner == node), 60, 140));
        foreach (var (id, owner) in before.Where(volume => volume.Value != "a"))
            Assert.Equal(owner, Wanted((ulong)id, where, null, ["b", "c", "d"]));
    }

    [Fact(DisplayName = "A running volume moves only for a wish, or off a node without an in-sync copy")]
    public void Running_volumes()
    {
        Assert.Null(Better(Where, null, "a"));
        Assert.Null(Better(Where, null, "b"));
        Assert.Contains(Better(Where, null, "c"), new[] { "a", "b" });
        Assert.Equal("b", Better(Where, "b", "a"));
        Assert.Null(Better(Where, "c", "a"));
        Assert.Null(Better(Where, "b", "b"));
        Assert.Null(Better(Where with { InSync = [] }, null, "c"));
        Assert.Null(OwnerChoice.Better(new VolumeId(1), Where, null, null, "c", ["c", "d"]));
    }

    [Fact(DisplayName = "A volume that was never served moves to a node with a copy of it")]
    public void New_volumes()
    {
        var where = new VolumeWhereabouts(["b"], []);
        Assert.Equal("b", Better(where, null, "a"));
        Assert.Null(Better(where, null, "b"));
        Assert.Null(OwnerChoice.Better(new VolumeId(1), where, null, null, "a", ["a", "c"]));
        Assert.Null(Better(VolumeWhereabouts.Unknown, null, "a"));
    }

    private static string? Wanted(
        ulong id, VolumeWhereabouts where, string? move, IReadOnlyCollection<string> alive, string? early = null, string? handedTo = null) =>
        OwnerChoice.Wanted(new VolumeId(id), where, handedTo, early, move, alive);

    private static string? Better(VolumeWhereabouts where, string? move, string owner, string? servedBy = null) =>
        OwnerChoice.Better(new VolumeId(1), where, move, servedBy, owner, All);
}
