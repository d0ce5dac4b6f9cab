using System.Collections.Immutable;
using Cluster.Messages.Model;
using Cluster.Node.Placement;

namespace Cluster.Tests.Unit.Placement;

public class OwnerChoiceSpecs
{
    private static readonly ImmutableArray<string> All = ["a", "b", "c", "d"];
    private static readonly VolumeWhereabouts Where = new(["a", "b", "c"], ["a", "b"], "");

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

    [Fact(DisplayName = "Volumes spread over their nodes, and a lost node moves only its own")]
    public void Spread()
    {
        var where = new VolumeWhereabouts(["a", "b", "c"], ["a", "b", "c"], "");
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
        Assert.Null(OwnerChoice.Better(new VolumeId(1), Where, null, "c", ["c", "d"]));
    }

    [Fact(DisplayName = "A volume that was never served moves to a node with a copy of it")]
    public void New_volumes()
    {
        var where = new VolumeWhereabouts(["b"], [], "");
        Assert.Equal("b", Better(where, null, "a"));
        Assert.Null(Better(where, null, "b"));
        Assert.Null(OwnerChoice.Better(new VolumeId(1), where, null, "a", ["a", "c"]));
        Assert.Null(Better(VolumeWhereabouts.Unknown, null, "a"));
    }

    private static string? Wanted(ulong id, VolumeWhereabouts where, string? move, IReadOnlyCollection<string> alive) =>
        OwnerChoice.Wanted(new VolumeId(id), where, move, alive);

    private static string? Better(VolumeWhereabouts where, string? move, string owner) =>
        OwnerChoice.Better(new VolumeId(1), where, move, owner, All);
}
