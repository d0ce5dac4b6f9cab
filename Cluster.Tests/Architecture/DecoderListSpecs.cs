using Cluster.Csi.Nbd;
using Cluster.Node.Ingress;
using Cluster.Node.Store;
using Cluster.Tests.Unit.Fuzz;
using Cluster.Tests.Unit.Mesh;
using Cluster.Tests.Unit.Nbd;
using Cluster.Tests.Unit.Store;

namespace Cluster.Tests.Architecture;

/// <summary>No decoder without a fuzz test.</summary>
public sealed class DecoderListSpecs
{
    /// <summary>Methods of these names that are nothing but another one of the list.</summary>
    private static readonly Dictionary<string, string> Others = new(StringComparer.Ordinal)
    {
        ["EventSerializer.FromBinary"] = "EventCodec.Decode",
    };

    /// <summary>Decoders of streams, which keep a state and have fuzz tests of their own.</summary>
    private static readonly (Type Decoder, Type Specs)[] Streams =
    [
        (typeof(FrameReader), typeof(FrameFuzzSpecs)), (typeof(NbdConnection), typeof(NbdFuzzSpecs)), (typeof(LogScanner), typeof(DecoderFuzzSpecs)), (typeof(CheckpointReader), typeof(DecoderFuzzSpecs)),
    ];

    [Fact(DisplayName = "The decoders of streams have fuzz tests of their own")]
    public void Streams_are_fuzzed() => Assert.All(Streams, stream =>
    {
        var source = Repository.Read($"Cluster.Tests/{stream.Specs.Namespace!["Cluster.Tests.".Length..].Replace('.', '/')}/{stream.Specs.Name}.cs");
        Assert.Contains("Mutate", source, StringComparison.Ordinal);
        Assert.NotNull(stream.Decoder.FullName);
    });

    [Fact(DisplayName = "Every decoder of what comes from a disk or a wire is on the list of those that are fuzzed, and nothing else is")]
    public void Every_decoder_is_fuzzed()
    {
        var declared = Decoders.Declared().Select(method => $"{method.DeclaringType!.Name}.{method.Name}").ToHashSet(StringComparer.Ordinal);
        var listed = Decoders.All.Select(decoder => decoder.Name).ToHashSet(StringComparer.Ordinal);
        Assert.Equal(listed.Count, Decoders.All.Count);
        Assert.Empty(declared.Except(listed).Except(Others.Keys).Order(StringComparer.Ordinal));
        Assert.Empty(listed.Concat(Others.Keys).Except(declared).Order(StringComparer.Ordinal));
        Assert.Empty(listed.Intersect(Others.Keys));
        Assert.Empty(Others.Values.Except(listed));
        Assert.True(listed.Count > 45, $"{listed.Count} decoders were found");
    }
}
