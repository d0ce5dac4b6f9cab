using Akka.Actor;
using Akka.Configuration;
using Akka.Serialization;

namespace Cluster.Node.Journal.Persistence;

/// <summary>
/// Payloads to bytes and back, only through serializers that the plug-in's "event-serializers" names: versioned formats of ours.
/// Polymorphic ones (Hyperion, JSON) never reach the disk, neither in nor out.
/// </summary>
internal sealed class PayloadSerialization
{
    private readonly ExtendedActorSystem _system;
    private readonly Dictionary<int, SerializerWithStringManifest> _allowed;
    private readonly string _names;

    public PayloadSerialization(ExtendedActorSystem system, Config plugin)
    {
        _system = system;
        var names = plugin.GetStringList("event-serializers");
        _names = string.Join(", ", names);
        _allowed = names.Select(name => Make(system, name)).OfType<SerializerWithStringManifest>().ToDictionary(s => s.Identifier);
    }

    public MetaPayload Write(object payload)
    {
        var bound = _system.Serialization.FindSerializerFor(payload);
        if (!_allowed.TryGetValue(bound.Identifier, out var serializer) || serializer.GetType() != bound.GetType())
            throw new JournalRejectedException(
                $"{payload.GetType().FullName} is bound to {bound.GetType().Name}; only event serializers are journaled ({_names})");
        return new MetaPayload(serializer.Identifier, serializer.Manifest(payload), serializer.ToBinary(payload));
    }

    public object Read(MetaPayload payload) => _allowed.TryGetValue(payload.SerializerId, out var serializer)
        ? serializer.FromBinary(payload.Bytes, payload.Manifest)
        : throw new JournalRejectedException(
            $"the stored payload {payload.Manifest} names serializer {payload.SerializerId}, which is no event serializer here ({_names})");

    private static SerializerWithStringManifest? Make(ExtendedActorSystem system, string name)
    {
        var typeName = system.Settings.Config.GetString($"akka.actor.serializers.{name}");
        if (string.IsNullOrEmpty(typeName)) return null;       // not bound in this system: then nothing is written with it
        var type = Type.GetType(typeName)
            ?? throw new ConfigurationException($"event serializer {name}: type {typeName} is not to be found");
        return Activator.CreateInstance(type, system) as SerializerWithStringManifest
            ?? throw new ConfigurationException($"event serializer {name}: {typeName} has no string manifest");
    }
}
