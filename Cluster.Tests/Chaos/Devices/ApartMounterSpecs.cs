using Cluster.Csi.Attach;
using Cluster.Node.Hosting.Devices;
using Cluster.Tests.Integration.EndToEnd;

namespace Cluster.Tests.Chaos.Devices;

/// <summary>What a node has done to devices by processes of their own: the answers are those of the mounter itself, and no device holds the node up.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "Chaos")]
public class ApartMounterSpecs
{
    [Theory(DisplayName = "A device is probed, formatted, found to be in use and never formatted anew by a process of its own")]
    [InlineData(FileSystemKind.Ext4, FileSystemKind.Xfs)]
    [InlineData(FileSystemKind.Xfs, FileSystemKind.Ext4)]
    public async Task By_another_process(FileSystemKind kind, FileSystemKind other)
    {
        await using var rig = new DeviceRig();
        var device = await rig.AttachAsync();
        var mounter = Apart(rig);
        Assert.Equal(DeviceContent.Blank, DeviceRig.Ok(await mounter.ProbeAsync(device, default)).Content);
        DeviceRig.Ok(await mounter.FormatAsync(device, kind, [], default));
        Assert.Equal(kind, DeviceRig.Ok(await mounter.ProbeAsync(device, default)).FileSystem);
        var refused = await mounter.FormatAsync(device, other, [], default);
        Assert.Equal(AttachStatus.NotBlank, refused.Status);
        Assert.Contains(FileSystems.NameOf(kind), refused.Reason, StringComparison.Ordinal);
        DeviceRig.Ok(await mounter.MountAsync(new MountRequest(device, Path.Combine(rig.Root, "mnt"), kind, []), default));
        Assert.Equal(AttachStatus.InUse, (await mounter.ProbeAsync(device, default)).Status);
        DeviceRig.Ok(await mounter.FormatAsync(device, kind, [], default));
        Assert.Equal(AttachStatus.NotBlank, (await mounter.FormatAsync(device, other, [], default)).Status);
        DeviceRig.Ok(await mounter.GrowUnmountedAsync(device, kind, default));
    }

    [Fact(DisplayName = "A format of a device that does not answer is given up when it is cancelled, and made when the device answers again")]
    public async Task Given_up()
    {
        await using var rig = new DeviceRig();
        var device = await rig.AttachAsync();
        var mounter = Apart(rig);
        rig.Volume.Held = [];
        using var stop = new CancellationTokenSource();
        var formatting = mounter.FormatAsync(device, FileSystemKind.Ext4, [], stop.Token);
        await DeviceRig.UntilAsync(() => rig.Volume.Held.Count > 0, "the format did not reach the device");
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => formatting.WaitAsync(TimeSpan.FromMinutes(1)));
        rig.AnswerAgain();
        await DeviceRig.UntilAsync(() => mounter.ProbeAsync(device, default).GetAwaiter().GetResult().Status != AttachStatus.InUse, "the device stayed claimed");
        DeviceRig.Ok(await mounter.FormatAsync(device, FileSystemKind.Ext4, [], default));
    }

    [Fact(DisplayName = "What is no device of that program, or no line of it, is an error that says so")]
    public async Task Errors()
    {
        await using var rig = new DeviceRig();
        var device = await rig.AttachAsync();
        var nowhere = device with { Path = "/dev/not-there" };
        Assert.Equal(AttachStatus.NotFound, (await Apart(rig).ProbeAsync(nowhere, default)).Status);
        var silent = await new ApartMounter(["/bin/false"], rig.Address, rig.Root).ProbeAsync(device, default);
        Assert.Equal(AttachStatus.Failed, silent.Status);
        var babbling = await new ApartMounter(["/bin/echo"], rig.Address, rig.Root).FormatAsync(device, FileSystemKind.Ext4, [], default);
        Assert.Equal(AttachStatus.Failed, babbling.Status);
        Assert.Contains(device.Path, babbling.Reason, StringComparison.Ordinal);
        using var nothing = new StringReader("");
        Assert.NotEqual(0, await DeviceWork.RunAsync(nothing, TextWriter.Null));
    }

    [Fact(DisplayName = "A process that ends before it has read its job is an error that gives its exit, not a broken pipe")]
    public async Task Ends_unread()
    {
        await using var rig = new DeviceRig();
        var device = await rig.AttachAsync();
        // More than a pipe holds: the writer is still at it when the process ends.
        string[] options = [new('x', 1 << 20)];
        var unread = await new ApartMounter(["/bin/false"], rig.Address, rig.Root).FormatAsync(device, FileSystemKind.Ext4, options, default);
        Assert.Equal(AttachStatus.Failed, unread.Status);
        Assert.Contains("exit 1", unread.Reason, StringComparison.Ordinal);
    }

    private static ApartMounter Apart(DeviceRig rig) => new(DeviceProcess.Command, rig.Address, Path.Combine(rig.Root, "scratch"));
}
