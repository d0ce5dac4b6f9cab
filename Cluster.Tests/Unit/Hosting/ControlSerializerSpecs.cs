using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Diagnostics;
using System.IO.Hashing;
using System.Runtime;
using System.Runtime.Serialization;
using Cluster.Messages;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Hosting.Serialization;
using Cluster.Node.Hosting.WarmUp;
using Hyperion;

namespace Cluster.Tests.Unit.Hosting;

public class ControlSerializerSpecs
{
    private static readonly string AnyManifest = Manifests.ControlMessages[0].Key;
    private readonly ControlSerializer _serializer = new(null!);

    [Fact(DisplayName = "Every implementation of IControlMessage is registered, with one sample each")]
    public void All_types_are_registered()
    {
        var types = typeof(IControlMessage).Assembly.GetTypes()
            .Where(t => t is { IsAbstract: false, IsInterface: false } && typeof(IControlMessage).IsAssignableFrom(t)).ToHashSet();
        Assert.True(types.SetEquals(Manifests.ControlMessages.Select(m => m.Value)));
        Assert.True(types.SetEquals(ContractSamples.ControlMessages.Select(m => m.GetType())));
        Assert.Equal(types.Count, Manifests.ControlMessages.Select(m => m.Key).Distinct(StringComparer.Ordinal).Count());
        Assert.All(Manifests.ControlMessages, m => Assert.Matches("^[a-z.-]+/[0-9]+$", m.Key));
    }

    [Fact(DisplayName = "After the warm-up a node writes and reads the messages of a creation and an attachment, filled however, without compiling anything")]
    public async Task Warm_up()
    {
        await ControlWarmUp.RunAsync(_serializer, CancellationToken.None);
        var kinds = ControlWarmUp.Messages.Select(message => message.GetType()).ToHashSet();
        Assert.Equal(ControlWarmUp.Messages.Length, kinds.Count);
        Assert.Superset(new HashSet<Type>
        {
            typeof(PlacementProtocol.CreateVolume), typeof(VolumeProtocol.Create), typeof(VolumeProtocol.Done), typeof(PlacementProtocol.Found), typeof(VolumeProtocol.Describe), typeof(VolumeView),
            typeof(PlacementProtocol.GetVolume), typeof(PlacementProtocol.ListNodes), typeof(PlacementProtocol.NodeList), typeof(VolumeProtocol.Attach), typeof(VolumeProtocol.Attached),
        }, kinds);
        var samples = ContractSamples.ControlMessages.Where(message => kinds.Contains(message.GetType())).ToArray();
        Assert.Equal(kinds.Count, samples.Length);
        // Akka makes several of them, and the one that remoting holds is not the one that a look-up finds.
        var another = new ControlSerializer(null!);
        // Background compilations are of other threads.
        Assert.Equal(0, Compiled(samples, message => another.FromBinary(another.ToBinary(message), another.Manifest(message))));
        var cold = ControlSerializer.NewHyperion();
        Assert.True(Compiled(samples, message => cold.Serialize(message, Stream.Null)) > 50);
    }

    private static long Compiled(IControlMessage[] messages, Action<IControlMessage> use)
    {
        // The call itself is compiled too.
        use(ControlWarmUp.Messages[0]);
        var before = JitInfo.GetCompiledMethodCount(currentThread: true);
        foreach (var message in messages) use(message);
        return JitInfo.GetCompiledMethodCount(currentThread: true) - before;
    }

    [Fact(DisplayName = "Every control message crosses the wire unchanged")]
    public void Round_trip()
    {
        foreach (var message in ContractSamples.ControlMessages)
        {
            var bytes = _serializer.ToBinary(message);
            var back = _serializer.FromBinary(bytes, _serializer.Manifest(message));
            Assert.Equal(message.GetType(), back.GetType());
            Assert.Equal(bytes, _serializer.ToBinary(back));
        }
        var create = (VolumeProtocol.Create)Copy(ContractSamples.ControlMessages[0]);
        Assert.Equal([ContractSamples.Placement, ContractSamples.Placement], create.Replicas.AsEnumerable());
        Assert.Equal(ContractSamples.Spec.Labels.AsEnumerable(), create.Spec.Labels.AsEnumerable());
    }

    [Fact(DisplayName = "A type outside the list is not written")]
    public void Serialize_refuses_strangers()
    {
        foreach (var stranger in Strangers())
        {
            Assert.Throws<SerializationException>(() => _serializer.Manifest(stranger));
            Assert.Throws<SerializationException>(() => _serializer.ToBinary(stranger));
        }
    }

    [Fact(DisplayName = "A type outside the list is not read, under any manifest and with a valid checksum")]
    public void Deserialize_refuses_strangers()
    {
        var open = new Hyperion.Serializer(new SerializerOptions(true, false, [], [], [], true, [], false, null));
        foreach (var stranger in Strangers())
        {
            var bytes = Seal(open, stranger);
            Assert.ThrowsAny<Exception>(() => _serializer.FromBinary(bytes, AnyManifest));
        }
        Assert.Throws<SerializationException>(
            () => _serializer.FromBinary(_serializer.ToBinary(ContractSamples.ControlMessages[1]), "file/1"));
    }

    [Fact(DisplayName = "A type outside the list is not read inside a listed one either")]
    public void Nested_strangers()
    {
        var filter = new ControlTypeFilter();
        Assert.All(Manifests.Nested, t => Assert.True(filter.IsAllowed(t.AssemblyQualifiedName!), t.FullName));
        foreach (var type in new[] { typeof(FileInfo), typeof(Process), typeof(ProcessStartInfo), typeof(Action), typeof(List<string>),
            typeof(object) })
            Assert.False(filter.IsAllowed(type.AssemblyQualifiedName!), type.FullName);
        Assert.False(filter.IsAllowed("Cluster.Messages.Model.VolumeId, Other"));
    }

    [Fact(DisplayName = "A message under another message's manifest is refused")]
    public void Manifest_must_match()
    {
        var bytes = _serializer.ToBinary(new VolumeProtocol.Locate(new VolumeId(7)));
        Assert.Throws<SerializationException>(() => _serializer.FromBinary(bytes, "volume.delete/2"));
    }

    [Fact(DisplayName = "A flipped bit, a missing byte and another layout are refused before Hyperion reads them")]
    public void Corrupted_bytes()
    {
        var message = ContractSamples.ControlMessages[0];
        var (manifest, bytes) = (_serializer.Manifest(message), _serializer.ToBinary(message));
        for (var bit = 0; bit < bytes.Length * 8; bit += 7)
        {
            bytes[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.Throws<SerializationException>(() => _serializer.FromBinary(bytes, manifest));
            bytes[bit / 8] ^= (byte)(1 << (bit % 8));
        }
        for (var length = 0; length < bytes.Length; length++)
            Assert.Throws<SerializationException>(() => _serializer.FromBinary(bytes[..length], manifest));
        Assert.Throws<SerializationException>(() => _serializer.FromBinary([.. bytes, 0], manifest));
    }

    private object Copy(IControlMessage message) => _serializer.FromBinary(_serializer.ToBinary(message), _serializer.Manifest(message));

    private static ImmutableArray<object> Strangers() =>
        [new FileInfo("/etc/passwd"), new ProcessStartInfo("sh"), (Action)(() => { }), new List<string> { "a" }, "text", 5,
            new Uri("http://a/")];

    private static byte[] Seal(Hyperion.Serializer open, object stranger)
    {
        using var stream = new MemoryStream();
        try
        {
            open.Serialize(stranger, stream);
        }
        catch (Exception e) when (e is NotSupportedException or InvalidOperationException or MemberAccessException)
        {
            // What can't even be written by the open serializer is named by hand, as an attacker would.
            stream.SetLength(0);
            var name = System.Text.Encoding.UTF8.GetBytes(stranger.GetType().AssemblyQualifiedName!);
            stream.WriteByte(255);
            stream.Write(BitConverter.GetBytes(name.Length));
            stream.Write(name);
        }
        var body = stream.ToArray();
        var bytes = new byte[ControlSerializer.HeaderBytes + body.Length];
        bytes[0] = ControlSerializer.LayoutVersion;
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(1), (uint)body.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(5), XxHash3.HashToUInt64(body));
        body.CopyTo(bytes.AsSpan(ControlSerializer.HeaderBytes));
        return bytes;
    }
}
