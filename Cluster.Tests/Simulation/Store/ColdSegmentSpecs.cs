namespace Cluster.Tests.Simulation.Store;

/// <summary>Segments that the cleaner fills beside the log: at no moment may a copy count that is not there, or a source be used anew that is still needed.</summary>
public sealed class ColdSegmentSpecs
{
    [Theory(DisplayName = "The power goes at each write, sync and name while the cleaner fills segments beside the log: what was synced is there, and nothing is torn")]
    [InlineData(PowerLoss.LoseAll, 1)]
    [InlineData(PowerLoss.Torn, 2)]
    [InlineData(PowerLoss.ProcessOnly, 3)]
    public void Cut_at_every_operation(PowerLoss loss, int step)
    {
        var whole = new ColdSegmentLife(0);
        whole.Overwrite();
        Assert.True(whole.Rig.Store.ColdSegments >= 3, $"{whole.Rig.Store.ColdSegments} segments were kept apart: that tests little");
        var last = whole.Rig.Disk.Operations;
        for (var operation = whole.Started + 1; operation <= last; operation += step)
        {
            var life = new ColdSegmentLife(operation);
            life.Overwrite();
            life.Rig.Disk.PowerOffAt = 0;
            life.Rig.Restart(loss);
            life.Check($"{loss} at operation {operation}");
            // It goes on, and what it has then survives too.
            life.Overwrite();
            life.Rig.Restart(PowerLoss.LoseAll);
            life.Check($"{loss} at operation {operation}, and once more");
        }
    }

    [Fact(DisplayName = "Over many seeds no block is lost or old, whenever the process or the power ends")]
    public void Random_runs()
    {
        var kept = 0L;
        for (var seed = 1; seed <= 20; seed++) kept += ColdSegmentRun.Run(seed);
        Assert.True(kept > 60, $"the runs are too tame: {kept} segments were kept apart");
    }

    [Fact(DisplayName = "A volume whose order began anew while its blocks were beside the log: they stay where they are, and no watermark from before commits anything")]
    public void Order_begins_anew()
    {
        var life = new ColdSegmentLife(0);
        var volume = life.Rig.Find();
        for (var count = 0; life.Rig.Store.ColdWaiting == 0; count++)
        {
            Assert.True(count < 100_000, "no segment of the cleaner was waiting for the log");
            life.OverwriteOne();
        }
        life.BeginAnew();
    }

    [Fact(DisplayName = "A segment beside the log that the log goes past before it is full is given back, and nothing of it counts")]
    public void Given_up()
    {
        var life = new ColdSegmentLife(0, cleanBelowPercent: 50);
        var volume = life.Rig.Find();
        for (var count = 0; life.Rig.Store.ColdFilling == 0; count++)
        {
            Assert.True(count < 100_000, "no segment was begun beside the log");
            life.OverwriteOne();
        }
        var reserved = life.Rig.Store.Segments.All.Max(segment => segment.Number) + 1 + 256;
        life.Trim(0, ColdSegmentLife.Blocks / 2);
        // With so much room the cleaner has nothing to do; the few that are written die by themselves.
        for (var count = 0; life.Rig.Store.ColdFilling > 0; count++)
        {
            Assert.True(count < 40_000, "it was kept for ever");
            life.Write(count % 16, sync: count % 512 == 0);
        }
        life.Rig.Sync(volume);
        var table = life.Rig.Store.Segments;
        Assert.Equal(table.All.Count, table.All.Count(segment => segment.Number > 0) + table.FreeCount);
        Assert.DoesNotContain(table.All, segment => segment.IsMoving);
        // Its number goes with it: what was written under that must not be taken for what the log writes.
        Assert.Equal(reserved + 1, table.All.Max(segment => segment.Number));
        Assert.DoesNotContain(table.All, segment => segment.Number == reserved);
        life.Rig.Restart(PowerLoss.LoseAll);
        life.Check("after it was given up");
    }
}
