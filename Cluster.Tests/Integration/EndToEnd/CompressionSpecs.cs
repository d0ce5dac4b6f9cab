using Cluster.Node.Cli;
using Cluster.Tests.Integration.Cli;
using Cluster.Tests.Integration.Nbd;

namespace Cluster.Tests.Integration.EndToEnd;

/// <summary>The label myrmidon.dev/compression on a volume in use.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "EndToEnd")]
public sealed class CompressionSpecs(LocalClusterFixture fixture) : IClassFixture<LocalClusterFixture>
{
    private const ulong MiB = 1UL << 20;

    /// <summary>
    /// Under one connection through another node than the one that is asked. Each look writes a new MiB of text and asks how much that took on each copy: a quarter at most when it is compressed, all of it when not.
    /// </summary>
    private const string Script = """
        import json, subprocess, time, urllib.request
        MiB = 1 << 20
        text = (b"a page of a database holds rows, and rows look alike: %08d;" % 7) * 20000
        h.connect_uri(uri)
        at = 0
        def stored():
            with urllib.request.urlopen(api + "/v1/volumes/switched", timeout=40) as answer:
                return json.load(answer)["storedBytes"]
        def label(value):
            body = json.dumps({"labels": {"myrmidon.dev/compression": value}}).encode()
            request = urllib.request.Request(api + "/v1/volumes/switched", body, {"Content-Type": "application/merge-patch+json"}, method="PATCH")
            urllib.request.urlopen(request, timeout=40).close()
        def taken():
            global at
            before = stored()
            h.pwrite(text[:MiB], at, nbd.CMD_FLAG_FUA)
            at += MiB
            return stored() - before
        def until(what, condition):
            deadline = time.monotonic() + 30
            while not condition(taken()):
                assert time.monotonic() < deadline and at < h.get_size(), what
        assert taken() == MiB
        label("on")
        until("writes are not compressed", lambda bytes: bytes < MiB // 4)
        assert taken() < MiB // 4
        label("off")
        until("writes are still compressed", lambda bytes: bytes == MiB)
        assert taken() == MiB
        for offset in range(0, at, MiB):
            assert h.pread(MiB, offset) == text[:MiB], offset
        h.shutdown()
        """;

    [Fact(DisplayName = "Compression is switched on and off under an open connection: what is written from then on is stored so, and all of it reads back")]
    public async Task Switched_live()
    {
        await Cluster.CreateVolumeAsync("switched", 128 * MiB);
        using var output = new CapturedText();
        var code = await CommandLine.RunAsync(["volume", "label", "switched", "myrmidon.dev/compression=off", "--endpoint", Cluster.Nodes[0].Api], output, output);
        Assert.True(code == ExitCode.Ok, output.ToString());
        await ClientTool.Run("nbdsh", "-c", $"api, uri = \"{Cluster.Nodes[0].Api}\", \"{Cluster.Nodes[2].Nbd}/switched\"", "-c", Script);
    }

    private LocalCluster Cluster => fixture.Cluster;
}
