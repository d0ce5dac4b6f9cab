using Cluster.Node.Hosting.Membership;

namespace Cluster.Tests.Unit.Hosting;

public sealed class TakenOutSpecs
{
    [Theory(DisplayName = "A node believes that it was taken out when most of the others say so, and not a few of them")]
    [InlineData(1, 1, true)]
    [InlineData(1, 2, false)]
    [InlineData(2, 2, true)]
    [InlineData(2, 4, false)]
    [InlineData(3, 4, true)]
    [InlineData(0, 0, false)]
    public void Most_of_the_others(int refusers, int others, bool takenOut) =>
        Assert.Equal(takenOut, MembershipWatch.IsTakenOut(refusers, others));
}
