using System.Buffers.Binary;
using System.Collections.Frozen;
using System.IO.Hashing;
using System.Runtime.Serialization;
using Akka.Actor;
using Akka.Serialization;
using Cluster.Messages;
using Cluster.Messages.Protocol;
using Hyperion;
using HyperionSerializer = Hyperion.Serializer;

namespace Cluster.Node.Hosting.Serialization;

/// <summary>
/// Control messages over Akka.Remote: Hyperion, restricted to the types of <see cref="Manifests"/>. Layout, little-endian: version u8 |
/// body length u32 | XxHash3-64 of the body u64 | body. Length and hash are checked before Hyperion sees a byte, because it believes the
/// lengths that it reads. Any thread.
/// </summary>
public sealed class ControlSerializer : SerializerWithStringManifest
{
    public const byte LayoutVersion = 1;
    public const int HeaderBytes = 13;

    /// <summary>
    /// Bytes of a message's body; a list of every volume of a full catalogue (PlacementState.VolumesBytesMax) fits. With what Akka adds less than a frame (hocon/akka.conf, maximum-frame-size).
    /// </summary>
    public const int BodyBytesMax = (4 << 20) - (64 << 10);

    private static readonly FrozenDictionary<Type,
        string> ManifestByType = Manifests.ControlMessages.ToFrozenDictionary(m => m.Value, m => m.Key);

    private static readonly FrozenDictionary<string, Type> TypeByManifest =
        Manifests.ControlMessages.ToFrozenDictionary(m => m.Key, m => m.Value, StringComparer.Ordinal);

    /// <summary>
    /// One for the process: Akka makes a serializer anew whenever an extension brings settings, and distributed data has its own, so that remoting, sharding and whoever warms one up
    /// hold different ones; each Hyperion would compile its code for the same messages.
    /// </summary>
    private static readonly HyperionSerializer Shared = NewHyperion();

    public ControlSerializer(ExtendedActorSystem system) : base(system)
    {
    }

    /// <summary>With nothing compiled yet.</summary>
    internal static HyperionSerializer NewHyperion() => new(new SerializerOptions(
        versionTolerance: true, preserveObjectReferences: false, surrogates: [], serializerFactories: [], knownTypes: [],
            ignoreISerializable: true,
        packageNameOverrides: [], disallowUnsafeTypes: true, typeFilter: new ControlTypeFilter()));

    public override int Identifier => SerializerIds.Control;

    public override string Manifest(object o) => ManifestByType.TryGetValue(o.GetType(), out var manifest)
        ? manifest
        : throw new SerializationException($"{o.GetType()} is not on the list of control messages (Manifests.cs)");

    public override byte[] ToBinary(object obj)
    {
        _ = Manifest(obj);
        using var stream = new MemoryStream();
        stream.Write(stackalloc byte[HeaderBytes]);
        Shared.Serialize(obj, stream);
        var bytes = stream.ToArray();
        var body = bytes.AsSpan(HeaderBytes);
        if (body.Length > BodyBytesMax)
            throw new SerializationException($"{obj.GetType()} takes {body.Length} B; a control message may take {BodyBytesMax} B");
        bytes[0] = LayoutVersion;
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(1), (uint)body.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(5), XxHash3.HashToUInt64(body));
        return bytes;
    }

    public override object FromBinary(byte[] bytes, string manifest)
    {
        if (!TypeByManifest.TryGetValue(manifest, out var type))
            throw new SerializationException($"the manifest '{manifest}' is not on the list of control messages (Manifests.cs)");
        CheckHeader(bytes, manifest);
        using var stream = new MemoryStream(bytes, HeaderBytes, bytes.Length - HeaderBytes, writable: false);
        var message = Shared.Deserialize<object>(stream);
        if (message is not IControlMessage || message.GetType() != type)
            throw new SerializationException(
                $"a message under the manifest '{manifest}' holds {message?.GetType().ToString() ?? "nothing"}");
        return message;
    }

    private static void CheckHeader(byte[] bytes, string manifest)
    {
        if (bytes.Length < HeaderBytes || bytes.Length > HeaderBytes + BodyBytesMax)
            throw new SerializationException(
                $"a message '{manifest}' of {bytes.Length} B is outside {HeaderBytes} to {HeaderBytes + BodyBytesMax} B");
        if (bytes[0] != LayoutVersion)
            throw new SerializationException($"a message '{manifest}' has layout {bytes[0]}; this program reads {LayoutVersion}");
        if (BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(1)) != bytes.Length - HeaderBytes)
            throw new SerializationException($"a message '{manifest}' has another length than its header says");
        if (BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(5)) != XxHash3.HashToUInt64(bytes.AsSpan(HeaderBytes)))
            throw new SerializationException($"a message '{manifest}' does not match its checksum");
    }
}
