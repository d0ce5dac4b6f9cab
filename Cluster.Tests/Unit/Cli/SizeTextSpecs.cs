using Cluster.Node.Cli;

namespace Cluster.Tests.Unit.Cli;

public class SizeTextSpecs
{
    [Theory(DisplayName = "Sizes are read with 1024-based, 1000-based and no units")]
    [InlineData("4096", 4096UL)]
    [InlineData("1KiB", 1024UL)]
    [InlineData("10GiB", 10737418240UL)]
    [InlineData("10gib", 10737418240UL)]
    [InlineData("1.5GiB", 1610612736UL)]
    [InlineData("500MB", 500000000UL)]
    [InlineData("250 TiB", 274877906944000UL)]
    [InlineData("512B", 512UL)]
    public void Sizes_are_read(string text, ulong bytes)
    {
        Assert.True(SizeText.TryParse(text, out var read, out var reason), reason);
        Assert.Equal(bytes, read);
    }

    [Theory(DisplayName = "What is not a size is refused by a sentence that says what would be right")]
    [InlineData("", "such as 10GiB")]
    [InlineData("big", "such as 10GiB")]
    [InlineData("-1GiB", "such as 10GiB")]
    [InlineData("10G", "write GiB (1024-based) or GB (1000-based).")]
    [InlineData("10Mi", "write MiB (1024-based) or MB (1000-based).")]
    [InlineData("10XB", "use KiB, MiB, GiB")]
    [InlineData("0.3B", "not a whole number of bytes")]
    [InlineData("99999999999PiB", "not a whole number of bytes that a volume can have")]
    public void Others_are_refused(string text, string sentence)
    {
        Assert.False(SizeText.TryParse(text, out _, out var reason));
        Assert.Contains(sentence, reason, StringComparison.Ordinal);
    }

    [Theory(DisplayName = "Sizes are written in the largest unit that fits")]
    [InlineData(0UL, "0B")]
    [InlineData(1023UL, "1023B")]
    [InlineData(1536UL, "1.50KiB")]
    [InlineData(10737418240UL, "10GiB")]
    public void Sizes_are_written(ulong bytes, string text) => Assert.Equal(text, SizeText.Format(bytes));

    [Theory(DisplayName = "The nearest name within a third of its length is suggested")]
    [InlineData("lst", "list")]
    [InlineData("databse", "database")]
    [InlineData("zzz", null)]
    public void Near_misses_are_found(string text, string? near) => Assert.Equal(near, NearMiss.Of(text, ["list", "show", "database"]));
}
