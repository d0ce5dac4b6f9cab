using System.Buffers.Binary;
using Cluster.Csi.Attach;
using Cluster.Csi.Kernel;
using Cluster.Messages.Model;
using Cluster.Node.Hosting.Options;
using Cluster.Tests.Unit.Fakes;

namespace Cluster.Tests.Unit.Attach;

/// <summary>Messages to the kernel's NBD client byte by byte, its answers, what it shows in /sys, and which attacher makes a device.</summary>
public class KernelNbdSpecs
{
    private const ushort Family = 0x21;
    private const uint Sequence = 0x01020304;

    [Fact(DisplayName = "Requests to the kernel's NBD client are these bytes")]
    public void Requests()
    {
        var config = new NbdDeviceConfig("/a/v7.1", 0x1000, 4096, 0x1FF, 90);
        Assert.Equal(
            "60000000" + "2100" + "0500" + "04030201" + "00000000" + "01010000" +
            "0c000200" + "0010000000000000" + "0c000300" + "0010000000000000" + "0c000500" + "ff01000000000000" + "0c000800" + "5a00000000000000" +
            "0c000a00" + "2f612f76372e3100" + "10000700" + "0c000100" + "08000100" + "2a000000",
            Hex(NbdMessages.Connect(Family, Sequence, config, new[] { 42 })));
        Assert.Equal(
            "4c000000" + "2100" + "0500" + "04030201" + "00000000" + "03010000" +
            "08000100" + "05000000" + "0c000600" + "0000000000000000" + "08000a00" + "61622e00" + "1c000700" + "0c000100" + "08000100" + "06000000" + "0c000100" + "08000100" + "07000000",
            Hex(NbdMessages.Reconnect(Family, Sequence, 5, "ab.", new[] { 6, 7 })));
        Assert.Equal(
            "30000000" + "2100" + "0500" + "04030201" + "00000000" + "03010000" + "08000100" + "05000000" + "0c000200" + "0000000001000000" + "06000a00" + "62000000",
            Hex(NbdMessages.Resize(Family, Sequence, 5, "b", 1UL << 32)));
        Assert.Equal(
            "30000000" + "2100" + "0500" + "04030201" + "00000000" + "03010000" + "08000100" + "05000000" + "0c000600" + "0200000000000000" + "06000a00" + "62000000",
            Hex(NbdMessages.Release(Family, Sequence, 5, "b", onClose: true)));
        Assert.Equal("1c000000" + "2100" + "0500" + "04030201" + "00000000" + "02010000" + "08000100" + "05000000", Hex(NbdMessages.Disconnect(Family, Sequence, 5)));
        Assert.Equal("1c000000" + "2100" + "0500" + "04030201" + "00000000" + "05010000" + "08000100" + "05000000", Hex(NbdMessages.Status(Family, Sequence, 5)));
        Assert.Equal("1c000000" + "1000" + "0500" + "04030201" + "00000000" + "03020000" + "08000200" + "6e626400", Hex(NbdMessages.GetFamily("nbd", Sequence)));
    }

    [Fact(DisplayName = "A request that does not fit into a message is refused, not cut")]
    public void Too_long() => Assert.Throws<ArgumentException>(() => NbdMessages.Reconnect(Family, Sequence, 1, new string('a', 5000), new[] { 1 }));

    [Fact(DisplayName = "An answer is its message and the acknowledgement, in one datagram or two; answers to other requests are passed over")]
    public void Answers()
    {
        var message = Message(Family, 0, Sequence, [1, 1, 0, 0, 8, 0, 1, 0, 3, 0, 0, 0]);
        var acknowledged = Message(2, 0x100, Sequence, [0, 0, 0, 0, .. new byte[16]]);
        var answer = new NetlinkAnswer(Family, Sequence);
        Assert.True(answer.Take(Message(2, 0, Sequence - 1, [.. I32(-5), .. new byte[16]])));
        Assert.True(answer.Take(message));
        Assert.False(answer.IsComplete);
        Assert.True(answer.Take(acknowledged));
        Assert.Equal((true, 0, 3u), (answer.IsComplete, answer.Error, answer.U32(NbdMessages.Index)));
        Assert.Null(answer.U16(NbdMessages.Index));
        var both = new NetlinkAnswer(Family, Sequence);
        Assert.True(both.Take([.. message, .. acknowledged]));
        Assert.Equal((true, 3u), (both.IsComplete, both.U32(NbdMessages.Index)));
    }

    [Theory(DisplayName = "An error has its number, and the kernel's words behind what it quotes of the request")]
    [InlineData(true)]
    [InlineData(false)]
    public void Errors(bool isCapped)
    {
        byte[] quoted = [.. I32(24), .. new byte[12], .. isCapped ? Array.Empty<byte>() : new byte[8]];
        byte[] words = [8, 0, 1, 0, (byte)'n', (byte)'o', 0, 0];
        var answer = new NetlinkAnswer(Family, Sequence);
        Assert.True(answer.Take(Message(2, (ushort)(0x200 | (isCapped ? 0x100 : 0)), Sequence, [.. I32(-22), .. quoted, .. words])));
        Assert.Equal((true, 22, "no"), (answer.IsComplete, answer.Error, answer.Explanation));
    }

    [Fact(DisplayName = "An answer that is cut anywhere, or lies about a length, is malformed or incomplete; nothing is made up")]
    public void Malformed()
    {
        byte[] whole = [.. Message(Family, 0, Sequence, [1, 1, 0, 0, 8, 0, 1, 0, 3, 0, 0, 0]), .. Message(2, 0x300, Sequence, [.. I32(-22), .. I32(24), .. new byte[12], 8, 0, 1, 0, 1, 2, 3, 0])];
        for (var length = 0; length < whole.Length; length++)
        {
            var answer = new NetlinkAnswer(Family, Sequence);
            Assert.False(answer.Take(whole.AsSpan(0, length)) && answer.IsComplete, $"cut at {length}");
        }
        foreach (var at in new[] { 0, 20, 32, 48, 68 })
        {
            foreach (var lie in new byte[] { 1, 3, 200, 255 })
            {
                byte[] bent = [.. whole];
                bent[at] = lie;
                var answer = new NetlinkAnswer(Family, Sequence);
                Assert.False(answer.Take(bent) && answer.IsComplete && answer.Error != 22, $"{lie} at {at}");
            }
        }
        Assert.False(new NetlinkAnswer(Family, Sequence).Take(Message(2, 0, Sequence, [.. I32(5), .. new byte[16]])));
        Assert.False(new NetlinkAnswer(Family, Sequence).Take(Message(0x22, 0, Sequence, [1, 1, 0, 0])));
    }

    [Fact(DisplayName = "Devices of the kernel's client are read from /sys; those that are not configured are not there, and those of others are not ours")]
    public void Sys()
    {
        var sys = Directory.CreateTempSubdirectory("myrmidon-sys-").FullName;
        foreach (var (name, backend) in new[] { ("nbd0", "/a/kernel/v7.1"), ("nbd1", null), ("nbd12", ""), ("loop0", "/a/kernel/v7.1") })
        {
            Directory.CreateDirectory($"{sys}/{name}");
            if (backend is null) continue;
            foreach (var (file, text) in new[] { ("pid", "1"), ("size", "16"), ("ro", "1"), ("dev", "43:32") }) File.WriteAllText($"{sys}/{name}/{file}", text + "\n");
            if (backend.Length > 0) File.WriteAllText($"{sys}/{name}/backend", backend + "\n");
        }
        Assert.Equal([new KernelNbdDevice(0, "/a/kernel/v7.1", 8192, true, 43, 32), new KernelNbdDevice(12, "", 8192, true, 43, 32)], KernelNbdDevices.Read(sys));
        Directory.Delete(sys, recursive: true);
    }

    [Fact(DisplayName = "A device is known by its node, which stays the same over restarts, and its generation; those of another node with the same paths are not ours")]
    public void Backends()
    {
        var (first, second) = (Directory.CreateTempSubdirectory("myrmidon-id-").FullName, Directory.CreateTempSubdirectory("myrmidon-id-").FullName);
        var identity = new DeviceIdentity(new VolumeId(7), 1);
        var text = BackendName.Of(first).For(identity);
        Assert.Matches("^myrmidon:[0-9a-f]{32}:v7[.]1$", text);
        Assert.Equal(identity, BackendName.Of(first).IdentityOf(text));
        Assert.Null(BackendName.Of(second).IdentityOf(text));
        foreach (var other in new[] { "", "v7.1", "/a/v7.1", text[..^2], text + "x" }) Assert.Null(BackendName.Of(first).IdentityOf(other));
        File.WriteAllText(Path.Combine(first, "id"), "");
        Assert.Throws<IOException>(() => BackendName.Of(first));
        foreach (var directory in new[] { first, second }) Directory.Delete(directory, recursive: true);
    }

    [Theory(DisplayName = "New devices are made by the attacher that the setting and the host allow")]
    [InlineData("auto", true, AttacherKind.KernelNbd)]
    [InlineData("auto", false, AttacherKind.FuseLoop)]
    [InlineData("kernel-nbd", false, AttacherKind.KernelNbd)]
    [InlineData("fuse-loop", true, AttacherKind.FuseLoop)]
    public async Task Choice(string setting, bool hasKernel, AttacherKind expected)
    {
        Assert.True(Attachers.TryParse(setting, out var choice));
        var (kernel, fuse) = (new FakeAttacher(AttacherKind.KernelNbd) { IsSupported = hasKernel }, new FakeAttacher(AttacherKind.FuseLoop));
        var attacher = new ChosenAttacher(choice, kernel, fuse);
        Assert.Equal(expected, attacher.Kind);
        var made = await attacher.AttachAsync(Target(1), default);
        // One that was asked for by name and can't be had is refused, not replaced.
        Assert.Equal(expected != AttacherKind.KernelNbd || hasKernel, made.IsOk);
        if (made.IsOk) Assert.Equal(expected, made.Value!.Kind);
        Assert.False(Attachers.TryParse("nbd", out _));
    }

    [Fact(DisplayName = "A device stays with the attacher that made it; one of an older generation is taken away there before the other makes the next")]
    public async Task Stays()
    {
        var (kernel, fuse) = (new FakeAttacher(AttacherKind.KernelNbd), new FakeAttacher(AttacherKind.FuseLoop));
        var attacher = new ChosenAttacher(AttacherChoice.KernelNbd, kernel, fuse);
        await fuse.AttachAsync(Target(2), default);
        Assert.Equal(AttacherKind.FuseLoop, (await attacher.AttachAsync(Target(2), default)).Value!.Kind);
        Assert.Equal(AttacherKind.FuseLoop, (await attacher.ResizeAsync(new VolumeId(7), 9999, default)).Value!.Kind);
        Assert.Equal(AttachStatus.Refused, (await attacher.AttachAsync(Target(1), default)).Status);
        fuse.InUse = true;
        Assert.Equal(AttachStatus.InUse, (await attacher.AttachAsync(Target(3), default)).Status);
        Assert.Empty(kernel.Devices);
        fuse.InUse = false;
        Assert.Equal(AttacherKind.KernelNbd, (await attacher.AttachAsync(Target(3), default)).Value!.Kind);
        Assert.Empty(fuse.Devices);
        Assert.Equal(3ul, (await attacher.FindAsync(new VolumeId(7), default)).Value!.Identity.Generation);
        Assert.True((await attacher.DetachAsync(new VolumeId(7), force: false, default)).IsOk);
        Assert.Empty((await attacher.ListAsync(default)).Value!);
    }

    [Fact(DisplayName = "The setting attacher takes its three values and no other")]
    public void Setting()
    {
        var setting = NodeSetting.All.Single(setting => setting.Key == "attacher");
        Assert.Equal(AttacherChoice.FuseLoop, setting.Apply(new NodeOptions(), "fuse-loop")!.Attacher);
        Assert.Equal(AttacherChoice.KernelNbd, setting.Apply(new NodeOptions(), "kernel-nbd")!.Attacher);
        Assert.Equal(AttacherChoice.Auto, setting.Apply(new NodeOptions(), "auto")!.Attacher);
        Assert.Null(setting.Apply(new NodeOptions(), "nbd"));
    }

    private static AttachTarget Target(ulong generation) => new(new DeviceIdentity(new VolumeId(7), generation), "vol", 4096, 1000);

    private static string Hex(NetlinkMessage message) => Convert.ToHexStringLower(message.Bytes);

    private static byte[] I32(int value)
    {
        var bytes = new byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, value);
        return bytes;
    }

    private static byte[] Message(ushort type, ushort flags, uint sequence, byte[] body)
    {
        var bytes = new byte[16 + body.Length];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, bytes.Length);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(4), type);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(6), flags);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(8), sequence);
        body.CopyTo(bytes, 16);
        return bytes;
    }
}
