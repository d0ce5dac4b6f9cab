using Cluster.Node.Store;

namespace Cluster.Tests.Unit.Store;

public sealed class CleanerPolicySpecs
{
    private const long Segment = 4 << 20;

    [Fact(DisplayName = "Of two segments of one age the emptier one is cleaned, of two equally full ones the older")]
    public void Choice()
    {
        Assert.True(CleanerPolicy.Score(Segment / 2, Segment, Segment) > CleanerPolicy.Score(Segment * 3 / 4, Segment, Segment));
        Assert.True(CleanerPolicy.Score(Segment / 2, Segment, 9 * Segment) > CleanerPolicy.Score(Segment / 2, Segment, Segment));
    }

    [Fact(DisplayName = "A cold segment is cleaned though a hot one is emptier, as long as that one goes on dying; where all blocks die at one rate, the emptiest is cleaned")]
    public void Cold_before_hot()
    {
        Assert.True(CleanerPolicy.Score(Segment * 8 / 10, Segment, 100 * Segment) > CleanerPolicy.Score(Segment * 6 / 10, Segment, 10 * Segment));
        var before = 0.0;
        for (var age = 1; age < 40; age++)
        {
            var score = CleanerPolicy.Score((long)(Segment * Math.Exp(-0.05 * age)), Segment, age * Segment);
            Assert.True(score > before, $"age {age}: {score} after {before}");
            before = score;
        }
    }

    [Fact(DisplayName = "What blocks take beside their bytes counts: a segment of small packed blocks is not moved again and again")]
    public void Overhead()
    {
        const int blocks = (int)(Segment / 136);
        Assert.False(CleanerPolicy.IsWorth(CleanerPolicy.Occupied(blocks * 100L, blocks), Segment));
        Assert.True(CleanerPolicy.IsWorth(CleanerPolicy.Occupied(blocks * 80L, blocks * 8 / 10), Segment));
    }

    [Fact(DisplayName = "What is noted of copies in memory is a quarter of their segment at most; a source of blocks so small that they would reach that first does not go beside the log")]
    public void Notes()
    {
        Assert.Equal(262_144, CleanerPolicy.MovesMax(64 << 20));
        Assert.False(CleanerPolicy.IsDense(512 * 4096, 512));
        Assert.False(CleanerPolicy.IsDense(512 * 476, 512));
        Assert.True(CleanerPolicy.IsDense(512 * 475, 512));
    }

    [Fact(DisplayName = "The cleaner goes on twice as fast as clients use up what it gains, and waits while they write nothing")]
    public void Pace()
    {
        Assert.Equal(0, CleanerPolicy.Allowance(0, Segment / 2, Segment));
        // Half of the source is free: when clients have written a quarter of a segment, all of it may have been read.
        Assert.Equal(Segment, CleanerPolicy.Allowance(Segment / 4, Segment / 2, Segment));
        Assert.True(CleanerPolicy.Allowance(Segment / 20, Segment * 95 / 100, Segment) >= Segment * 9 / 10);
    }

    [Fact(DisplayName = "The backlog is what is moved until so many segments are gained, and 0 when none is missing")]
    public void Backlog()
    {
        Assert.Equal(0, CleanerPolicy.Backlog(0, Segment / 2, Segment));
        Assert.Equal(3 * Segment, CleanerPolicy.Backlog(3, Segment / 2, Segment));
        Assert.Equal(0, CleanerPolicy.Backlog(-5, Segment / 2, Segment));
    }
}
