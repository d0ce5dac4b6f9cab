using Cluster.Messages.Model;
using Cluster.Node.Placement;

namespace Cluster.Tests.Unit.Placement;

public class VolumeLabelsSpecs
{
    [Fact(DisplayName = "Without labels the policy is: soft, compressed, five minutes of hold, as many copies as the cluster gives")]
    public void Defaults()
    {
        var policy = Read();
        Assert.Equal(new VolumePolicy(), policy);
        Assert.Equal((null, FailureModeKind.Soft, true, 300_000), (policy.Replicas, policy.FailureMode, policy.Compression, policy.HoldMs));
    }

    [Fact(DisplayName = "Every label of this version is read")]
    public void All_labels()
    {
        var policy = Read(("myrmidon.dev/replicas", "5"), ("myrmidon.dev/failure-mode", "2"), ("myrmidon.dev/compression", "off"),
            ("myrmidon.dev/hold-time", "30s"), ("myrmidon.dev/replace-after", "1h"), ("myrmidon.dev/zone-spread", "required"),
            ("myrmidon.dev/snapshot-every", "15m"), ("myrmidon.dev/snapshot-keep", "96"), ("myrmidon.dev/snapshot-group-keep", "7"),
            ("myrmidon.dev/locality", "off"), ("myrmidon.dev/iops-max", "1000000"), ("myrmidon.dev/bandwidth-max", "1.5MiB"), ("myrmidon.dev/burst", "1h"),
            ("myrmidon.dev/cache", "on"), ("myrmidon.dev/encryption", "off"), ("team", "db"), ("myrmidon.dev/of-a-later-version", "x"));
        Assert.Equal(new VolumePolicy
        {
            Replicas = 5,
            FailureMode = FailureModeKind.Threshold,
            FailureThreshold = 2,
            Compression = false,
            HoldMs = 30_000,
            ReplaceAfter = TimeSpan.FromHours(1),
            ZoneSpread = ZoneSpread.Required,
            SnapshotEvery = TimeSpan.FromMinutes(15),
            SnapshotKeep = 96,
            SnapshotGroupKeep = 7,
            FollowsFrontEnd = false,
            IopsMax = 1_000_000,
            BandwidthMax = 3 << 19,
            Burst = TimeSpan.FromHours(1),
        }, policy);
    }

    [Theory(DisplayName = "failure-mode has four forms")]
    [InlineData("hard", FailureModeKind.Hard, 0)]
    [InlineData("soft", FailureModeKind.Soft, 0)]
    [InlineData("always-on", FailureModeKind.AlwaysOn, 0)]
    [InlineData("1", FailureModeKind.Threshold, 1)]
    public void Failure_modes(string value, FailureModeKind kind, int threshold)
    {
        var policy = Read(("myrmidon.dev/failure-mode", value));
        Assert.Equal((kind, threshold), (policy.FailureMode, policy.FailureThreshold));
    }

    [Theory(DisplayName = "A value that is not legal is refused by a sentence that names the label and what is")]
    [InlineData("replicas", "0", "1 to 5")]
    [InlineData("replicas", "6", "1 to 5")]
    [InlineData("replicas", "three", "1 to 5")]
    [InlineData("failure-mode", "Hard", "hard, soft, always-on")]
    [InlineData("failure-mode", "6", "hard, soft, always-on")]
    [InlineData("compression", "yes", "on or off")]
    [InlineData("cache", "always", "on or off")]
    [InlineData("hold-time", "5", "such as 30s")]
    [InlineData("hold-time", "1ms", "such as 30s")]
    [InlineData("replace-after", "never", "such as 10m")]
    [InlineData("zone-spread", "x", "preferred or required")]
    [InlineData("snapshot-every", "59s", "from 1m to 24d")]
    [InlineData("snapshot-keep", "0", "1 to 2047")]
    [InlineData("snapshot-keep", "2048", "1 to 2047")]
    [InlineData("snapshot-group-keep", "0", "1 to 2047")]
    [InlineData("snapshot-group-keep", "all", "1 to 2047")]
    [InlineData("snapshots-keep", "3", "did you mean myrmidon.dev/snapshot-keep")]
    [InlineData("encryption", "on", "'on', which can't be honoured by this version: leave it out.")]
    [InlineData("iops-max", "9", "from 10 to 1000000")]
    [InlineData("iops-max", "1000001", "from 10 to 1000000")]
    [InlineData("iops-max", "1e3", "I/Os per second")]
    [InlineData("bandwidth-max", "1023KiB", "from 1MiB to 100GiB")]
    [InlineData("bandwidth-max", "101GiB", "from 1MiB to 100GiB")]
    [InlineData("bandwidth-max", "50MB", "such as 50MiB")]
    [InlineData("bandwith-max", "50MiB", "did you mean myrmidon.dev/bandwidth-max")]
    [InlineData("burst", "500ms", "from 1s to 1h")]
    [InlineData("burst", "61m", "from 1s to 1h")]
    [InlineData("locality", "on", "preferred or off")]
    [InlineData("sync", "always", "'always', which can't be honoured by this version: leave it out.")]
    [InlineData("replica", "3", "did you mean myrmidon.dev/replicas")]
    public void Illegal_values(string label, string value, string says)
    {
        var (policy, error) = VolumeLabels.Read(PlacementFixture.Labels(("myrmidon.dev/" + label, value)));
        Assert.Null(policy);
        Assert.Contains("myrmidon.dev/" + label, error, StringComparison.Ordinal);
        Assert.Contains(says, error, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "A failure mode of more copies than there are is refused")]
    public void Threshold_above_copies() =>
        Assert.Contains("2 copies", VolumeLabels.Read(PlacementFixture.Labels(
            ("myrmidon.dev/failure-mode", "3"), ("myrmidon.dev/replicas", "2"))).Error, StringComparison.Ordinal);

    [Theory(DisplayName = "Volume names are DNS labels")]
    [InlineData("pg-0", true)]
    [InlineData("0", true)]
    [InlineData("", false)]
    [InlineData("-a", false)]
    [InlineData("a-", false)]
    [InlineData("A", false)]
    [InlineData("a/b", false)]
    [InlineData("a.b", false)]
    public void Names(string name, bool valid) => Assert.Equal(valid, VolumeNames.IsValid(name));

    private static VolumePolicy Read(params (string Key, string Value)[] labels)
    {
        var (policy, error) = VolumeLabels.Read(PlacementFixture.Labels(labels));
        Assert.Equal("", error);
        return policy!;
    }
}
