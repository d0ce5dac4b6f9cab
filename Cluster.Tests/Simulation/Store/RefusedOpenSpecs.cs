using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>An open that is refused leaves the store as it was: the next one finds the stop before it.</summary>
public sealed class RefusedOpenSpecs
{
    [Theory(DisplayName = "An open that is refused changes nothing, and the next one still knows that the last stop was in order: a checkpoint or a segment that can't be read, a checkpoint with bad bytes, a disk of another store, a new disk that can't be labelled, a copied segment, a checkpoint that can't be read where a disk is at another path than before")]
    [InlineData("checkpoint unread")]
    [InlineData("checkpoint bad")]
    [InlineData("segment unread")]
    [InlineData("strange disk")]
    [InlineData("read-only new disk")]
    [InlineData("copied segment")]
    [InlineData("moved disk")]
    public void Nothing_is_used_up(string fault)
    {
        var rig = DiskPoolSpecs.Filled(2);
        rig.StopClean();
        // Power fails, and it comes back: with the stop taken for one not in order the open would be suspect.
        rig.Options = rig.Options with { BootId = Guid.NewGuid() };
        var directories = rig.Directories;
        var mend = Break(rig, fault);
        var (operations, counted) = (rig.Disk.Operations, SuperblockOf(rig).Opens.Count);
        for (var attempt = 0; attempt < 2; attempt++)
        {
            var refused = rig.TryOpen();
            Assert.Null(refused.Store);
            Assert.NotEqual("", refused.Reason);
        }
        Assert.Equal(operations, rig.Disk.Operations);
        Assert.True(SuperblockOf(rig).CleanStop);
        Assert.Equal(counted, SuperblockOf(rig).Opens.Count);
        mend();
        rig.Directories = directories;
        rig.Open();
        Assert.False(rig.Store.Suspect);
        Assert.Equal(counted + 1, rig.Store.OpenCount);
        DiskPoolSpecs.CheckAll(rig);
    }

    [Fact(DisplayName = "A disk that is missing after a refused open is missed like after a stop in order: no volume is damaged")]
    public void Then_without_a_disk()
    {
        var rig = DiskPoolSpecs.Filled(2);
        rig.StopClean();
        rig.Directories[0].FailsReadsOf = CheckpointWriter.Name;
        Assert.Equal(IoStatus.DeviceError, rig.TryOpen().Status);
        (rig.Directories[0].FailsReadsOf, rig.Directories[1].IsGone) = ("", true);
        rig.Restart(PowerLoss.LoseAll);
        Assert.Null(rig.Find().Damage);
        Assert.Equal(DiskState.Missing, rig.Store.Disks.Single(disk => disk.Path == "d1/").State);
    }

    /// <summary>Answers what mends it.</summary>
    private static Action Break(StoreRig rig, string fault)
    {
        var (home, further) = (rig.Directories[0], rig.Directories[1]);
        switch (fault)
        {
            case "checkpoint unread":
                home.FailsReadsOf = CheckpointWriter.Name;
                return () => home.FailsReadsOf = "";
            case "checkpoint bad":
                rig.Disk.FlipBit(CheckpointWriter.Name, 8 * 10);
                return () => rig.Disk.FlipBit(CheckpointWriter.Name, 8 * 10);
            case "segment unread":
                home.FailsReadsOf = SegmentTable.Prefix;
                return () => home.FailsReadsOf = "";
            case "strange disk":
                var other = new StoreRig(77, disks: 2);
                other.Options = other.Options with { NewId = Guid.NewGuid };
                other.Open().StopClean();
                rig.Directories = [home, further, other.Directories[1]];
                return () => { };
            case "read-only new disk":
                rig.Directories = [home, further, new SimulatedDirectory(rig.Disk, "d9/") { FailsWrites = true }];
                return () => { };
            case "moved disk":
                home.FailsReadsOf = CheckpointWriter.Name;
                Move(rig, "d1/", "d5/");
                rig.Directories = [home, new SimulatedDirectory(rig.Disk, "d5/")];
                return () =>
                {
                    home.FailsReadsOf = "";
                    Move(rig, "d5/", "d1/");
                };
            default:
                var segment = rig.Disk.Names.First(name => SegmentTable.IdOf(name) is not null);
                Assert.True(rig.Disk.Open($"d1/{segment}", create: true, out _).IsOk);
                return () => rig.Disk.Delete($"d1/{segment}");
        }
    }

    private static void Move(StoreRig rig, string from, string to)
    {
        foreach (var name in rig.Disk.Names.Where(name => name.StartsWith(from, StringComparison.Ordinal)).ToArray()) rig.Disk.Rename(name, to + name[from.Length..]);
        rig.Disk.SyncDirectory();
    }

    private static Superblock SuperblockOf(StoreRig rig)
    {
        Assert.Equal(IoStatus.Ok, SuperblockFile.TryOpen(rig.Disk, out var file, out _));
        return file!.Current;
    }
}
