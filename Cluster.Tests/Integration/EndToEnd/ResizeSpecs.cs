using System.Text.Json.Nodes;
using Cluster.Node.Cli;
using Cluster.Tests.Integration.Cli;
using Cluster.Tests.Integration.Nbd;

namespace Cluster.Tests.Integration.EndToEnd;

/// <summary>Another size of a volume in use, as unchanged clients see it (docs/nbd.md).</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "EndToEnd")]
public sealed class ResizeSpecs(LocalClusterFixture fixture) : IClassFixture<LocalClusterFixture>
{
    private const ulong MiB = 1UL << 20;

    private LocalCluster Cluster => fixture.Cluster;

    /// <summary>Under a connection that is open all the time: `old` keeps the size that it was told, and may use what there is now; new connections are told what there is.</summary>
    private const string Script = """
        import errno, json, time, urllib.request, urllib.error
        MiB = 1 << 20
        def resize(size, allow=False):
            body = json.dumps({"sizeBytes": size, "allowShrink": allow}).encode()
            request = urllib.request.Request(api + "/v1/volumes/resized", body, {"Content-Type": "application/merge-patch+json"}, method="PATCH")
            try:
                with urllib.request.urlopen(request, timeout=40) as answer:
                    return answer.status, json.load(answer)["sizeBytes"]
            except urllib.error.HTTPError as refused:
                return refused.code, json.load(refused)["detail"]
        def told():
            fresh = nbd.NBD()
            fresh.set_opt_mode(True)
            fresh.connect_uri(uri)
            fresh.opt_info()
            asked = fresh.get_size()
            fresh.opt_go()
            opened = fresh.get_size()
            fresh.shutdown()
            assert asked == opened, (asked, opened)
            return opened
        def until(what, condition):
            deadline = time.monotonic() + 30
            while not condition():
                assert time.monotonic() < deadline, what
                time.sleep(0.01)
        def error_of(action):
            try:
                action()
            except nbd.Error as error:
                return error.errnum
            return 0
        old = h
        old.set_strict_mode(0)
        old.connect_uri(uri)
        assert old.get_size() == 64 * MiB
        old.pwrite(b"a" * 4096, 64 * MiB - 4096)
        assert error_of(lambda: old.pwrite(b"b" * 4096, 64 * MiB)) == errno.ENOSPC
        assert resize(96 * MiB) == (200, 96 * MiB)
        until("new connections are not told of the new size", lambda: told() == 96 * MiB)
        until("the old connection may not use it", lambda: error_of(lambda: old.pwrite(b"b" * 4096, 80 * MiB, nbd.CMD_FLAG_FUA)) == 0)
        assert old.get_size() == 64 * MiB
        assert old.pread(4096, 80 * MiB) == b"b" * 4096 and old.pread(4096, 64 * MiB - 4096) == b"a" * 4096
        status, detail = resize(72 * MiB)
        assert status == 400 and "--allow-shrink" in detail, (status, detail)
        status, detail = resize(72 * MiB, True)
        assert status == 409 and "offset %d" % (80 * MiB) in detail, (status, detail)
        assert told() == 96 * MiB
        old.trim(16 * MiB, 80 * MiB)
        assert resize(72 * MiB, True) == (200, 72 * MiB)
        until("new connections are not told of the smaller size", lambda: told() == 72 * MiB)
        assert error_of(lambda: old.pwrite(b"c" * 4096, 80 * MiB)) == errno.ENOSPC
        assert error_of(lambda: old.pread(4096, 72 * MiB)) == errno.EINVAL
        assert old.pread(4096, 72 * MiB - 4096) == bytes(4096)
        assert resize(96 * MiB) == (200, 96 * MiB)
        until("new connections are not told that it grew again", lambda: told() == 96 * MiB)
        until("the old connection may not use it", lambda: error_of(lambda: old.pread(4096, 80 * MiB)) == 0)
        assert old.pread(16 * MiB, 80 * MiB) == bytes(16 * MiB)
        assert old.pread(4096, 64 * MiB - 4096) == b"a" * 4096
        old.shutdown()
        """;

    [Fact(DisplayName = "A volume grows and shrinks under an open connection: it may use what there is, others are told when they connect; data beyond the new end refuses the shrink")]
    public async Task Under_a_connection()
    {
        await Cluster.CreateVolumeAsync("resized", 64 * MiB);
        var (near, far) = (Cluster.Nodes[0], Cluster.Nodes[2]);
        await ClientTool.Run("nbdsh", "-c", $"api, uri = \"{near.Api}\", \"{far.Nbd}/resized\"", "-c", Script);
        var info = JsonNode.Parse((await Tool.RunAsync("qemu-img", "info", "--output=json", "-f", "raw", $"{near.Nbd}/resized")).Ok().Output)!;
        Assert.Equal(96L << 20, (long)info["virtual-size"]!);
    }

    [Fact(DisplayName = "`volume resize` shrinks only with --allow-shrink, and not while there are snapshots")]
    public async Task By_the_command_line()
    {
        await Cluster.CreateVolumeAsync("shrunk", 64 * MiB);
        Assert.Contains("--allow-shrink", await RunAsync(ExitCode.Usage, "volume", "resize", "shrunk", "--size", "32MiB"), StringComparison.Ordinal);
        await RunAsync(ExitCode.Ok, "snapshot", "create", "shrunk", "monday");
        Assert.Contains("1 snapshot of its present size", await RunAsync(ExitCode.Conflict, "volume", "resize", "shrunk", "--size", "32MiB", "--allow-shrink"), StringComparison.Ordinal);
        await RunAsync(ExitCode.Ok, "snapshot", "delete", "shrunk", "monday");
        Assert.Contains("32MiB now", await RunAsync(ExitCode.Ok, "volume", "resize", "shrunk", "--size", "32MiB", "--allow-shrink"), StringComparison.Ordinal);
        Assert.Equal(32 * MiB, (await LocalCluster.GetVolumeAsync(Cluster.Nodes[1], "shrunk"))!.SizeBytes);
    }

    private async Task<string> RunAsync(int expected, params string[] arguments)
    {
        using var output = new CapturedText();
        var code = await CommandLine.RunAsync([.. arguments, "--endpoint", Cluster.Nodes[1].Api], output, output);
        Assert.True(code == expected, $"{string.Join(' ', arguments)} ended with {code}, not {expected}:\n{output}");
        return output.ToString();
    }
}
