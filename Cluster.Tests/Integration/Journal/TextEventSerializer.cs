using System.Text;
using Akka.Actor;
using Akka.Serialization;

namespace Cluster.Tests.Integration.Journal;

internal sealed record TextEvent(string Text);

/// <summary>A stand-in for the events' own versioned serializer.</summary>
internal sealed class TextEventSerializer(ExtendedActorSystem system) : SerializerWithStringManifest(system)
{
    public override int Identifier => 77_001;

    public override string Manifest(object o) => "text-1";

    public override byte[] ToBinary(object obj) => Encoding.UTF8.GetBytes(((TextEvent)obj).Text);

    public override object FromBinary(byte[] bytes, string manifest) =>
        manifest == "text-1" ? new TextEvent(Encoding.UTF8.GetString(bytes)) : throw new ArgumentException($"manifest {manifest}");
}
