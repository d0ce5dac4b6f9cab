using System.Collections.Immutable;
using System.Text;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Messages.Events;

/// <summary>
/// A volume's spec as it is journaled and as every replica's header carries it (P7). Canonical: equal specs have equal bytes. Layout,
/// little-endian: version u8 (1) | log2 of the block size u8 (12) | layout u8 (0: whole copies) | replicas u8 | failure mode u8 | failure
/// threshold u8 | compression u8 | zero u8 | hold ms u32 | id u64 | size u64 | namespace text | name text | label count u16 | (key text,
/// value text), ascending by key. A text is a u32 length and its UTF-8. Version 2, written for clones only, goes on: origin u64 | sequence of its snapshot u64 |
/// the origin's name text | the snapshot's name text.
/// </summary>
public static class VolumeSpecCodec
{
    public const byte Version = 1;

    /// <summary>With a source.</summary>
    public const byte VersionOfClones = 2;

    /// <summary>Whole copies; erasure-coded layouts get numbers of their own.</summary>
    public const byte LayoutCopies = 0;

    private const int FixedBytes = 28;
    private const int TextBytesMax = 4 * Limits.LabelLengthMax;

    /// <summary>Bytes of the largest spec that can be encoded.</summary>
    public const int EncodedBytesMax = FixedBytes + 2 + ((4 + (2 * Limits.LabelsMax)) * (4 + TextBytesMax)) + (2 * sizeof(ulong));

    public static byte[] Encode(VolumeSpec spec)
    {
        var bytes = new byte[Measure(spec)];
        var writer = new BodyWriter(bytes);
        Write(ref writer, spec);
        Invariant.That(writer.Length == bytes.Length, "a spec's length was measured wrong");
        return bytes;
    }

    /// <summary>False for another version, a field out of its range, or bytes that are left over.</summary>
    public static bool TryDecode(ReadOnlySpan<byte> from, out VolumeSpec spec)
    {
        var reader = new BodyReader(from);
        return TryRead(ref reader, out spec) && reader.AtEnd;
    }

    /// <summary>Whether both say the same; records compare their labels by reference.</summary>
    public static bool Same(VolumeSpec left, VolumeSpec right) => Encode(left).AsSpan().SequenceEqual(Encode(right));

    internal static int Measure(VolumeSpec spec)
    {
        var bytes = FixedBytes + MeasureText(spec.Namespace) + MeasureText(spec.Name) + 2;
        foreach (var (key, value) in spec.Labels) bytes += MeasureText(key) + MeasureText(value);
        if (spec.Source is { } source) bytes += (2 * sizeof(ulong)) + MeasureText(source.OriginName) + MeasureText(source.Snapshot);
        return bytes;
    }

    internal static void Write(ref BodyWriter writer, VolumeSpec spec)
    {
        Invariant.That(spec.Labels.Count <= Limits.LabelsMax, "a spec carries more labels than its layout allows");
        writer.U8(spec.Source is null ? Version : VersionOfClones);
        writer.U8(Limits.BlockBytesLog2);
        writer.U8(LayoutCopies);
        writer.U8(checked((byte)spec.Replicas));
        writer.U8((byte)spec.FailureMode);
        writer.U8(checked((byte)spec.FailureThreshold));
        writer.Bool(spec.Compression);
        writer.U8(0);
        writer.U32(checked((uint)spec.HoldMs));
        writer.U64(spec.Id.Value);
        writer.U64(spec.SizeBytes);
        writer.Text(spec.Namespace);
        writer.Text(spec.Name);
        writer.U16((ushort)spec.Labels.Count);
        foreach (var (key, value) in spec.Labels.OrderBy(label => label.Key, StringComparer.Ordinal))
        {
            writer.Text(key);
            writer.Text(value);
        }
        if (spec.Source is not { } source) return;
        writer.U64(source.Origin.Value);
        writer.U64(source.Sequence);
        writer.Text(source.OriginName);
        writer.Text(source.Snapshot);
    }

    internal static bool TryRead(ref BodyReader reader, out VolumeSpec spec)
    {
        spec = Nothing;
        var version = reader.U8();
        if (version is not (Version or VersionOfClones) || reader.U8() != Limits.BlockBytesLog2 || reader.U8() != LayoutCopies) return false;
        var replicas = reader.U8();
        var mode = (FailureModeKind)reader.U8();
        var threshold = reader.U8();
        var compression = reader.Bool();
        var zero = reader.U8();
        var holdMs = reader.U32();
        var id = new VolumeId(reader.U64());
        var sizeBytes = reader.U64();
        var scope = reader.Text(TextBytesMax);
        var name = reader.Text(TextBytesMax);
        if (!TryReadLabels(ref reader, out var labels)) return false;
        if (!reader.Ok || zero != 0 || !id.IsValid || holdMs > int.MaxValue || sizeBytes > Limits.VolumeBytesMax) return false;
        if (replicas is 0 or > Limits.ReplicasMax || !Enum.IsDefined(mode)) return false;
        var source = version == VersionOfClones ? new VolumeSource(new VolumeId(reader.U64()), reader.U64(), reader.Text(TextBytesMax), reader.Text(TextBytesMax)) : null;
        if (!reader.Ok || source is { Origin.IsValid: false } or { Sequence: 0 }) return false;
        spec = new VolumeSpec(id, scope, name, sizeBytes, replicas, mode, threshold, (int)holdMs, compression, labels, source);
        return true;
    }

    private static bool TryReadLabels(ref BodyReader reader, out ImmutableSortedDictionary<string, string> labels)
    {
        labels = NoLabels;
        var count = reader.U16();
        if (count > Limits.LabelsMax) return false;
        var builder = NoLabels.ToBuilder();
        string? before = null;
        for (var index = 0; index < count && reader.Ok; index++)
        {
            var key = reader.Text(TextBytesMax);
            if (before is not null && string.CompareOrdinal(before, key) >= 0) return false;
            builder[key] = reader.Text(TextBytesMax);
            before = key;
        }
        labels = builder.ToImmutable();
        return reader.Ok;
    }

    private static int MeasureText(string text)
    {
        var bytes = Encoding.UTF8.GetByteCount(text);
        Invariant.That(bytes <= TextBytesMax, "a name or label is longer than its layout allows");
        return 4 + bytes;
    }

    private static readonly ImmutableSortedDictionary<string, string> NoLabels =
        ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal);

    private static readonly VolumeSpec Nothing = new(default, "", "", 0, 0, FailureModeKind.Soft, 0, 0, false, NoLabels);
}
