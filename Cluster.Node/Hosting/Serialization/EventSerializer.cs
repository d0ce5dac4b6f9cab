using Akka.Actor;
using Akka.Serialization;
using Cluster.Messages.Events;

namespace Cluster.Node.Hosting.Serialization;

/// <summary>Akka.Persistence's way to <see cref="EventCodec"/>. Bound to VolumeEvent and PlacementEvent in hocon/akka.conf.</summary>
public sealed class EventSerializer(ExtendedActorSystem system) : SerializerWithStringManifest(system)
{
    public override int Identifier => SerializerIds.Event;

    public override string Manifest(object o) => EventCodec.ManifestOf(o);

    public override byte[] ToBinary(object obj) => EventCodec.Encode(obj);

    public override object FromBinary(byte[] bytes, string manifest) => EventCodec.Decode(manifest, bytes);
}

/// <summary>Numbers by which journaled and remoted bytes name their serializer. Append-only; Akka.NET's own end below 100.</summary>
public static class SerializerIds
{
    public const int Control = 5701;
    public const int Event = 5702;
}
