using System.Text.Json;
using Cluster.Tests.Unit.Fakes;

namespace Cluster.Tests.Integration.Nbd;

/// <summary>Unchanged public clients against the server on a real loop.</summary>
public class NbdClientsSpecs
{
    private const int MiB = 1 << 20;

    [Fact(DisplayName = "nbdinfo sees the size, the flags, the block sizes and the context, over TCP and over a Unix socket")]
    public async Task Nbdinfo()
    {
        await using var nbd = NbdFixture.OverMemory(10 * MiB);
        foreach (var uri in new[] { nbd.Uri, nbd.UnixUri })
        {
            using var info = JsonDocument.Parse(await ClientTool.Run("nbdinfo", "--json", uri));
            Assert.Equal("newstyle-fixed", info.RootElement.GetProperty("protocol").GetString());
            Assert.True(info.RootElement.GetProperty("structured").GetBoolean());
            var export = info.RootElement.GetProperty("exports")[0];
            Assert.Equal(10 * MiB, export.GetProperty("export-size").GetInt64());
            Assert.Equal("base:allocation", export.GetProperty("contexts")[0].GetString());
            Assert.Equal((1, 4096, 32 * MiB), (
                export.GetProperty("block_size_minimum").GetInt32(),
                export.GetProperty("block_size_preferred").GetInt32(),
                export.GetProperty("block_size_maximum").GetInt32()));
            Assert.False(export.GetProperty("is_read_only").GetBoolean());
            Assert.False(export.GetProperty("is_rotational").GetBoolean());
            foreach (var can in new[] { "cache", "df", "fast_zero", "flush", "fua", "multi_conn", "trim", "zero" })
                Assert.True(export.GetProperty($"can_{can}").GetBoolean(), can);
        }
        Assert.Contains("export=\"vol\"", await ClientTool.Run("nbdinfo", "--list", nbd.Uri), StringComparison.Ordinal);
    }

    [Fact(DisplayName = "nbdsh: what the specification refuses is refused with its error, and the connection goes on")]
    public async Task Nbdsh()
    {
        await using var nbd = NbdFixture.OverMemory(MiB);
        var script = $$"""
            import errno
            def refused(what, code):
                try:
                    what()
                except nbd.Error as error:
                    assert error.errnum == code, (error.string, error.errnum, code)
                    return
                raise AssertionError("not refused")
            h.set_strict_mode(0)
            h.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
            h.connect_uri("{{nbd.Uri}}")
            size = h.get_size()
            refused(lambda: h.pread(1, size), errno.EINVAL)
            refused(lambda: h.pread(0, 0), errno.EINVAL)
            refused(lambda: h.pread(512, 2**63), errno.EINVAL)
            refused(lambda: h.pwrite(b"ab", size - 1), errno.ENOSPC)
            refused(lambda: h.zero(512, size), errno.ENOSPC)
            refused(lambda: h.trim(512, size), errno.EINVAL)
            refused(lambda: h.cache(512, size), errno.EINVAL)
            refused(lambda: h.pread(512, 0, nbd.CMD_FLAG_REQ_ONE), errno.EINVAL)
            refused(lambda: h.flush(nbd.CMD_FLAG_DF), errno.EINVAL)
            refused(lambda: h.block_status(512, size, lambda *a: 0), errno.EINVAL)
            h.pwrite(b"unaligned", 4093, nbd.CMD_FLAG_FUA)
            assert h.pread(11, 4092) == b"\0unaligned\0"
            assert h.pread(11, 4092, nbd.CMD_FLAG_DF) == b"\0unaligned\0"
            h.zero(4, 4095, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FAST_ZERO)
            assert h.pread(9, 4093) == b"un\0\0\0\0ned"
            h.trim(8192, 0)
            assert h.pread(8192, 0) == bytes(8192)
            h.pwrite(bytes([7]) * 4096, 8192)
            extents = []
            h.block_status(16384, 0, lambda context, offset, entries, error: extents.extend(entries))
            assert extents == [8192, 3, 4096, 0, 4096, 3], extents
            h.cache(4096, 0)
            h.flush()
            h.shutdown()
            other = nbd.NBD()
            other.set_opt_mode(True)
            other.connect_uri("{{nbd.Uri}}")
            names = []
            other.opt_list(lambda name, description: names.append(name))
            assert names == ["vol"], names
            other.set_export_name("missing")
            refused(other.opt_info, errno.ENOENT)
            other.set_export_name("vol")
            other.opt_info()
            assert other.get_size() == size
            contexts = []
            other.opt_list_meta_context(lambda name: contexts.append(name))
            assert contexts == ["base:allocation"], contexts
            other.opt_go()
            assert other.pread(1, 8192) == b"\7"
            other.shutdown()
            """;
        File.WriteAllText(nbd.FileOf("script.py"), script);
        await ClientTool.Run("nbdsh", "-c", $"exec(open('{nbd.FileOf("script.py")}').read())");
    }

    [Fact(DisplayName = "qemu-io: patterns at odd offsets, zeroes, discard and flush verify")]
    public async Task Qemu_io()
    {
        await using var nbd = NbdFixture.OverSessions(64 * MiB);
        await ClientTool.Run("qemu-io", "-f", "raw", "-c", "write -P 0xaa 4k 8k", "-c", "read -P 0xaa 4k 8k",
            "-c", "write -P 0xbb 1234 5678", "-c", "read -P 0xbb 1234 5678", "-c", "read -P 0xaa 6912 5376",
            "-c", "write -z 4k 4k", "-c", "read -P 0 4k 4k",
                "-c", "discard 8k 4k",
            "-c", "read -P 0 8k 4k", "-c", "write -f -P 0xcc 33M 3M", "-c", "flush", "-c", "read -P 0xcc 33M 3M", nbd.Uri);
    }

    [Fact(DisplayName = "nbdcopy in and out gives the same bytes; qemu-img converts, compares and maps them")]
    public async Task Copies()
    {
        await using var nbd = NbdFixture.OverSessions(16 * MiB);
        var source = nbd.RandomFile("source", 12 * MiB);
        await ClientTool.Run("nbdcopy", "--flush", source, nbd.Uri);
        await ClientTool.Run("nbdcopy", nbd.Uri, nbd.FileOf("copy"));
        Assert.True(File.ReadAllBytes(source).AsSpan().SequenceEqual(File.ReadAllBytes(nbd.FileOf("copy")).AsSpan(0, 12 * MiB)));
        await ClientTool.Run("qemu-img", "convert", "-f", "raw", "-O", "raw", nbd.UnixUri, nbd.FileOf("converted"));
        await ClientTool.Run("qemu-img", "compare", "-f", "raw", "-F", "raw", nbd.FileOf("converted"), nbd.Uri);
        using var map = JsonDocument.Parse(await ClientTool.Run("qemu-img", "map", "-f", "raw", "--output=json", nbd.Uri));
        var runs = map.RootElement.EnumerateArray()
            .Select(run => (run.GetProperty("length").GetInt64(), run.GetProperty("data").GetBoolean()));
        Assert.Equal([(12L * MiB, true), (4L * MiB, false)], runs);
    }

    [Fact(DisplayName = "fio verifies what it wrote at depth 32 while the owner dies twenty times; no I/O fails")]
    public async Task Owner_dies_under_fio()
    {
        await using var nbd = NbdFixture.OverSessions(16 * MiB);
        var session = (await nbd.Sessions.OpenAsync("vol")).Session!;
        var owner = nbd.Gateway.Owner;
        var random = new SeededRandom(5);
        var (kills, commits) = (0, 0);
        void Kill()
        {
            kills++;
            owner.Kill(random.Next(owner.PendingCount + 1));
        }
        owner.Committed = () =>
        {
            if (++commits % 50 == 0 && commits <= 1000) nbd.Loop.Loop.Post(Kill);
        };
        await ClientTool.Run("fio", "--name=verify", "--ioengine=nbd", $"--uri={nbd.Uri}", "--rw=randwrite", "--bsrange=512-16k",
            "--size=16M", "--iodepth=32", "--verify=crc32c", "--do_verify=1", "--verify_fatal=1", "--randseed=7", "--output-format=terse");
        Assert.Equal(20, kills);
        Assert.InRange(session.Statistics.LinksLost, 1, 20);
        Assert.Equal(0, session.Statistics.Failed);
        await nbd.Loop.On(session.Close);
    }

    [Fact(DisplayName = "Several connections share one device: a write on one is seen on another, and all survive a lost owner")]
    public async Task Multi_conn()
    {
        await using var nbd = NbdFixture.OverSessions(16 * MiB);
        var source = nbd.RandomFile("source", 16 * MiB);
        await nbd.Loop.On(() => nbd.Loop.Loop.Schedule(20, () => nbd.Gateway.Owner.Kill(0)));
        await ClientTool.Run("nbdcopy", "--connections=4", "--flush", source, nbd.Uri);
        await ClientTool.Run("nbdcopy", "--connections=4", nbd.Uri, nbd.FileOf("copy"));
        Assert.True(File.ReadAllBytes(source).AsSpan().SequenceEqual(File.ReadAllBytes(nbd.FileOf("copy")).AsSpan(0, 16 * MiB)));
    }

    [Fact(DisplayName = "An unknown volume is refused with a sentence that the client shows")]
    public async Task Unknown()
    {
        await using var nbd = NbdFixture.OverSessions(MiB);
        var (code, output) = await ClientTool.Try("qemu-img", "info", nbd.Uri.Replace("/vol", "/nope", StringComparison.Ordinal));
        Assert.NotEqual(0, code);
        Assert.Contains("there is no volume nope", output, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "No export name means the only volume")]
    public async Task Default_export()
    {
        await using var nbd = NbdFixture.OverSessions(MiB);
        Assert.Equal(MiB.ToString(System.Globalization.CultureInfo.InvariantCulture),
            (await ClientTool.Run("nbdinfo", "--size", nbd.Uri.Replace("/vol", "/", StringComparison.Ordinal))).Trim());
    }
}
