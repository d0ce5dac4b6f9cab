using Cluster.Csi.Csi.V1;
using Google.Protobuf;
using Google.Protobuf.Reflection;

namespace Cluster.Tests.Unit.Csi;

/// <summary>Names, numbers and types on the wire are those of CSI 1.12, as Golden/csi-1.12.txt has them from the specification.</summary>
public class ProtoSpecs
{
    private static readonly FileDescriptor[] Files =
        [TypesReflection.Descriptor, IdentityReflection.Descriptor, ControllerReflection.Descriptor, SnapshotsReflection.Descriptor, GroupsReflection.Descriptor, NodeReflection.Descriptor];

    [Fact(DisplayName = "Every message, field, enum value and call has the name, number and type of the specification")]
    public void The_contract()
    {
        var golden = File.ReadAllLines(Path.Combine(AppContext.BaseDirectory, "Golden", "csi-1.12.txt"));
        Assert.Equal(golden.Order(StringComparer.Ordinal), Lines().Order(StringComparer.Ordinal));
    }

    [Fact(DisplayName = "A request's bytes are the specification's")]
    public void Bytes()
    {
        var request = new CreateVolumeRequest
        {
            Name = "pg",
            CapacityRange = new() { RequiredBytes = 300 },
            VolumeCapabilities = { new VolumeCapability { Mount = new() { FsType = "xfs" }, AccessMode = new() { Mode = (VolumeCapability.Types.AccessMode.Types.Mode)7 } } },
            MutableParameters = { ["a"] = "b" },
        };
        Assert.Equal("0A0270671203" + "08AC02" + "1A0B" + "12050A03786673" + "1A020807" + "42060A01611201" + "62", Convert.ToHexString(request.ToByteArray()));
    }

    [Fact(DisplayName = "Every field that holds secrets is marked as one")]
    public void Secrets()
    {
        var fields = Files.SelectMany(file => file.MessageTypes).SelectMany(message => message.Fields.InDeclarationOrder()).ToArray();
        var secret = fields.Where(field => field.GetOptions() is { } options && options.GetExtension(TypesExtensions.CsiSecret)).ToArray();
        Assert.Equal(fields.Where(field => field.Name == "secrets"), secret);
        Assert.True(secret.Length > 10);
    }

    private static IEnumerable<string> Lines()
    {
        foreach (var file in Files)
        {
            foreach (var line in file.MessageTypes.SelectMany(Lines).Concat(file.EnumTypes.SelectMany(Lines))) yield return line;
            foreach (var method in file.Services.SelectMany(service => service.Methods))
                yield return $"{method.FullName} {method.InputType.FullName} {(method.IsServerStreaming ? "stream " : "")}{method.OutputType.FullName}";
        }
    }

    private static IEnumerable<string> Lines(MessageDescriptor message)
    {
        if (message.GetOptions()?.MapEntry ?? false) return [];
        var fields = message.Fields.InDeclarationOrder().Select(field => $"{field.FullName} {field.FieldNumber} {TypeOf(field)}"
            + (field.RealContainingOneof is { } oneof ? $" in {oneof.Name}" : ""));
        return fields.Append(message.FullName).Concat(message.NestedTypes.SelectMany(Lines)).Concat(message.EnumTypes.SelectMany(Lines));
    }

    private static IEnumerable<string> Lines(EnumDescriptor values) => values.Values.Select(value => $"{values.FullName}.{value.Name} {value.Number}");

    private static string TypeOf(FieldDescriptor field)
    {
        if (field.IsMap) return "map<string, string>";
        var type = field.FieldType switch
        {
            FieldType.Message => field.MessageType.FullName,
            FieldType.Enum => field.EnumType.FullName,
            var scalar => scalar.ToString().ToLowerInvariant(),
        };
        return field.IsRepeated ? "repeated " + type : type;
    }
}
