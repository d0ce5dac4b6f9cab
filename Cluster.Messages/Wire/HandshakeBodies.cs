using Cluster.Messages.Model;

namespace Cluster.Messages.Wire;

/// <summary>
/// Features of a node's mesh format (DESIGN §6): unknown bits of Compat are ignored, of the other two they refuse the
/// connection.
/// </summary>
/// <param name="ReadOnlyCompat">Who does not know a bit may only read. All mesh connections carry writes, so that it is
/// refused.</param>
public readonly record struct MeshFeatures(ulong Compat, ulong ReadOnlyCompat, ulong Incompat)
{
    /// <summary>Of Compat: its front ends know <see cref="SessionOpenedBody.Caches"/>, and may send ClientReadCached to owners that say so.</summary>
    public const ulong CachedReads = 1;

    /// <summary>Of Compat: its copies know a <see cref="SnapshotMarker"/> of version 2, which puts back a part of the volume.</summary>
    public const ulong PartialRestores = 2;

    /// <summary>What this version has.</summary>
    public static readonly MeshFeatures Current = new(CachedReads | PartialRestores, 0, 0);
}

/// <summary>
/// First frame of a connection (Hello, by the one who dialed) and its answer (Welcome). At most 361 bytes:
/// <code>
///   0 magic u64 "MYRMMESH"   8 oldest version u8   9 current version u8   10 probe u8   11 zero u8   12 zero u32
///  16 compat u64   24 ro-compat u64   32 incompat u64
///  40 cluster guid   56 recovery era guid   72 sender guid   88 receiver guid
/// 104 sender's name: u32 length, UTF-8
/// </code>
/// Bytes 0-15 keep their place in every version. Frames of the handshake always have header version 1.
/// </summary>
/// <param name="Probe">Sent by the side that does not dial: it asks to be dialed (<see cref="RefuseReason.Probe"/>).</param>
/// <param name="Receiver">Who the sender means to talk to.</param>
public readonly record struct HelloBody(byte VersionOldest, byte VersionCurrent, bool Probe, MeshFeatures Features, Guid Cluster, Guid Era,
    NodeId Sender, NodeId Receiver, string Name)
{
    public const int EncodedBytesMax = 104 + 4 + NameBytesMax;

    /// <summary>"MYRMMESH".</summary>
    public const ulong Magic = 0x4853454D_4D52594D;

    private const int NameBytesMax = Limits.LabelLengthMax;

    public ReadOnlySpan<byte> Encode(Span<byte> to)
    {
        var writer = new BodyWriter(to);
        writer.U64(Magic);
        writer.U8(VersionOldest);
        writer.U8(VersionCurrent);
        writer.Bool(Probe);
        writer.U8(0);
        writer.U32(0);
        writer.U64(Features.Compat);
        writer.U64(Features.ReadOnlyCompat);
        writer.U64(Features.Incompat);
        writer.Guid(Cluster);
        writer.Guid(Era);
        writer.Guid(Sender.Value);
        writer.Guid(Receiver.Value);
        writer.Text(Name);
        return to[..writer.Length];
    }

    public static bool TryDecode(ReadOnlySpan<byte> from, out HelloBody body)
    {
        var reader = new BodyReader(from);
        var known = reader.U64() == Magic;
        var (oldest, current, probe, zeroes) = (reader.U8(), reader.U8(), reader.Bool(), reader.U8() | reader.U32());
        var features = new MeshFeatures(reader.U64(), reader.U64(), reader.U64());
        body = new HelloBody(oldest, current, probe, features, reader.Guid(), reader.Guid(),
            new NodeId(reader.Guid()), new NodeId(reader.Guid()), reader.Text(NameBytesMax));
        return known && zeroes == 0 && oldest <= current && reader.AtEnd;
    }
}

/// <summary>Why a connection was refused. Frozen: add, never renumber.</summary>
public enum RefuseReason : ushort
{
    None = 0,
    Version = 1,
    Features = 2,
    OtherCluster = 3,
    OtherEra = 4,
    /// <summary>The node reached itself.</summary>
    OwnId = 5,
    /// <summary>Another node lives at the address that was dialed.</summary>
    WrongReceiver = 6,
    /// <summary>The node is not in the directory (yet).</summary>
    UnknownNode = 7,
    /// <summary>The node with the lower id dials.</summary>
    WrongDialer = 8,
    /// <summary>No fault: a probe was heard, and the receiver dials.</summary>
    Probe = 9,
}

/// <summary>
/// Last frame of a refused connection: reason u16 | zero u16 | text (u32 length, UTF-8, at most 448 bytes).
/// </summary>
public readonly record struct RefuseBody(RefuseReason Reason, string Text)
{
    public const int EncodedBytesMax = 8 + TextBytesMax;

    private const int TextBytesMax = 448;

    public ReadOnlySpan<byte> Encode(Span<byte> to)
    {
        var writer = new BodyWriter(to);
        writer.U16((ushort)Reason);
        writer.U16(0);
        writer.Text(System.Text.Encoding.UTF8.GetByteCount(Text) <= TextBytesMax ? Text : Text[..(TextBytesMax / 4)]);
        return to[..writer.Length];
    }

    public static bool TryDecode(ReadOnlySpan<byte> from, out RefuseBody body)
    {
        var reader = new BodyReader(from);
        var (reason, zero) = (reader.U16(), reader.U16());
        body = new RefuseBody((RefuseReason)reason, reader.Text(TextBytesMax));
        return zero == 0 && reader.AtEnd;
    }
}
