using Cluster.Node.Api;
using Cluster.Node.Cli;
using Cluster.Node.Cli.Output;

namespace Cluster.Tests.Unit.Cli;

public sealed class DescribeSpecs
{
    private const ulong MiB = 1UL << 20;

    [Theory(DisplayName = "What a volume keeps besides its own blocks is told with for whom: without snapshots it can only be for clones")]
    [InlineData(0, 0, "100MiB used, 50MiB on each copy")]
    [InlineData(100, 2, "100MiB used, 50MiB on each copy, and 100MiB for snapshots and clones")]
    [InlineData(100, 0, "100MiB used, 50MiB on each copy, and 100MiB for clones of deleted snapshots (myrmidon volume list -o json has their source)")]
    public void Kept(int keptMiB, int snapshots, string space)
    {
        var volume = new VolumeResource
        {
            Name = "db",
            Namespace = "default",
            Id = "1",
            SizeBytes = 1024 * MiB,
            State = "healthy",
            ReplicaCount = 1,
            InSyncMin = 1,
            Revision = "1",
            Attachment = new AttachmentResource { Mode = "shared", Generation = 0 },
            UsedBytes = 100 * MiB,
            StoredBytes = 50 * MiB,
            SnapshotBytes = (ulong)keptMiB * MiB,
            Snapshots = snapshots,
        };
        Assert.Contains(("Space", space), Describe.Lines(volume));
    }

    [Theory(DisplayName = "A scrub that has read more than was expected is not told as part of it")]
    [InlineData(86, "86MiB read")]
    [InlineData(50, "50MiB of about 50MiB read")]
    [InlineData(7, "7MiB of about 50MiB read")]
    public void Scrubbed(int doneMiB, string text) =>
        Assert.Equal(text, VolumeScrubCommand.Progress((ulong)doneMiB * MiB, new ScrubResource { State = "running", StoredBytes = 50 * MiB }));
}
