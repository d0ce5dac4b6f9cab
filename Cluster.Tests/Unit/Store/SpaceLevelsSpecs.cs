using Cluster.Node.Store;

namespace Cluster.Tests.Unit.Store;

public sealed class SpaceLevelsSpecs
{
    [Theory(DisplayName = "The level of warning follows the data's part of the capacity, and is left only two percent below where it begins")]
    [InlineData(0, SpaceLevel.Ample, SpaceLevel.Ample)]
    [InlineData(84, SpaceLevel.Ample, SpaceLevel.Ample)]
    [InlineData(85, SpaceLevel.Ample, SpaceLevel.Low)]
    [InlineData(84, SpaceLevel.Low, SpaceLevel.Low)]
    [InlineData(82, SpaceLevel.Low, SpaceLevel.Ample)]
    [InlineData(95, SpaceLevel.Ample, SpaceLevel.Critical)]
    [InlineData(94, SpaceLevel.Low, SpaceLevel.Low)]
    [InlineData(94, SpaceLevel.Critical, SpaceLevel.Critical)]
    [InlineData(92, SpaceLevel.Critical, SpaceLevel.Low)]
    [InlineData(120, SpaceLevel.Low, SpaceLevel.Critical)]
    public void Levels(long live, SpaceLevel before, SpaceLevel expected) => Assert.Equal(expected, SpaceLevels.Of(live, 100, before));

    [Fact(DisplayName = "A store that has no capacity yet warns of nothing")]
    public void No_capacity() => Assert.Equal(SpaceLevel.Ample, SpaceLevels.Of(5, 0, SpaceLevel.Ample));
}
