using System.Text.Json.Nodes;
using Cluster.Csi.Attach;
using Cluster.Tests.Chaos.Hosts;
using Cluster.Tests.Integration.EndToEnd;

namespace Cluster.Tests.Chaos.Devices;

/// <summary>The calls of Docker's daemon, as it makes them, over the plug-ins' sockets of a real cluster.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "Chaos")]
public sealed class DockerPluginSpecs : IAsyncLifetime
{
    private LocalCluster _cluster = null!;

    public async Task InitializeAsync()
    {
        RootTools.Require("losetup", "mount", "umount", "blkid", "wipefs", "mkfs.ext4", "e2fsck");
        _cluster = await LocalCluster.StartAsync();
    }

    public async Task DisposeAsync() => await _cluster.DisposeAsync();

    [Fact(DisplayName = "Docker's calls: activate, create, two containers mount, the node is killed in between, the last one unmounts, remove; nothing is left")]
    public async Task Life_of_a_volume()
    {
        var socket = SocketOf(0);
        Assert.Equal("VolumeDriver", (string)(await DockerCalls.CallAsync(socket, "Plugin.Activate", null))["Implements"]![0]!);
        Assert.Equal("global", (string)(await DockerCalls.CallAsync(socket, "VolumeDriver.Capabilities", new { }))["Capabilities"]!["Scope"]!);
        Assert.NotEqual("", ErrorOf(await DockerCalls.CallAsync(socket, "VolumeDriver.Get", new { Name = "shop_db" })));
        var create = new { Name = "shop_db", Opts = new Dictionary<string, string> { ["size"] = "1GiB", ["replicas"] = "3", ["mount-options"] = "noatime" } };
        await OkAsync(socket, "VolumeDriver.Create", create);
        await OkAsync(socket, "VolumeDriver.Create", create);
        await OkAsync(socket, "VolumeDriver.Create", new { Name = "shop_db" });
        foreach (var (key, value, said) in new[] { ("size", "2GiB", "1073741824 bytes"), ("replicas", "2", "myrmidon.dev/replicas '3' and not '2'"), ("fs", "xfs", "'ext4' and not 'xfs'"), ("mount-options", "ro", "'noatime'") })
            Assert.Contains(said, ErrorOf(await DockerCalls.CallAsync(socket, "VolumeDriver.Create", new { Name = "shop_db", Opts = new Dictionary<string, string> { [key] = value } })), StringComparison.Ordinal);
        Assert.Equal("", (string)(await OkAsync(socket, "VolumeDriver.Get", new { Name = "shop_db" }))["Volume"]!["Mountpoint"]!);
        var path = (string)(await OkAsync(socket, "VolumeDriver.Mount", new { Name = "shop_db", ID = "one" }))["Mountpoint"]!;
        Assert.Equal(path, (string)(await OkAsync(socket, "VolumeDriver.Mount", new { Name = "shop_db", ID = "one" }))["Mountpoint"]!);
        await File.WriteAllTextAsync(Path.Combine(path, "f"), "x");
        await _cluster.KillAsync("node-0");
        await _cluster.StartNodeAsync("node-0");
        Assert.Equal(path, (string)(await OkAsync(socket, "VolumeDriver.Mount", new { Name = "shop_db", ID = "two" }))["Mountpoint"]!);
        Assert.Equal(path, (string)(await OkAsync(socket, "VolumeDriver.Path", new { Name = "shop_db" }))["Mountpoint"]!);
        var listed = Assert.Single((await OkAsync(socket, "VolumeDriver.List", new { }))["Volumes"]!.AsArray())!;
        Assert.Equal(("shop_db", path), ((string)listed["Name"]!, (string)listed["Mountpoint"]!));
        Assert.Contains("one, two", ErrorOf(await DockerCalls.CallAsync(socket, "VolumeDriver.Remove", new { Name = "shop_db" })), StringComparison.Ordinal);
        await OkAsync(socket, "VolumeDriver.Unmount", new { Name = "shop_db", ID = "one" });
        await OkAsync(socket, "VolumeDriver.Unmount", new { Name = "shop_db", ID = "one" });
        Assert.Equal("x", await File.ReadAllTextAsync(Path.Combine(path, "f")));
        await OkAsync(socket, "VolumeDriver.Unmount", new { Name = "shop_db", ID = "two" });
        AssertNothingLeft();
        await OkAsync(socket, "VolumeDriver.Unmount", new { Name = "shop_db", ID = "two" });
        await OkAsync(socket, "VolumeDriver.Remove", new { Name = "shop_db" });
        await OkAsync(socket, "VolumeDriver.Remove", new { Name = "shop_db" });
        Assert.Empty((await OkAsync(socket, "VolumeDriver.List", new { }))["Volumes"]!.AsArray());
    }

    [Fact(DisplayName = "A container that starts on another host finds its data; while the first host is up and has it mounted it is refused, with the reason")]
    public async Task Moves_to_another_host()
    {
        await OkAsync(SocketOf(0), "VolumeDriver.Create", new { Name = "db", Opts = new Dictionary<string, string> { ["size"] = "1GiB" } });
        var here = (string)(await OkAsync(SocketOf(0), "VolumeDriver.Mount", new { Name = "db", ID = "a" }))["Mountpoint"]!;
        await File.WriteAllTextAsync(Path.Combine(here, "f"), "moved");
        Assert.Contains("in use on node node-0; stop its containers there", ErrorOf(await DockerCalls.CallAsync(SocketOf(1), "VolumeDriver.Mount", new { Name = "db", ID = "b" })), StringComparison.Ordinal);
        await OkAsync(SocketOf(0), "VolumeDriver.Unmount", new { Name = "db", ID = "a" });
        var there = (string)(await OkAsync(SocketOf(1), "VolumeDriver.Mount", new { Name = "db", ID = "b" }))["Mountpoint"]!;
        Assert.Equal("moved", await File.ReadAllTextAsync(Path.Combine(there, "f")));
        await OkAsync(SocketOf(1), "VolumeDriver.Unmount", new { Name = "db", ID = "b" });
        AssertNothingLeft();
    }

    [Fact(DisplayName = "Calls that make no sense are answered in Err, in words")]
    public async Task Wrong_calls()
    {
        var socket = SocketOf(0);
        Assert.Contains("10GiB", ErrorOf(await DockerCalls.CallAsync(socket, "VolumeDriver.Create", new { Name = "db", Opts = new Dictionary<string, string> { ["size"] = "much" } })),
            StringComparison.Ordinal);
        Assert.Contains("replicas", ErrorOf(await DockerCalls.CallAsync(socket, "VolumeDriver.Create", new { Name = "db", Opts = new Dictionary<string, string> { ["replica"] = "3" } })),
            StringComparison.Ordinal);
        Assert.Contains("no name", ErrorOf(await DockerCalls.CallAsync(socket, "VolumeDriver.Create", new { Name = "a/b" })), StringComparison.Ordinal);
        Assert.Contains("no call", ErrorOf(await DockerCalls.CallAsync(socket, "VolumeDriver.Dance", new { })), StringComparison.Ordinal);
        Assert.Contains("not the JSON", ErrorOf(await DockerCalls.SendAsync(socket, "VolumeDriver.Get", "{")), StringComparison.Ordinal);
        Assert.NotEqual("", ErrorOf(await DockerCalls.CallAsync(socket, "VolumeDriver.Mount", new { Name = "none", ID = "a" })));
        Assert.NotEqual("", ErrorOf(await DockerCalls.CallAsync(socket, "VolumeDriver.Path", new { Name = "none" })));
    }

    private string SocketOf(int node) => Path.Combine(_cluster.Nodes[node].Data, "docker.sock");

    private static string ErrorOf(JsonNode answer) => (string)answer["Err"]!;

    private static async Task<JsonNode> OkAsync(string socket, string call, object body)
    {
        var answer = await DockerCalls.CallAsync(socket, call, body);
        Assert.True(ErrorOf(answer).Length == 0, $"{call}: {ErrorOf(answer)}");
        return answer;
    }

    private void AssertNothingLeft()
    {
        Assert.DoesNotContain(LoopDevices.Read(), loop => loop.BackingFile.StartsWith(_cluster.Directory, StringComparison.Ordinal));
        Assert.DoesNotContain(MountTable.Read(), mount => mount.Path.StartsWith(_cluster.Directory, StringComparison.Ordinal));
    }
}
