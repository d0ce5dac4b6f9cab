using System.Net;
using Cluster.Csi.Attach;
using Cluster.Messages.Model;
using Cluster.Node.Api;
using Cluster.Node.Hosting.Devices;

namespace Cluster.Tests.Unit.Attach;

/// <summary>What is read from the kernel and from programs, and what is told to them.</summary>
public class HostStateSpecs
{
    private const string Mounts = """
        22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
        55 22 0:39 / /var/lib/m/attach/v1.3/export rw,nosuid,nodev,relatime - fuse myrmidon rw,user_id=0
        56 22 7:3 / /srv/my\040data rw,noatime shared:7 master:2 - ext4 /dev/loop3 rw
        57 22 7:3 /sub /mnt/b ro,noatime - ext4 /dev/loop3 rw
        58 22 7:4 / /srv/my\040data rw - xfs /dev/loop4 ro
        60 22 0:5 /loop3 /raw/dev rw - devtmpfs udev rw
        not a line
        61 22 7:x / /bad rw - ext4 /dev/loop9 rw
        62 22 7:9 / /caf\303\251 rw - ext4 /dev/loop9 rw
        """;

    [Fact(DisplayName = "The mount table is read with its escapes, optional fields and layers; lines that do not fit are left out")]
    public void Mount_table()
    {
        var entries = MountTable.Parse(Mounts);
        Assert.Equal([22, 55, 56, 57, 58, 60, 62], entries.Select(entry => entry.Id));
        var top = MountTable.At(entries, "/srv/my data")!;
        Assert.Equal(("xfs", "/dev/loop4", 7, 4, true), (top.FileSystem, top.Source, top.Major, top.Minor, top.IsReadOnly));
        Assert.Equal(("/sub", true), (entries[3].Root, entries[3].IsReadOnly));
        Assert.Equal("/café", entries[6].Path);
        Assert.Null(MountTable.At(entries, "/srv"));
    }

    [Theory(DisplayName = "A path is found in the mount that holds it, with what of its file system it shows")]
    [InlineData("/srv/my data/pg/base", 58, "/pg/base")]
    [InlineData("/mnt/b/x", 57, "/sub/x")]
    [InlineData("/mnt/bb", 22, "/mnt/bb")]
    [InlineData("/", 22, "/")]
    public void Holding_mount(string path, int id, string root)
    {
        var found = MountTable.Holding(MountTable.Parse(Mounts), path)!.Value;
        Assert.Equal((id, root), (found.Mount.Id, found.Root));
    }

    [Theory(DisplayName = "A device's identity has one text; nothing else is read as one")]
    [InlineData("v1.0", true)]
    [InlineData("v2s.18446744073709551615", true)]
    [InlineData("v1.01", false)]
    [InlineData("v1.", false)]
    [InlineData("v0.1", false)]
    [InlineData("v1.18446744073709551616", false)]
    [InlineData("v1.-1", false)]
    [InlineData("1.1", false)]
    [InlineData("v1", false)]
    [InlineData("", false)]
    public void Identities(string text, bool good)
    {
        Assert.Equal(good, DeviceIdentity.TryParse(text, out var identity));
        if (good) Assert.Equal(text, identity.ToString());
    }

    [Theory(DisplayName = "A loop device is ours only by the exact place of its file")]
    [InlineData("/d/attach/v1.7/export", true)]
    [InlineData("/d/attach/v1.7/export (deleted)", false)]
    [InlineData("/other/attach/v1.7/export", false)]
    [InlineData("/d/attach/x/v1.7/export", false)]
    [InlineData("/d/attach/v1.7/exports", false)]
    [InlineData("/d/attach/scratch/export", false)]
    public void Backing_files(string file, bool ours) =>
        Assert.Equal(ours ? new DeviceIdentity(new VolumeId(1), 7) : null, DeviceDirectory.IdentityOf("/d/attach", file));

    [Theory(DisplayName = "A device has a file system only if all that is found on it is that one")]
    [InlineData("DEVNAME=/dev/x\nUUID=1\nTYPE=ext4\nUSAGE=filesystem\n", "ext4\n", DeviceContent.FileSystem)]
    [InlineData("TYPE=xfs\n", "xfs\n", DeviceContent.FileSystem)]
    [InlineData("TYPE=ext4\n", "ext4\nLVM2_member\n", DeviceContent.Other)]
    [InlineData("TYPE=ext3\n", "ext3\n", DeviceContent.Other)]
    [InlineData("PTTYPE=dos\n", "dos\n", DeviceContent.Other)]
    [InlineData("", "swap\n", DeviceContent.Other)]
    [InlineData("TYPE=LVM2_member\n", "", DeviceContent.Other)]
    public void Probes(string blkid, string wipefs, DeviceContent content) =>
        Assert.Equal(content, DeviceProber.Decide(DeviceProber.Found(blkid), wipefs)!.Content);

    [Fact(DisplayName = "Without a signature nothing is decided by signatures")]
    public void No_signature() => Assert.Null(DeviceProber.Decide(DeviceProber.Found(""), "\n"));

    [Fact(DisplayName = "File systems are made with 4 KiB blocks, and nothing is discarded on a blank device")]
    public void Format_arguments()
    {
        Assert.Equal(["-q", "-F", "-b", "4096", "-m", "0", "-E", "nodiscard", "-L", "x", "/dev/x"], Formatter.Arguments(FileSystemKind.Ext4, ["-L", "x"], "/dev/x"));
        Assert.Equal(["-q", "-f", "-K", "-s", "size=4096", "/dev/x"], Formatter.Arguments(FileSystemKind.Xfs, [], "/dev/x"));
    }

    [Fact(DisplayName = "The mark of a format that was begun has these bytes, and one flipped bit anywhere in it is somebody's data")]
    public void Format_marker()
    {
        var block = FormatMarker.Encode(FileSystemKind.Ext4);
        Assert.Equal("4D59524D49444F4E20464F524D41540A01000000010000000000000000000000", Convert.ToHexString(block.AsSpan(0, 32)));
        Assert.Equal(FormatMarker.SizeBytes, block.Length);
        Assert.True(FormatMarker.Is(block));
        for (var bit = 0; bit < block.Length * 8; bit++)
        {
            block[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.False(FormatMarker.Is(block), $"bit {bit}");
            block[bit / 8] ^= (byte)(1 << (bit % 8));
        }
        Assert.False(FormatMarker.Is(block.AsSpan(0, 4095)));
    }

    private static readonly string[] Sockets =
    [
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
        "   0: 0100007F:1649 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0",
        "   1: 0100007F:9C40 0100007F:1649 01 00000000:00000000 00:00000000 00000000  1000        0 2 1 0 20 4 30 10 -1",
        "   2: 0100007F:1649 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 3 1 0 20 4 30 10 -1",
        "   3: 0100007F:9C41 0100007F:1649 06 00000000:00000000 00:00000000 00000000     0        0 0 3 0",
        "   4: 0000000000000000FFFF00000100007F:9C42 0000000000000000FFFF00000100007F:1649 01 00000000:00000000 00:00000000 00000000     0 0 4 1 0",
        "   5: 00000000000000000000000001000000:9C43 00000000000000000000000001000000:1649 01 00000000:00000000 00:00000000 00000000    33 0 5 1 0",
        "garbage",
    ];

    [Theory(DisplayName = "A caller is who owns the client's end of the connection, by whatever form of the address; an end that is not on this host is nobody's")]
    [InlineData("127.0.0.1", 40000, 1000u)]
    [InlineData("127.0.0.1", 40002, 0u)]
    [InlineData("::ffff:127.0.0.1", 40002, 0u)]
    [InlineData("::1", 40003, 33u)]
    public void Callers(string client, int port, uint user) => Assert.Equal(user, CallerIdentity.Find(
        Sockets, new IPEndPoint(IPAddress.Parse(client), port), new IPEndPoint(client == "::1" ? IPAddress.IPv6Loopback : IPAddress.Loopback, 5705)));

    [Theory(DisplayName = "A connection that is closed, unknown, or of another server is nobody's")]
    [InlineData("127.0.0.1", 40001, 5705)]
    [InlineData("127.0.0.1", 40009, 5705)]
    [InlineData("127.0.0.1", 40000, 5706)]
    [InlineData("10.0.0.1", 40000, 5705)]
    public void No_callers(string client, int port, int server) => Assert.Null(CallerIdentity.Find(
        Sockets, new IPEndPoint(IPAddress.Parse(client), port), new IPEndPoint(IPAddress.Loopback, server)));

    [Fact(DisplayName = "A device's process reads the arguments that a node gives it, and refuses others")]
    public void Device_arguments()
    {
        var options = DeviceProcess.Read(["--unix=/a b/nbd.sock", "--export=ns/db@v1.7", "--hold=300000", "--path=/x/v1.7/export"])!;
        Assert.Equal(("/a b/nbd.sock", "ns/db@v1.7", "/x/v1.7/export", 300_000, false),
            (options.Server.UnixPath, options.Export, options.Path, options.HoldMs, options.ReadOnly));
        var tcp = DeviceProcess.Read(["--host=::1", "--port=10809", "--export=db@v1.7", "--hold=1", "--read-only", "--path=/x"])!;
        Assert.Equal(("::1", 10809, true), (tcp.Server.Host, tcp.Server.Port, tcp.ReadOnly));
        Assert.Null(DeviceProcess.Read(["--export=db", "--hold=1", "--path=/x"]));
        Assert.Null(DeviceProcess.Read(["--unix=/s", "--export=db", "--hold=-1", "--path=/x"]));
        Assert.Null(DeviceProcess.Read(["--host=h", "--port=65536", "--export=db", "--hold=1", "--path=/x"]));
        Assert.Null(DeviceProcess.Read(["unix"]));
    }
}
