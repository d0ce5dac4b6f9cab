using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Cluster.Node.Cli;
using Xunit.Abstractions;

namespace Cluster.Tests.Integration.EndToEnd;

/// <summary>Unchanged public NBD clients against a cluster of three.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "EndToEnd")]
public sealed class StandardClientsSpecs(LocalClusterFixture fixture, ITestOutputHelper output)
    : IClassFixture<LocalClusterFixture>, IDisposable
{
    private const ulong MiB = 1UL << 20;

    private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-clients-").FullName;

    private LocalCluster Cluster => fixture.Cluster;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact(DisplayName = "nbdinfo sees the volume's size and what the server can do, from every node")]
    public async Task Nbdinfo()
    {
        await Cluster.CreateVolumeAsync("info", 64 * MiB);
        foreach (var node in Cluster.Nodes)
        {
            var info = JsonNode.Parse((await Tool.RunAsync("nbdinfo", "--json", $"{node.Nbd}/info")).Ok().Output)!["exports"]![0]!;
            Assert.Equal(64L << 20, (long)info["export-size"]!);
            Assert.All(
                (string[])["can_flush", "can_fua", "can_trim", "can_zero", "can_multi_conn"],
                flag => Assert.True((bool)info[flag]!, $"{flag} on {node.Name}"));
            Assert.Contains("base:allocation", info["contexts"]!.AsArray().Select(context => (string)context!));
        }
        Assert.Contains("info", (await Tool.RunAsync("nbdinfo", "--list", Cluster.Nodes[0].Nbd)).Ok().Output, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "nbdcopy takes 1 GiB of random bytes in through one node and out through another, unchanged")]
    public async Task Nbdcopy()
    {
        var bytes = 1024 * MiB;
        await Cluster.CreateVolumeAsync("copy", bytes);
        var (source, back) = (Path.Combine(_directory, "in"), Path.Combine(_directory, "out"));
        await WriteRandomAsync(source, bytes);
        (await Tool.RunAsync("nbdcopy", "--flush", source, $"{Cluster.Nodes[0].Nbd}/copy")).Ok();
        (await Tool.RunAsync("nbdcopy", $"{Cluster.Nodes[1].Nbd}/copy", back)).Ok();
        Assert.Equal(await HashAsync(source), await HashAsync(back));
        // Three copies of it and both files are much for the disk of a test machine: the tests that follow need that room.
        using var api = new ApiClient(new Uri(Cluster.Nodes[0].Api));
        var deleted = await api.SendAsync(HttpMethod.Delete, "/v1/volumes/copy", null, null, default);
        Assert.True(deleted.IsOk, deleted.Error);
    }

    [Fact(DisplayName = "qemu-img converts an image into a volume, compares it equal, and maps its holes")]
    public async Task Qemu_img()
    {
        await Cluster.CreateVolumeAsync("image", 256 * MiB);
        var (raw, part) = (Path.Combine(_directory, "image.raw"), Path.Combine(_directory, "part"));
        await WriteRandomAsync(part, 16 * MiB);
        await using (var file = File.Create(raw))
        {
            // Data at 64 MiB, holes around it.
            file.SetLength(256L << 20);
            file.Position = 64L << 20;
            await using var data = File.OpenRead(part);
            await data.CopyToAsync(file);
        }
        var uri = $"{Cluster.Nodes[1].Nbd}/image";
        (await Tool.RunAsync("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", raw, uri)).Ok();
        (await Tool.RunAsync("qemu-img", "compare", "-f", "raw", "-F", "raw", raw, uri)).Ok();
        var map = JsonNode.Parse((await Tool.RunAsync("qemu-img", "map", "--output=json", uri)).Ok().Output)!.AsArray();
        var data64 = map.Single(extent => (bool)extent!["data"]!)!;
        Assert.Equal((64L << 20, 16L << 20), ((long)data64["start"]!, (long)data64["length"]!));
    }

    [Fact(DisplayName = "qemu-io writes and reads patterns at any offset and length, zeroes and discards")]
    public async Task Qemu_io()
    {
        await Cluster.CreateVolumeAsync("pattern", 64 * MiB);
        var uri = $"{Cluster.Nodes[2].Nbd}/pattern";
        (await Tool.RunAsync("qemu-io", "-f", "raw", uri,
            "-c", "write -P 0x11 0 1M", "-c", "write -P 0x22 4097 5000", "-c", "write -P 0x33 1 1", "-c", "write -f -P 0x44 1000000 100000",
            "-c", "write -z 65536 65536", "-c", "discard 131072 65536", "-c", "flush")).Ok();
        (await Tool.RunAsync("qemu-io", "-f", "raw", $"{Cluster.Nodes[0].Nbd}/pattern",
            "-c", "read -P 0x11 0 1", "-c", "read -P 0x33 1 1", "-c", "read -P 0x11 2 4095", "-c", "read -P 0x22 4097 5000", "-c",
                "read -P 0x11 9097 50000",
            "-c", "read -P 0 65536 131072", "-c", "read -P 0x44 1000000 100000", "-c", "read -P 0 1100000 100000"))
            .Ok();
    }

    [Fact(DisplayName = "fio verifies random 4 KiB writes at depth 32")]
    public async Task Fio()
    {
        await Cluster.CreateVolumeAsync("fio", 128 * MiB);
        var run = (await Tool.RunAsync("fio", [.. FioVerify($"{Cluster.Nodes[0].Nbd}/fio", "64m"), "--minimal"])).Ok();
        output.WriteLine(run.Output);
        Assert.DoesNotContain("verify: bad", run.Output + run.Error, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "An unknown export, and I/O beyond the end, get the protocol's own errors")]
    public async Task Errors()
    {
        await Cluster.CreateVolumeAsync("small", MiB);
        var unknown = await Tool.RunAsync("nbdinfo", $"{Cluster.Nodes[0].Nbd}/no-such-volume");
        Assert.NotEqual(0, unknown.Exit);
        var beyond = await Tool.RunAsync("/usr/bin/python3", "-c",
            "import nbd,sys\nh=nbd.NBD()\nh.set_strict_mode(0)\nh.connect_uri(sys.argv[1])\n"
            + "try:\n h.pwrite(b'x'*4096, 1<<20)\n sys.exit(1)\nexcept nbd.Error as e:\n assert e.errno in ('ENOSPC','EINVAL'), e.errno\n"
            + "h.pwrite(b'y'*4096, 0)\nassert h.pread(4096, 0)==b'y'*4096\n", $"{Cluster.Nodes[0].Nbd}/small");
        beyond.Ok();
    }

    internal static string[] FioVerify(string uri, string size, params string[] more) =>
    [
        "--name=verify", "--ioengine=nbd", $"--uri={uri}", "--rw=randwrite", "--bs=4k", "--iodepth=32", $"--size={size}", "--verify=crc32c",
        "--verify_fatal=1", "--do_verify=1", "--randrepeat=0", .. more,
    ];

    internal static async Task WriteRandomAsync(string path, ulong bytes)
    {
        await using var file = File.Create(path);
        var chunk = new byte[1 << 20];
        for (var at = 0UL; at < bytes; at += (ulong)chunk.Length)
        {
            RandomNumberGenerator.Fill(chunk);
            await file.WriteAsync(chunk);
        }
    }

    internal static async Task<string> HashAsync(string path)
    {
        await using var file = File.OpenRead(path);
        return Convert.ToHexString(await SHA256.HashDataAsync(file));
    }
}
