using System.Net.Sockets;
using Cluster.Csi.Attach;
using Cluster.Csi.Csi;
using Cluster.Csi.Csi.V1;
using Cluster.Messages.Model;
using Grpc.Core;
using Microsoft.Extensions.Logging.Abstractions;
using Mode = Cluster.Csi.Csi.V1.VolumeCapability.Types.AccessMode.Types.Mode;

namespace Cluster.Tests.Unit.Csi;

/// <summary>The driver's parts that need no cluster.</summary>
public class CsiPartsSpecs
{
    [Theory(DisplayName = "A name of ours fits the orchestrator's: the same where it can be, else unique by its hash, and always a DNS label")]
    [InlineData("pvc-1", "pvc-1")]
    [InlineData("a", "a")]
    [InlineData("PVC", "pvc-")]
    [InlineData("-a-", "a-")]
    [InlineData("...", "csi-")]
    [InlineData("auto-1", "csi-")]
    public void Names(string name, string start)
    {
        var own = CsiFields.OwnName(name, label => label.StartsWith("auto-", StringComparison.Ordinal));
        Assert.StartsWith(start, own, StringComparison.Ordinal);
        Assert.Equal(own, CsiFields.OwnName(name, label => label.StartsWith("auto-", StringComparison.Ordinal)));
        Assert.True(CsiFields.IsVolumeId(own), own);
    }

    [Fact(DisplayName = "Names of any length and characters that differ have names of ours that differ")]
    public void Names_differ()
    {
        var names = Enumerable.Range(0, 1000).Select(index => new string('x', 100) + (char)('!' + (index % 90)) + index).ToArray();
        var own = names.Select(name => CsiFields.OwnName(name, _ => false)).ToArray();
        Assert.Equal(names.Length, own.Distinct().Count());
        Assert.All(own, name => Assert.InRange(name.Length, 1, Limits.NameLengthMax));
    }

    [Fact(DisplayName = "A node that gets a zone keeps the segments that it had, which orchestrators hold it to, and is in every volume's topology; a zone, or hosts, without a node are not there")]
    public void Topology_of_nodes()
    {
        var (without, with) = (Topologies.Of("").Segments, Topologies.Of("a").Segments);
        Assert.All(without, segment => Assert.Equal(segment.Value, with[segment.Key]));
        Assert.Equal("a", with["topology.myrmidon.dev/zone"]);
        Assert.All(Topologies.AnyNode.Segments, segment => Assert.Equal(segment.Value, without[segment.Key]));
        NodeFacts[] nodes = [new("n1", "a", true, true, 0, null), new("n2", "", true, true, 0, null)];
        Assert.True(Topologies.Has(new Topology(), nodes));
        Assert.True(Topologies.Has(Topologies.Of(""), nodes));
        Assert.True(Topologies.Has(Topologies.Of("a"), nodes));
        Assert.False(Topologies.Has(new Topology { Segments = { ["kubernetes.io/os"] = "linux" } }, nodes));
        Assert.False(Topologies.Has(Topologies.Of("b"), nodes));
        Assert.False(Topologies.Has(new Topology { Segments = { [Topologies.NodeKey] = "false" } }, nodes));
    }

    [Theory(DisplayName = "The id of a snapshot is VOLUME@SNAPSHOT; anything else is none of ours")]
    [InlineData("pg@s1", "pg", "s1")]
    [InlineData("team/pg@s1", "team/pg", "s1")]
    [InlineData("@s1", null, null)]
    [InlineData("pg@", null, null)]
    [InlineData("pg", null, null)]
    [InlineData("pg@s1@s2", null, null)]
    [InlineData("a/b/c@s1", null, null)]
    public void Snapshot_ids(string id, string? volume, string? snapshot)
    {
        Assert.Equal(volume is not null, CsiFields.TrySnapshot(id, out var foundVolume, out var foundSnapshot));
        if (volume is not null) Assert.Equal((volume, snapshot), (foundVolume, foundSnapshot));
    }

    [Theory(DisplayName = "The capacity is the most data whose copies can lie on different nodes")]
    [InlineData("", 1, 0)]
    [InlineData("100", 1, 100)]
    [InlineData("100", 2, 0)]
    [InlineData("100 40", 2, 40)]
    [InlineData("100 100 100", 3, 100)]
    [InlineData("100 100 100", 2, 150)]
    [InlineData("100 10 10", 2, 20)]
    [InlineData("7 7 7", 2, 10)]
    [InlineData("18446744073709551 18446744073709551", 1, 36893488147419102)]
    public void Capacities(string free, int copies, ulong expected) =>
        Assert.Equal(expected, Capacity.Of([.. free.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(ulong.Parse)], copies));

    [Fact(DisplayName = "The capacity is what a slow and simple count finds, for many random clusters")]
    public void Capacities_by_another_count()
    {
        var random = new Random(4);
        for (var round = 0; round < 500; round++)
        {
            var free = Enumerable.Range(0, random.Next(1, 6)).Select(_ => (ulong)random.Next(0, 12)).ToArray();
            var copies = random.Next(1, 6);
            // Units of data are placed one by one, each on the nodes with the most room, which is the best that can be done.
            var room = free.ToList();
            ulong placed = 0;
            while (room.Count(left => left > 0) >= copies)
            {
                foreach (var index in Enumerable.Range(0, room.Count).OrderByDescending(at => room[at]).Take(copies).ToArray()) room[index]--;
                placed++;
            }
            Assert.Equal(placed, Capacity.Of(free, copies));
        }
    }

    [Fact(DisplayName = "A publication reads as it was written; anything else is none")]
    public void Publications_are_read()
    {
        foreach (var mode in new[] { Mode.SingleNodeWriter, Mode.MultiNodeReaderOnly, Mode.SingleNodeMultiWriter })
        {
            foreach (var fileSystem in new[] { "", "ext4", "xfs" })
            {
                var written = new PublishedAs(mode, fileSystem == "xfs", fileSystem);
                Assert.True(PublishedAs.TryRead(written.Write(7), out var generation, out var read));
                Assert.Equal((7UL, written), (generation, read));
            }
        }
        foreach (var wrong in new[] { "", "7", "7 1 rw", "7 1 rx ext4", "x 1 rw ext4", "7 99 rw ext4", "7 1 rw ", "7 1 rw ext4 more", "-7 1 rw ext4" })
            Assert.False(PublishedAs.TryRead(wrong, out _, out _), wrong);
    }

    [Fact(DisplayName = "Locks are held by one at a time, given back, and bounded")]
    public void Locks()
    {
        var locks = new VolumeLocks();
        var held = locks.TryEnter("pg");
        Assert.NotNull(held);
        Assert.Null(locks.TryEnter("pg"));
        held.Dispose();
        using var again = locks.TryEnter("pg");
        Assert.NotNull(again);
        for (var index = 1; index < CsiLimits.LocksMax; index++) Assert.NotNull(locks.TryEnter($"v{index}"));
        Assert.Null(locks.TryEnter("one too many"));
    }

    [Fact(DisplayName = "A socket that a dead process left is replaced; one that is served, any other file, and a path that is too long are refused")]
    public void Sockets()
    {
        var directory = Directory.CreateTempSubdirectory("myrmidon-csi").FullName;
        try
        {
            var path = Path.Combine(directory, "csi.sock");
            using (var served = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
            {
                served.Bind(new UnixDomainSocketEndPoint(path));
                served.Listen();
                Assert.Contains("Another process serves", Refused(path), StringComparison.Ordinal);
                // As a process leaves it that is killed: the file stays.
                File.Move(path, path + ".kept");
            }
            File.Move(path + ".kept", path);
            LocalSocket.Free(path, NullLogger.Instance);
            Assert.False(File.Exists(path));
            LocalSocket.Free(path, NullLogger.Instance);
            File.WriteAllText(path, "");
            Assert.Contains("no socket", Refused(path), StringComparison.Ordinal);
            Assert.True(File.Exists(path));
            Assert.Contains("longer", Refused(Path.Combine(directory, new string('x', 100))), StringComparison.Ordinal);
            Assert.Contains("no socket", Refused(directory), StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    [Fact(DisplayName = "A request's hash is the same for the same request, and another for every other")]
    public void Hashes()
    {
        var labels = System.Collections.Immutable.ImmutableSortedDictionary<string, string>.Empty.Add("a", "bc");
        var other = System.Collections.Immutable.ImmutableSortedDictionary<string, string>.Empty.Add("ab", "c");
        var source = new VolumeContentSource { Volume = new() { VolumeId = "v" } };
        var snapshot = new VolumeContentSource { Snapshot = new() { SnapshotId = "v" } };
        string[] hashes =
        [
            VolumeParameters.RequestHash("n", labels, null), VolumeParameters.RequestHash("n", other, null), VolumeParameters.RequestHash("m", labels, null),
            VolumeParameters.RequestHash("n", labels, source), VolumeParameters.RequestHash("n", labels, snapshot),
        ];
        Assert.Equal(hashes.Length, hashes.Distinct().Count());
        Assert.Equal(hashes[3], VolumeParameters.RequestHash("n", labels, source.Clone()));
    }

    [Theory(DisplayName = "Sizes are whole blocks within the range that is asked for")]
    [InlineData(0, 0, 1 << 30, null)]
    [InlineData(1, 0, 4096, null)]
    [InlineData(0, 10_000, 8192, null)]
    [InlineData(4096, 4096, 4096, null)]
    [InlineData(4097, 8191, 0, StatusCode.OutOfRange)]
    [InlineData(2, 1, 0, StatusCode.OutOfRange)]
    [InlineData(0, 1, 0, StatusCode.OutOfRange)]
    [InlineData(-1, 0, 0, StatusCode.InvalidArgument)]
    [InlineData(long.MaxValue, 0, 0, StatusCode.OutOfRange)]
    public void Sizes(long required, long limit, ulong expected, StatusCode? code)
    {
        var error = CapacityRanges.Choose(new CapacityRange { RequiredBytes = required, LimitBytes = limit }, 1 << 30, out var bytes);
        Assert.Equal(code, error?.Code);
        if (code is null) Assert.Equal(expected, bytes);
    }

    private static string Refused(string path) => Assert.Throws<IOException>(() => LocalSocket.Free(path, NullLogger.Instance)).Message;
}
