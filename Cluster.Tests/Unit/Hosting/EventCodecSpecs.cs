using System.Collections.Immutable;
using System.Text;
using Cluster.Messages;
using Cluster.Messages.Events;
using Cluster.Messages.Model;

namespace Cluster.Tests.Unit.Hosting;

public class EventCodecSpecs
{
    [Fact(DisplayName = "Every journaled type has a manifest, a layout and a pinned golden file line")]
    public void Golden_bytes()
    {
        var lines = ContractSamples.Events.Select(e => $"{EventCodec.ManifestOf(e)} {Convert.ToHexString(EventCodec.Encode(e))}");
        var golden = File.ReadAllLines(Path.Combine(AppContext.BaseDirectory, "Golden", "events-v1.txt"), Encoding.UTF8);
        Assert.Equal(golden, lines);
    }

    [Fact(DisplayName = "Every event type of the contracts is registered, with one sample each")]
    public void All_types_are_registered()
    {
        var types = typeof(VolumeEvent).Assembly.GetTypes()
            .Where(t => !t.IsAbstract && (t.IsSubclassOf(typeof(VolumeEvent)) || t.IsSubclassOf(typeof(PlacementEvent)))).ToHashSet();
        Assert.True(types.SetEquals(Manifests.Events.Select(m => m.Value)));
        Assert.True(types.SetEquals(ContractSamples.Events.Select(e => e.GetType())));
        Assert.Equal(types.Count, Manifests.Events.Select(m => m.Key).Distinct(StringComparer.Ordinal).Count());
        Assert.All(Manifests.Events, m => Assert.Matches("^[a-z-]+/[0-9]+$", m.Key));
    }

    [Fact(DisplayName = "Every event reads back as it was written")]
    public void Round_trip()
    {
        foreach (var e in ContractSamples.Events)
        {
            var bytes = EventCodec.Encode(e);
            var back = EventCodec.Decode(EventCodec.ManifestOf(e), bytes);
            Assert.Equal(e.GetType(), back.GetType());
            Assert.Equal(bytes, EventCodec.Encode(back));
        }
    }

    [Fact(DisplayName = "The image of a volume that is being put back is told by a manifest of its own, and ends with the snapshot; any other is as it was before there was that")]
    public void Image_in_a_restore()
    {
        var image = ContractSamples.Events.OfType<VolumeImage>().Single();
        var restoring = image with { RestoringTo = 0x0102030405060708 };
        Assert.Equal(("volume-image/1", "volume-image/2"), (EventCodec.ManifestOf(image), EventCodec.ManifestOf(restoring)));
        byte[] bytes = [.. EventCodec.Encode(image), 8, 7, 6, 5, 4, 3, 2, 1];
        Assert.Equal(bytes, EventCodec.Encode(restoring));
        Assert.Equal(bytes, EventCodec.Encode(Assert.IsType<VolumeImage>(EventCodec.Decode("volume-image/2", bytes))));
        for (var length = 0; length < bytes.Length; length++) Assert.Throws<EventFormatException>(() => EventCodec.Decode("volume-image/2", bytes.AsSpan(0, length)));
        Assert.Throws<EventFormatException>(() => EventCodec.Decode("volume-image/2", [.. bytes, 0]));
    }

    [Fact(DisplayName = "Unknown manifests and versions, truncated bytes and trailing bytes are refused with a clear error")]
    public void Malformed()
    {
        var error = Assert.Throws<EventFormatException>(() => EventCodec.Decode("volume-created/2", []));
        Assert.Contains("volume-created/2", error.Message, StringComparison.Ordinal);
        foreach (var e in ContractSamples.Events)
        {
            var (manifest, bytes) = (EventCodec.ManifestOf(e), EventCodec.Encode(e));
            for (var length = 0; length < bytes.Length; length++)
                Assert.Throws<EventFormatException>(() => EventCodec.Decode(manifest, bytes.AsSpan(0, length)));
            Assert.Throws<EventFormatException>(() => EventCodec.Decode(manifest, [.. bytes, 0]));
        }
        Assert.Throws<EventFormatException>(() => EventCodec.ManifestOf("text"));
    }

    [Fact(DisplayName = "Events that older versions wrote are still read")]
    public void Older_versions()
    {
        var golden = File.ReadAllLines(Path.Combine(AppContext.BaseDirectory, "Golden", "events-older.txt"), Encoding.UTF8).Select(line => line.Split(' ')).ToArray();
        Assert.Equal(Manifests.OlderEvents, golden.Select(line => line[0]));
        var read = golden.Select(line => EventCodec.Decode(line[0], Convert.FromHexString(line[1]))).ToArray();
        var changed = Assert.IsType<SpecChanged>(read[0]);
        Assert.Equal((ContractSamples.Volume, 0UL), (changed.Volume, changed.Revision));
        Assert.True(VolumeSpecCodec.Same(ContractSamples.Spec, changed.Spec));
        foreach (var members in (ImmutableArray<InSyncMember>[])[((EpochOpened)read[1]).Members, ((InSyncChanged)read[2]).Members, ((VolumeRecovered)read[3]).Members])
            Assert.Equal([(4UL, 0UL), (5UL, 0UL)], members.Select(member => (member.StoreOpenCount, member.StoreOpenMark)));
    }

    [Fact(DisplayName = "A reason of any length is journaled, cut to what its layout allows")]
    public void Long_reasons()
    {
        var e = new ReplicaRemoved(new VolumeId(1), new ReplicaId(1), new string('\u20ac', 10_000));
        var back = (ReplicaRemoved)EventCodec.Decode(EventCodec.ManifestOf(e), EventCodec.Encode(e));
        Assert.StartsWith(back.Reason, e.Reason, StringComparison.Ordinal);
        Assert.NotEmpty(back.Reason);
    }
}
