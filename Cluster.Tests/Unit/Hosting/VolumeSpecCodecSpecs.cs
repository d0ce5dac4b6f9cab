using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;

namespace Cluster.Tests.Unit.Hosting;

public class VolumeSpecCodecSpecs
{
    internal static readonly VolumeSpec Spec = new(
        new VolumeId(7), "default", "pg", 10UL << 30, 3, FailureModeKind.Threshold, 2, 300_000, true,
        ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal).Add("a", "1").Add("myrmidon.dev/replicas", "3"));

    [Fact(DisplayName = "A spec's bytes are pinned")]
    public void Golden_bytes() =>
        Assert.Equal(
            "010C000302020100E093040007000000000000000000008002000000070000006465" +
            "6661756C74020000007067020001000000610100000031150000006D79726D69646F6E2E6465762F7265706C696361730100000033",
            Convert.ToHexString(VolumeSpecCodec.Encode(Spec)));

    [Fact(DisplayName = "A clone's spec has its source behind it, under a version of its own, and reads back; one without a source is as ever")]
    public void Source()
    {
        var clone = Spec with { Source = ContractSamples.Source };
        var bytes = VolumeSpecCodec.Encode(clone);
        Assert.Equal("02" + Convert.ToHexString(VolumeSpecCodec.Encode(Spec))[2..] + "03000000000000001100000000000000" + "020000007067" + "060000006D6F6E646179", Convert.ToHexString(bytes));
        Assert.True(VolumeSpecCodec.TryDecode(bytes, out var back));
        Assert.Equal(ContractSamples.Source, back.Source);
        Assert.False(VolumeSpecCodec.Same(Spec, clone));
        for (var length = 0; length < bytes.Length; length++) Assert.False(VolumeSpecCodec.TryDecode(bytes.AsSpan(0, length), out _));
        foreach (var source in (VolumeSource[])[ContractSamples.Source with { Origin = default }, ContractSamples.Source with { Sequence = 0 }])
            Assert.False(VolumeSpecCodec.TryDecode(VolumeSpecCodec.Encode(Spec with { Source = source }), out _));
    }

    [Fact(DisplayName = "A spec reads back as it was written")]
    public void Round_trip()
    {
        Assert.True(VolumeSpecCodec.TryDecode(VolumeSpecCodec.Encode(Spec), out var back));
        Assert.Equal(Spec with { Labels = back.Labels }, back);
        Assert.Equal(Spec.Labels.AsEnumerable(), back.Labels.AsEnumerable());
        Assert.True(VolumeSpecCodec.Same(Spec, back));
        Assert.False(VolumeSpecCodec.Same(Spec, Spec with { HoldMs = 1 }));
    }

    [Fact(DisplayName = "The largest spec fits the stated maximum")]
    public void Largest_spec()
    {
        var text = string.Concat(Enumerable.Repeat("\u20ac", Limits.LabelLengthMax - 3));
        var labels = Spec.Labels.Clear().AddRange(Enumerable.Range(100, Limits.LabelsMax).Select(n => KeyValuePair.Create(n + text, text)));
        var bytes = VolumeSpecCodec.Encode(Spec with { Labels = labels });
        Assert.InRange(bytes.Length, 1, VolumeSpecCodec.EncodedBytesMax);
        Assert.True(VolumeSpecCodec.TryDecode(bytes, out var back));
        Assert.Equal(Limits.LabelsMax, back.Labels.Count);
    }

    [Fact(DisplayName = "Truncated bytes, trailing bytes and another version are refused")]
    public void Malformed_bytes()
    {
        var bytes = VolumeSpecCodec.Encode(Spec);
        for (var length = 0; length < bytes.Length; length++) Assert.False(VolumeSpecCodec.TryDecode(bytes.AsSpan(0, length), out _));
        Assert.False(VolumeSpecCodec.TryDecode([.. bytes, 0], out _));
        foreach (var at in new[] { 0, 1, 2, 3, 4, 6, 7 })
        {
            var wrong = bytes.ToArray();
            wrong[at] = 0xEE;
            Assert.False(VolumeSpecCodec.TryDecode(wrong, out _), $"byte {at}");
        }
    }
}
