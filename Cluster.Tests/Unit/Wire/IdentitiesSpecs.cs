using System.Globalization;
using Cluster.Messages.Model;

namespace Cluster.Tests.Unit.Wire;

public class IdentitiesSpecs
{
    [Theory(DisplayName = "A volume's id reads back from its text")]
    [InlineData(1UL, "v1")]
    [InlineData(35UL, "vz")]
    [InlineData(36UL, "v10")]
    [InlineData(ulong.MaxValue, "v3w5e11264sgsf")]
    public void Volume_text(ulong value, string text)
    {
        Assert.Equal(text, new VolumeId(value).ToString());
        Assert.True(VolumeId.TryParse(text, out var id));
        Assert.Equal(value, id.Value);
    }

    [Theory(DisplayName = "Text that is no volume's id is refused, overflow and other spellings included")]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("v")]
    [InlineData("1")]
    [InlineData("v0")]
    [InlineData("V1")]
    [InlineData("vA")]
    [InlineData("v-1")]
    [InlineData("v 1")]
    [InlineData("v01")]
    [InlineData("v3w5e11264sgsg")]
    [InlineData("vzzzzzzzzzzzzz")]
    [InlineData("v3w5e11264sgsf0")]
    public void Volume_bad_text(string? text) => Assert.False(VolumeId.TryParse(text, out _));

    [Fact(DisplayName = "Epochs order as numbers and never wrap")]
    public void Epochs()
    {
        Assert.True(Epoch.None < new Epoch(1));
        Assert.True(new Epoch(2) >= new Epoch(2) && new Epoch(2) <= new Epoch(2) && new Epoch(3) > new Epoch(2));
        Assert.Equal(new Epoch(8), new Epoch(7).Next());
        Assert.Throws<OverflowException>(() => new Epoch(ulong.MaxValue).Next());
    }

    [Fact(DisplayName = "Ranges that only touch do not overlap")]
    public void Ranges()
    {
        var range = new BlockRange(10, 5);
        Assert.False(range.Overlaps(new BlockRange(15, 1)));
        Assert.False(range.Overlaps(new BlockRange(5, 5)));
        Assert.True(range.Overlaps(new BlockRange(14, 1)) && range.Overlaps(new BlockRange(0, 100)));
        Assert.True(range.Contains(10) && range.Contains(14) && !range.Contains(15) && !range.Contains(9));
        Assert.Equal("[10, 15)", range.ToString());
    }

    [Fact(DisplayName = "Zero is no volume and no session; ids show as operators see them in logs")]
    public void Zeroes()
    {
        Assert.False(default(VolumeId).IsValid);
        Assert.False(new SessionId(5, 0).IsValid);
        Assert.True(new SessionId(0, 1).IsValid);
        Assert.Equal("7/00000000000000ff", new SessionId(7, 255).ToString());
        Assert.Equal("r3 r3.1", string.Create(CultureInfo.InvariantCulture, $"{new ReplicaId(3)} {new ReplicaId(3, 1)}"));
    }
}
