using Cluster.Node.Hosting.Membership;

namespace Cluster.Tests.Unit.Hosting;

public sealed class OtherClustersSpecs
{
    [Theory(DisplayName = "Of two clusters of nodes that last, just one ends: the smaller one, and of two alike the one without the lowest address")]
    [InlineData("a", "bc")]
    [InlineData("c", "ab")]
    [InlineData("b", "a")]
    [InlineData("bd", "ac")]
    [InlineData("ab", "cde")]
    public void One_of_two_ends(string ends, string stays)
    {
        Assert.True(Looks(ends, stays, OtherClusters.LooksMin));
        Assert.False(Looks(stays, ends, OtherClusters.LooksMin));
    }

    [Fact(DisplayName = "What is seen for a while only is no other cluster: a node that was taken out and has not noticed it, or one that has just joined")]
    public void Seen_for_a_while() => Assert.False(Looks("a", "bc", OtherClusters.LooksMin - 1));

    [Fact(DisplayName = "Another process at the address begins anew, and a look without an answer too")]
    public void Looks_in_a_row()
    {
        var others = new OtherClusters();
        for (var look = 0; look < OtherClusters.LooksMin * 3; look++)
        {
            Assert.False(others.IsToEnd(["b"], look % OtherClusters.LooksMin == 0 ? [] : [("a", 1)]));
        }
        for (var look = 0; look < OtherClusters.LooksMin * 3; look++)
        {
            Assert.False(others.IsToEnd(["b"], [("a", 2 + (look / (OtherClusters.LooksMin - 1)))]));
        }
    }

    [Fact(DisplayName = "A node whose cluster has no other beside it stays")]
    public void None() => Assert.False(Looks("a", "", OtherClusters.LooksMin * 2));

    private static bool Looks(string own, string others, int looks)
    {
        var clusters = new OtherClusters();
        var ends = false;
        for (var look = 0; look < looks; look++)
        {
            ends = clusters.IsToEnd([.. own.Select(name => name.ToString())], [.. others.Select(name => (name.ToString(), 1L))]);
        }
        return ends;
    }
}
