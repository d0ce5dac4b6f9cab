using Cluster.Csi.Attach;
using Cluster.Messages.Model;

namespace Cluster.Tests.Unit.Csi;

public sealed class FormatterSpecs : IDisposable
{
    private readonly DirectoryInfo _root = Directory.CreateTempSubdirectory("myrmidon-format-");

    public void Dispose() => _root.Delete(recursive: true);

    [Fact(DisplayName = "ext4 on a device that is too large for a file beside the data is refused with what to do, and nothing is written to the device")]
    public async Task Too_large()
    {
        var path = Path.Combine(_root.FullName, "device");
        using var claimed = File.OpenHandle(path, FileMode.Create, FileAccess.ReadWrite);
        var device = new AttachedDevice(new DeviceIdentity(new VolumeId(1), 1), "big", path, 250UL << 40, ReadOnly: false, AttacherKind.FuseLoop);
        var answer = await new Formatter(Path.Combine(_root.FullName, "scratch"), (_, _) => false).FormatAsync(device, claimed, FileSystemKind.Ext4, [], unfinished: false, default);
        Assert.Equal(AttachStatus.NotSupported, answer.Status);
        Assert.StartsWith("ext4 is not made on 250 TiB at once", answer.Reason, StringComparison.Ordinal);
        Assert.Contains("Use xfs, or make the volume smaller", answer.Reason, StringComparison.Ordinal);
        Assert.Equal(0, new FileInfo(path).Length);
    }
}
