using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Repair;

namespace Cluster.Tests.Unit.Repair;

public sealed class ScrubRunSpecs
{
    private static readonly NodeId One = new(new Guid(1, 0, 0, new byte[8]));
    private static readonly NodeId Two = new(new Guid(2, 0, 0, new byte[8]));

    /// <summary>A copy: the blocks that hold bytes, each 4,096 of them; the digest is their list.</summary>
    private static ScrubReportBody ReportOf(SortedSet<ulong> blocks, BlockRange range)
    {
        var next = blocks.Where(range.Contains).DefaultIfEmpty(range.End).First();
        if (range.Count > Limits.RecordBlocksMax) return new ScrubReportBody(0, next, 0);
        var digest = blocks.Where(range.Contains).Aggregate(17UL, (hash, block) => (hash * 31) + block);
        return new ScrubReportBody(digest, next, (ulong)blocks.Count(range.Contains) * 4096);
    }

    /// <summary>Runs to the end; answers the ranges that were read, and those that were compared.</summary>
    private static (List<BlockRange> Read, List<BlockRange> Compared) RunAll(ScrubRun run, ulong size, SortedSet<ulong> one, SortedSet<ulong> two, ulong badBlock = ulong.MaxValue)
    {
        var (read, compared) = (new List<BlockRange>(), new List<BlockRange>());
        for (ulong question = 1; run.Next(size) is { } range; question++)
        {
            Assert.True(question < 1000, "the scrub does not get on");
            if (range.Count <= Limits.RecordBlocksMax) read.Add(range);
            run.OnAsked(question, range, [One, Two]);
            Assert.Equal(ScrubStep.Wait, run.OnReport(One, 0, ReportOf(one, range)));
            var bad = range.Count <= 64 && range.Contains(badBlock) ? 1UL << (int)(badBlock - range.First) : 0;
            if (run.OnReport(Two, bad, ReportOf(two, range)) != ScrubStep.Compare) continue;
            compared.Add(run.Range);
            run.OnCompared(1, 0);
        }
        return (read, compared);
    }

    [Fact(DisplayName = "A volume of 250 TiB with three written blocks is read in three ranges; holes cost one question per 16 TiB")]
    public void Holes_are_jumped_over()
    {
        SortedSet<ulong> blocks = [5, 100_000, 60_000_000_000];
        var run = new ScrubRun(new ScrubMark(new ScrubTally(1, 0, 0, 0, 0), 0, default, 0));
        var (read, compared) = RunAll(run, 250UL << 28, blocks, blocks);
        Assert.Equal(3, read.Count(range => blocks.Any(range.Contains)));
        Assert.InRange(read.Count, 3, 6);
        Assert.Empty(compared);
        Assert.Equal(3UL * 4096, run.Mark.Now.CheckedBytes);
    }

    [Fact(DisplayName = "A range is compared where a copy has a bad block, another block, or one that only it holds")]
    public void Differences_are_found()
    {
        SortedSet<ulong> one = [.. Enumerable.Range(0, 640).Select(block => (ulong)block)];
        SortedSet<ulong> two = [.. one.Where(block => block != 70), 9000];
        var run = new ScrubRun(new ScrubMark(new ScrubTally(1, 0, 0, 0, 0), 0, default, 0));
        var (read, compared) = RunAll(run, 10_000, one, two, badBlock: 200);
        Assert.Equal([new BlockRange(64, 64), new BlockRange(192, 64), new BlockRange(9000, 64)], compared);
        Assert.All(one, block => Assert.Contains(read, range => range.Contains(block)));
        Assert.Equal(3UL, run.Mark.Now.DifferingBlocks);
        Assert.Equal((0UL, run.Mark.Now), (run.Ended(99).Cursor, run.Ended(99).Last));
        Assert.False(run.Ended(99).IsUnderWay);
    }

    [Fact(DisplayName = "A scrub that goes on from a mark reads nothing below its cursor, and keeps its counts")]
    public void A_mark_resumes()
    {
        SortedSet<ulong> blocks = [.. Enumerable.Range(0, 640).Select(block => (ulong)block)];
        var run = new ScrubRun(new ScrubMark(new ScrubTally(7, 512 * 4096, 1, 2, 3), 512, default, 0));
        var (read, _) = RunAll(run, 10_000, blocks, blocks);
        Assert.All(read, range => Assert.True(range.First >= 512));
        Assert.Equal(new ScrubTally(7, 640 * 4096, 1, 2, 3), run.Mark.Now);
    }

    [Fact(DisplayName = "Where snapshots keep something the range is asked for again for each of them, from the newest down, and nowhere else; a mark resumes before them")]
    public void Snapshots_are_asked_for()
    {
        var run = new ScrubRun(new ScrubMark(new ScrubTally(1, 0, 0, 0, 0), 0, default, 0));
        var asked = new List<(ulong First, ulong Snapshot)>();
        for (ulong question = 1; run.Next(192) is { } range; question++)
        {
            Assert.True(question < 100, "the scrub does not get on");
            var isProbe = range.Count > Limits.RecordBlocksMax;
            if (!isProbe) asked.Add((range.First, run.Snapshot));
            // One copy keeps something for 30 and 10 in the second range, the other one for 20 and 10.
            var isSecond = range.First == 64 && !isProbe;
            ulong Older(params ulong[] kept) => isSecond ? kept.Where(snapshot => run.Snapshot == 0 || snapshot < run.Snapshot).DefaultIfEmpty().Max() : 0;
            run.OnAsked(question, range, [One, Two]);
            Assert.Equal(range.First, run.Mark.Cursor);
            run.OnReport(One, 0, new ScrubReportBody(run.Snapshot, range.First, 4096, Older(30, 10)));
            if (run.OnReport(Two, 0, new ScrubReportBody(run.Snapshot == 20 ? 99 : run.Snapshot, range.First, 0, Older(20, 10))) != ScrubStep.Compare) continue;
            Assert.Equal(20UL, run.Snapshot);
            run.OnCompared(1, 0);
        }
        Assert.Equal([(0UL, 0UL), (64, 0), (64, 30), (64, 20), (64, 10), (128, 0)], asked);
        Assert.Equal((6UL * 4096, 1UL), (run.Mark.Now.CheckedBytes, run.Mark.Now.DifferingBlocks));
    }

    [Fact(DisplayName = "A copy that names no older snapshot, but the one asked for again, does not make the pass endless")]
    public void A_pass_ends()
    {
        var run = new ScrubRun(new ScrubMark(new ScrubTally(1, 0, 0, 0, 0), 0, default, 0));
        var questions = 0UL;
        while (run.Next(64) is { } range)
        {
            Assert.True(++questions < 10, "the scrub does not end");
            run.OnAsked(questions, range, [One]);
            run.OnReport(One, 0, new ScrubReportBody(0, 0, 4096, 30));
        }
    }

    [Fact(DisplayName = "Answers to a question that was given up, or of a copy that was not asked, say nothing")]
    public void Old_answers_say_nothing()
    {
        var run = new ScrubRun(new ScrubMark(new ScrubTally(1, 0, 0, 0, 0), 0, default, 0));
        run.OnAsked(1, run.Next(64)!.Value, [One]);
        Assert.Equal(ScrubStep.Wait, run.OnReport(Two, 1, default));
        run.Retry();
        Assert.Equal(ScrubStep.Wait, run.OnReport(One, 1, default));
        Assert.Equal(0UL, run.Mark.Cursor);
        Assert.False(run.IsWaiting);
    }
}

public sealed class PaceSpecs
{
    [Theory(DisplayName = "Over time no more is taken than the bound and one piece, whatever the size of the pieces")]
    [InlineData(1000, 10)]
    [InlineData(1000, 700)]
    [InlineData(1 << 30, 256 << 10)]
    public void The_bound_holds(long perSecond, int piece)
    {
        var pace = new Pace(perSecond);
        long taken = 0;
        for (long now = 1; now <= 10_001; now += 7)
        {
            while (pace.IsOpen(now))
            {
                pace.Take(piece);
                taken += piece;
            }
        }
        Assert.InRange(taken, (99 * perSecond / 10) - piece, (10 * perSecond) + (2 * piece));
    }

    [Fact(DisplayName = "An idle time becomes no burst, and a pace of nothing gives nothing")]
    public void Idle_time_is_not_saved_up()
    {
        var pace = new Pace(1000);
        Assert.True(pace.IsOpen(0));
        Assert.True(pace.IsOpen(1_000_000));
        pace.Take(201);
        Assert.False(pace.IsOpen(1_000_000));
        Assert.False(new Pace(0).IsOpen(5));
    }
}
