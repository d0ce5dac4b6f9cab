using System.Text.Json.Nodes;
using Cluster.Csi.Attach;
using Cluster.Node.Api;
using Cluster.Node.Cli;
using Cluster.Node.Cli.Dev;
using Cluster.Tests.Chaos.Hosts;
using Cluster.Tests.Integration.EndToEnd;

namespace Cluster.Tests.Chaos.Devices;

/// <summary>Volumes of a real cluster as devices and mounts of this host, by the command line.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "Chaos")]
public sealed class NodeDeviceSpecs : IAsyncLifetime
{
    private readonly string _mount = Directory.CreateTempSubdirectory("myrmidon-mount-").FullName;
    private LocalCluster _cluster = null!;

    public async Task InitializeAsync()
    {
        RootTools.Require("losetup", "mount", "umount", "blkid", "wipefs", "mkfs.ext4", "mkfs.xfs", "e2fsck", "setpriv", "python3");
        _cluster = await LocalCluster.StartAsync();
    }

    public async Task DisposeAsync()
    {
        foreach (var node in _cluster.Nodes)
        {
            if (node.Pid is null) await _cluster.StartNodeAsync(node.Name);
            foreach (var device in await DevicesAsync(node)) await RunAsync(node, "volume", "detach", device.Volume, "--force");
        }
        await _cluster.DisposeAsync();
        Directory.Delete(_mount, recursive: true);
    }

    [Fact(DisplayName = "A mounted volume does not notice that its node's process is killed and starts again; a detach leaves no mount, loop device, FUSE file or process")]
    public async Task Node_is_killed()
    {
        var node = _cluster.Nodes[0];
        await _cluster.CreateVolumeAsync("db", 1UL << 30);
        var attached = (await RunAsync(node, "volume", "attach", "db", "--mount", _mount, "--options", "noatime", "-o", "json")).Ok();
        var device = JsonNode.Parse(attached.Output)!;
        Assert.Equal((_mount, "ext4"), ((string)device["mounts"]![0]!["path"]!, (string)device["mounts"]![0]!["fileSystem"]!));
        var before = MountTable.At(MountTable.Read(), _mount);
        var load = Tool.RunAsync("fio", "--name=load", $"--directory={_mount}", "--size=64m", "--rw=randwrite", "--bsrange=4k-256k", "--fsync=16", "--ioengine=libaio",
            "--iodepth=8", "--direct=1", "--verify=crc32c", "--do_verify=1", "--verify_fatal=1", "--rate=,5m");
        await Task.Delay(2000);
        await _cluster.KillAsync(node.Name);
        await _cluster.StartNodeAsync(node.Name);
        (await load).Ok();
        Assert.Equal(before, MountTable.At(MountTable.Read(), _mount));
        var name = Path.GetFileName((string)device["device"]!);
        Assert.Equal("0", (await File.ReadAllTextAsync($"/sys/fs/ext4/{name}/errors_count")).Trim());
        (await RunAsync(node, "volume", "attach", "db", "--mount", _mount)).Ok();
        Assert.True(Assert.Single(await DevicesAsync(node)).Served);
        (await RunAsync(node, "volume", "detach", "db")).Ok();
        AssertNothingLeft();
        Assert.Null((await LocalCluster.GetVolumeAsync(node, "db"))!.Attachment.Node);
        (await RunAsync(node, "volume", "detach", "db")).Ok();
        (await RunAsync(node, "volume", "attach", "db", "--mount", _mount)).Ok();
        Assert.True(File.Exists(Path.Combine(_mount, "load.0.0")));
    }

    [Fact(DisplayName = "A volume attached to another node is cut off here at once: writes fail, the other node's mount has all that was written, and what is left here goes")]
    public async Task Second_attach_fences()
    {
        var (first, second) = (_cluster.Nodes[0], _cluster.Nodes[1]);
        var there = Directory.CreateTempSubdirectory("myrmidon-mount-").FullName;
        await _cluster.CreateVolumeAsync("db", 1UL << 30);
        (await RunAsync(first, "volume", "attach", "db", "--mount", _mount)).Ok();
        await File.WriteAllTextAsync(Path.Combine(_mount, "f"), "written before");
        await RootTools.RunAsync("sync", "-f", _mount);
        (await RunAsync(second, "volume", "attach", "db", "--mount", there)).Ok();
        Assert.NotEqual(0, (await Tool.RunAsync("dd", "if=/dev/zero", $"of={_mount}/g", "bs=4k", "count=1", "oflag=direct,sync")).Exit);
        Assert.Equal("written before", await File.ReadAllTextAsync(Path.Combine(there, "f")));
        await File.WriteAllTextAsync(Path.Combine(there, "h"), "after");
        await RootTools.RunAsync("sync", "-f", there);
        Assert.Contains($"cut off (attached to {second.Name})", (await RunAsync(first, "volume", "devices")).Ok().Output, StringComparison.Ordinal);
        // What was cut off is of no use, but not in the way unless somebody is still in it.
        using (File.OpenRead(Path.Combine(_mount, "f")))
        {
            var refused = await RunAsync(first, "volume", "attach", "db", "--mount", _mount);
            Assert.Equal(ExitCode.Conflict, refused.Exit);
            Assert.Contains("of an attachment that has ended", refused.Error, StringComparison.Ordinal);
        }
        (await RunAsync(first, "volume", "attach", "db", "--mount", _mount)).Ok();
        Assert.Equal("after", await File.ReadAllTextAsync(Path.Combine(_mount, "h")));
        // Who clears up what is left there does not mean whoever uses the volume now.
        var left = (await RunAsync(second, "volume", "detach", "db")).Ok();
        Assert.Contains($"stays attached to {first.Name}", left.Output, StringComparison.Ordinal);
        Assert.Equal("served", Assert.Single(await DevicesAsync(first), device => device.Volume == "db").Served ? "served" : "dead");
        (await RunAsync(second, "volume", "detach", "db", "--local")).Ok();
        await File.WriteAllTextAsync(Path.Combine(_mount, "i"), "still here");
        await RootTools.RunAsync("sync", "-f", _mount);
        (await RunAsync(second, "volume", "detach", "db")).Ok();
        Assert.Null((await LocalCluster.GetVolumeAsync(first, "db"))!.Attachment.Node);
        Directory.Delete(there);
    }

    [Fact(DisplayName = "After the process behind a device was killed, a detach or an attach mends what is left of it")]
    public async Task Daemon_is_killed()
    {
        var node = _cluster.Nodes[0];
        await _cluster.CreateVolumeAsync("db", 1UL << 30);
        (await RunAsync(node, "volume", "attach", "db", "--mount", _mount)).Ok();
        await File.WriteAllTextAsync(Path.Combine(_mount, "f"), "kept");
        await RootTools.RunAsync("sync", "-f", _mount);
        var export = Assert.Single(LoopDevices.Read(), loop => loop.BackingFile.StartsWith(_cluster.Directory, StringComparison.Ordinal)).BackingFile;
        Assert.True(DaemonProcess.Signal($"--path={export}", Native.Kill));
        await DeviceRig.UntilAsync(() => DaemonProcess.Find($"--path={export}").Count == 0, "the process did not end");
        Assert.False(Assert.Single(await DevicesAsync(node)).Served);
        (await RunAsync(node, "volume", "attach", "db", "--mount", _mount)).Ok();
        Assert.Equal("kept", await File.ReadAllTextAsync(Path.Combine(_mount, "f")));
        Assert.True(DaemonProcess.Signal($"--path={export}", Native.Kill));
        await DeviceRig.UntilAsync(() => DaemonProcess.Find($"--path={export}").Count == 0, "the process did not end");
        (await RunAsync(node, "volume", "detach", "db")).Ok();
        AssertNothingLeft();
    }

    [Fact(DisplayName = "A grown volume shows its size, and its mounted file system grows, when it is attached again")]
    public async Task Grows()
    {
        var node = _cluster.Nodes[0];
        await _cluster.CreateVolumeAsync("db", 1UL << 30);
        (await RunAsync(node, "volume", "attach", "db", "--mount", _mount, "--fs", "xfs", "--format-options", "-L shop")).Ok();
        Assert.Contains("LABEL=\"shop\"", (await Tool.RunAsync("blkid", (await DevicesAsync(node)).Single().Device)).Ok().Output, StringComparison.Ordinal);
        (await RunAsync(node, "volume", "resize", "db", "--size", "2GiB")).Ok();
        (await RunAsync(node, "volume", "attach", "db", "--mount", _mount)).Ok();
        Assert.Equal(2UL << 30, Assert.Single(await DevicesAsync(node)).SizeBytes);
        Assert.True(new DriveInfo(_mount).TotalSize > 1.5 * (1UL << 30));
        var other = await RunAsync(node, "volume", "attach", "db", "--mount", _mount, "--fs", "ext4");
        Assert.Equal(ExitCode.Conflict, other.Exit);
        Assert.Contains("holds xfs", other.Error, StringComparison.Ordinal);
        Assert.Contains("ask for xfs to mount what is there", other.Error, StringComparison.Ordinal);
        (await RunAsync(node, "volume", "detach", "db")).Ok();
        (await RunAsync(node, "volume", "attach", "db", "--mount", _mount)).Ok();
        Assert.Equal("xfs", new DriveInfo(_mount).DriveFormat);
        (await RunAsync(node, "volume", "detach", "db")).Ok();
        AssertNothingLeft();
    }

    [Fact(DisplayName = "A volume of 250 TiB on nodes of far less gets an xfs, takes files, and uses no more space than what is written")]
    public async Task Huge()
    {
        const ulong HugeBytes = 250UL << 40;
        const ulong FileBytes = 16UL << 20;
        const ulong FormatBytesMax = 64UL << 20;
        var node = _cluster.Nodes[0];
        await _cluster.CreateVolumeAsync("huge", HugeBytes);
        (await RunAsync(node, "volume", "attach", "huge", "--mount", _mount, "--fs", "xfs")).Ok();
        Assert.InRange((ulong)new DriveInfo(_mount).TotalSize, HugeBytes - (HugeBytes / 100), HugeBytes);
        var path = Path.Combine(_mount, "f");
        var written = new byte[FileBytes];
        new Random(5).NextBytes(written);
        await File.WriteAllBytesAsync(path, written);
        (await RunAsync(node, "volume", "detach", "huge")).Ok();
        (await RunAsync(node, "volume", "attach", "huge", "--mount", _mount, "--fs", "xfs")).Ok();
        Assert.Equal(written, await File.ReadAllBytesAsync(path));
        Assert.InRange((await LocalCluster.GetVolumeAsync(node, "huge"))!.UsedBytes!.Value, FileBytes, FileBytes + FormatBytesMax);
        (await RunAsync(node, "volume", "detach", "huge")).Ok();
        AssertNothingLeft();
    }

    [Theory(DisplayName = "A clone is mounted beside the volume that it was made from, on the same host: both file systems have one UUID")]
    [InlineData("xfs")]
    [InlineData("ext4")]
    public async Task Clone_beside_its_origin(string fileSystem)
    {
        var node = _cluster.Nodes[0];
        var beside = Directory.CreateTempSubdirectory("myrmidon-mount-").FullName;
        await _cluster.CreateVolumeAsync("db", 1UL << 30);
        (await RunAsync(node, "volume", "attach", "db", "--mount", _mount, "--fs", fileSystem)).Ok();
        await File.WriteAllTextAsync(Path.Combine(_mount, "f"), "in both");
        await RootTools.RunAsync("sync", "-f", _mount);
        (await RunAsync(node, "volume", "create", "copy", "--from-volume", "db")).Ok();
        (await RunAsync(node, "volume", "attach", "copy", "--mount", beside, "--fs", fileSystem)).Ok();
        Assert.Equal("in both", await File.ReadAllTextAsync(Path.Combine(beside, "f")));
        await File.WriteAllTextAsync(Path.Combine(beside, "g"), "in the clone");
        Assert.False(File.Exists(Path.Combine(_mount, "g")));
        foreach (var volume in new[] { "copy", "db" }) (await RunAsync(node, "volume", "detach", volume)).Ok();
        AssertNothingLeft();
        Directory.Delete(beside);
    }

    [Fact(DisplayName = "With --node and no device asked for, attach and detach are what they were; a device is only to be had on the node that is asked")]
    public async Task Without_device()
    {
        await _cluster.CreateVolumeAsync("db", 1UL << 30);
        (await RunAsync(_cluster.Nodes[0], "volume", "attach", "db", "--node", "node-1")).Ok();
        Assert.Equal("node-1", (await LocalCluster.GetVolumeAsync(_cluster.Nodes[0], "db"))!.Attachment.Node);
        Assert.Empty(await DevicesAsync(_cluster.Nodes[1]));
        Assert.Equal(ExitCode.Usage, (await RunAsync(_cluster.Nodes[0], "volume", "attach", "db", "--node", "node-1", "--device")).Exit);
        (await RunAsync(_cluster.Nodes[0], "volume", "detach", "db")).Ok();
        Assert.Null((await LocalCluster.GetVolumeAsync(_cluster.Nodes[0], "db"))!.Attachment.Node);
    }

    [Fact(DisplayName = "Only root on the node's host can have devices: anybody else could mount programs of his own")]
    public async Task Only_root()
    {
        var script = $"import urllib.request, urllib.error\ntry:\n  urllib.request.urlopen('{_cluster.Nodes[0].Api}/v1/devices')\n  print(200)\nexcept urllib.error.HTTPError as e:\n  print(e.code)";
        Assert.Equal("403", (await Tool.RunAsync("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c", script)).Ok().Output.Trim());
        Assert.Equal("200", (await Tool.RunAsync("/usr/bin/python3", "-c", script)).Ok().Output.Trim());
    }

    private static Task<ToolRun> RunAsync(DevNode node, params string[] arguments)
    {
        var program = NodeProcess.Program();
        return Tool.RunAsync(program[0], [.. program[1..], .. arguments, "--endpoint", node.Api]);
    }

    private static async Task<IReadOnlyList<DeviceResource>> DevicesAsync(DevNode node)
    {
        using var api = new ApiClient(new Uri(node.Api));
        var answer = await api.GetAsync("/v1/devices", default);
        Assert.True(answer.IsOk, answer.Error);
        return answer.As<DeviceListResource>().Devices;
    }

    private void AssertNothingLeft()
    {
        Assert.DoesNotContain(LoopDevices.Read(), loop => loop.BackingFile.StartsWith(_cluster.Directory, StringComparison.Ordinal));
        Assert.DoesNotContain(MountTable.Read(), mount => mount.Path.StartsWith(_cluster.Directory, StringComparison.Ordinal) || mount.Path == _mount);
        foreach (var node in _cluster.Nodes) Assert.Empty(Directory.EnumerateDirectories(Path.Combine(node.Data, "attach"), "v*"));
        var processes = Directory.EnumerateDirectories("/proc").Select(path => Path.GetFileName(path)).Where(name => name.All(char.IsAsciiDigit))
            .Where(pid => CommandLineOf(pid).Contains($"--path={_cluster.Directory}", StringComparison.Ordinal));
        Assert.Empty(processes);
    }

    private static string CommandLineOf(string pid)
    {
        try
        {
            return File.ReadAllText($"/proc/{pid}/cmdline");
        }
        catch (IOException)
        {
            return "";
        }
    }
}
