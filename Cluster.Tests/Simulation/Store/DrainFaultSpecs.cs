using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>What fails while a disk is drained, and after it: nothing is lost without a word, and nothing is left half done.</summary>
public sealed class DrainFaultSpecs
{
    private const int Blocks = 150;
    private const long SegmentBytes = StoreOptions.SegmentBytesMin;

    [Theory(DisplayName = "A missing disk that has nothing of the log, since it was drained or gone on without before, hides no loss of a segment elsewhere: the volumes say that they are damaged")]
    [InlineData(true)]
    [InlineData(false)]
    public void Loss_elsewhere(bool isDrained)
    {
        var rig = new StoreRig(2, new StoreOptions { CapacityBytes = 64 * SegmentBytes, CheckpointIntervalBytes = 300_000 }, disks: 3);
        DiskPoolSpecs.Fill(rig.Open(), Blocks);
        if (isDrained)
        {
            DrainSpecs.Drain(rig);
            DrainSpecs.UntilDrained(rig);
        }
        rig.StopClean();
        (rig.Directories[1].IsGone, rig.Directories[1].IsStillNamed) = (true, true);
        rig.Open();
        Assert.Null(rig.Find().Damage);
        var written = rig.Store.CheckpointsWritten;
        for (var block = 0UL; rig.Store.CheckpointsWritten == written; block++)
        {
            Assert.True(block < 1000, "no checkpoint is made");
            Overwrite(rig, block);
        }
        for (var block = 0UL; block < 5; block++) Overwrite(rig, block);
        var newest = rig.Store.Segments.All.MaxBy(segment => segment.Number)!.Name;
        rig.Disk.Restart(PowerLoss.LoseAll);
        rig.Disk.Delete(rig.Disk.Names.Single(name => name.EndsWith(newest, StringComparison.Ordinal)));
        rig.Disk.SyncDirectory();
        rig.Open();
        Assert.Contains("is missing", rig.Find().Damage, StringComparison.Ordinal);
    }

    [Theory(DisplayName = "After a stop in order no kill of an open without a disk damages anything, wherever the log ended and however early it comes")]
    [InlineData(PowerLoss.ProcessOnly)]
    [InlineData(PowerLoss.LoseAll)]
    public void Killed_without_it(PowerLoss loss)
    {
        for (var at = 1; at <= 2; at++)
        {
            for (var more = 1; more <= 80; more += 11)
            {
                var rig = DiskPoolSpecs.FilledBehindCheckpoint(3, 100 + more);
                rig.StopClean();
                rig.Directories[at].IsGone = true;
                rig.Open();
                for (var kill = 0; kill < 3; kill++)
                {
                    rig.Restart(loss);
                    Assert.Null(rig.Find().Damage);
                }
                rig.Directories[at].IsGone = false;
                rig.Restart(loss);
                Assert.Null(rig.Find().Damage);
                DiskPoolSpecs.CheckAll(rig, 100 + more);
            }
        }
    }

    [Fact(DisplayName = "A drain of an empty disk whose note fails may be on media all the same: nothing is put there until a note without it is; then the disk is used again")]
    public void Half_noted()
    {
        var rig = DiskPoolSpecs.FilledBehindCheckpoint(2, Blocks);
        DrainSpecs.Drain(rig);
        DrainSpecs.UntilDrained(rig);
        Assert.Equal(IoStatus.Ok, DrainSpecs.Drain(rig, drains: false).Status);
        Assert.Equal(0, DrainSpecs.Disk(rig).Segments);
        rig.Disk.FailSyncs = 1;
        Assert.Equal(IoStatus.DeviceError, DrainSpecs.Drain(rig).Status);
        Assert.Equal(0, rig.Disk.FailSyncs);
        rig.Disk.FullFor = DiskRosterFile.Name;
        DiskPoolSpecs.Fill(rig, 600);
        Assert.Equal((DiskState.InUse, 0), (DrainSpecs.Disk(rig).State, DrainSpecs.Disk(rig).Segments));
        Assert.Contains("list of disks", DrainSpecs.Disk(rig).Problem, StringComparison.Ordinal);
        rig.Disk.FullFor = "";
        rig.Loop.Advance(2000);
        Assert.Equal("", DrainSpecs.Disk(rig).Problem);
        DiskPoolSpecs.Fill(rig, 600);
        Assert.True(DrainSpecs.Disk(rig).Segments > 0);
        rig.Disk.Restart(PowerLoss.LoseAll);
        (rig.Directories[1].IsGone, rig.Directories[1].IsStillNamed) = (true, true);
        Assert.Equal(IoStatus.Conflict, rig.TryOpen().Status);
    }

    [Fact(DisplayName = "A disk is noted as empty only when it is known on media that it is drained: a note that fails half way never says both")]
    public void Empty_comes_later()
    {
        var rig = DiskPoolSpecs.FilledBehindCheckpoint(2, Blocks);
        DrainSpecs.Drain(rig);
        DrainSpecs.UntilDrained(rig);
        DrainSpecs.Drain(rig, drains: false);
        var answer = (DrainAnswer?)null;
        var entries = new List<RosterEntry>();
        rig.Store.Drain(DrainSpecs.Disk(rig).Id, drains: true, given =>
        {
            answer = given;
            Assert.Equal(IoStatus.Ok, DiskRosterFile.TryRead(rig.Directories[0], out var roster, out _));
            entries.Add(roster!.Entries.Single());
        });
        rig.Loop.Settle();
        Assert.Equal(IoStatus.Ok, answer!.Status);
        Assert.Equal((true, false), (entries[0].Drained, entries[0].Empty));
        rig.Loop.Advance(2000);
        Assert.Equal(DiskState.Drained, DrainSpecs.Disk(rig).State);
    }

    [Fact(DisplayName = "When the log leaves a disk and its first write elsewhere fails, the store fails, and no stop is called in order whose end was never written")]
    public void Leaving_fails()
    {
        var rig = DiskPoolSpecs.Filled(2);
        var volume = rig.Find();
        for (var block = 0UL; rig.Store.Segments.All.MaxBy(segment => segment.Number)!.Disk != DrainSpecs.Disk(rig).Id; block++) Overwrite(rig, block);
        volume.Commit(volume.LastSequence);
        rig.Sync(volume);
        rig.Directories[0].FailsWritesOf = SegmentTable.Prefix;
        rig.Store.Drain(DrainSpecs.Disk(rig).Id, drains: true, _ => { });
        rig.Loop.Advance(3000);
        Assert.NotNull(rig.Store.FailureReason);
        Assert.NotEmpty(rig.Events.Failed);
        rig.Directories[0].FailsWritesOf = "";
        rig.StopClean();
        rig.Open();
        Assert.Null(rig.Find().Damage);
        DiskPoolSpecs.CheckAll(rig, 300);
    }

    [Fact(DisplayName = "An order that another one takes back is answered, and its disk is used again, also while another disk's note is under way")]
    public void Taken_back()
    {
        var rig = DiskPoolSpecs.Filled(3);
        var answers = new Dictionary<string, DrainAnswer>();
        rig.Store.Drain(DrainSpecs.Disk(rig).Id, drains: true, answer => answers.Add("A", answer));
        rig.Store.Drain(DrainSpecs.Disk(rig, "d2/").Id, drains: true, answer => answers.Add("B", answer));
        rig.Store.Drain(DrainSpecs.Disk(rig, "d2/").Id, drains: false, answer => answers.Add("B back", answer));
        rig.Loop.Settle();
        Assert.Equal(IoStatus.Ok, answers["A"].Status);
        Assert.Equal(IoStatus.Ok, answers["B back"].Status);
        Assert.Equal(IoStatus.Conflict, answers["B"].Status);
        Assert.Contains("taken back", answers["B"].Reason, StringComparison.Ordinal);
        Assert.Equal((DiskState.InUse, ""), (DrainSpecs.Disk(rig, "d2/").State, DrainSpecs.Disk(rig, "d2/").Problem));
        var before = DrainSpecs.Disk(rig, "d2/").Segments;
        DiskPoolSpecs.Fill(rig, 1000);
        Assert.True(DrainSpecs.Disk(rig, "d2/").Segments > before);
    }

    [Theory(DisplayName = "Segments that can't be deleted, and a directory that can't be synced, are tried again; until that has worked the disk does not count as empty")]
    [InlineData(true)]
    [InlineData(false)]
    public void Tried_again(bool deletes)
    {
        var rig = DiskPoolSpecs.Filled(2);
        if (deletes) rig.Directories[1].FailDeletes = 1000;
        else rig.Directories[1].FailDirectorySyncs = 1000;
        DrainSpecs.Drain(rig);
        for (var step = 0; step < 200; step++) rig.Loop.Advance(200);
        Assert.Equal(DiskState.Draining, DrainSpecs.Disk(rig).State);
        Assert.True(rig.Directories[1].FailDeletes + rig.Directories[1].FailDirectorySyncs is > 500 and < 998, "it is tried never, or all the time");
        (rig.Directories[1].FailDeletes, rig.Directories[1].FailDirectorySyncs) = (0, 0);
        DrainSpecs.UntilDrained(rig);
        Assert.DoesNotContain(rig.Disk.Names, name => name.StartsWith("d1/segment-", StringComparison.Ordinal));
        DiskPoolSpecs.CheckAll(rig);
    }

    [Fact(DisplayName = "Random drains under writes, with losses of power and disks that are taken away: nothing is lost, and a segment that is lost otherwise is told")]
    public void At_random()
    {
        var taken = 0;
        for (var seed = 1; seed <= 60; seed++)
        {
            var run = new DrainRun(seed);
            run.Execute();
            taken += run.Taken;
        }
        Assert.True(taken > 20, $"too tame: {taken} disks were taken away");
    }

    private static void Overwrite(StoreRig rig, ulong block)
    {
        var volume = rig.Find();
        Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, block % Blocks, StoreRig.Bytes(block % Blocks), watermark: volume.CommitWatermark));
        volume.Commit(volume.LastSequence);
        rig.Sync(volume);
    }
}
