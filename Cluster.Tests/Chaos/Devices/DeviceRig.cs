using System.Diagnostics;
using Cluster.Csi.Attach;
using Cluster.Csi.Csi;
using Cluster.Csi.Nbd;
using Cluster.Messages.Model;
using Cluster.Node.Hosting.Devices;
using Cluster.Tests.Chaos.Hosts;
using Cluster.Tests.Integration.EndToEnd;
using Cluster.Tests.Integration.Mesh;
using Cluster.Tests.Unit.Fakes;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Chaos.Devices;

/// <summary>
/// A volume in this process's memory behind a real NBD server, and the program's own attacher and mounter over it: real daemons, FUSE, loop devices and mounts.
/// Disposing it fails the test if anything is left on the host.
/// </summary>
internal sealed class DeviceRig : IAsyncDisposable
{
    public const ulong SizeBytes = 512UL << 20;
    public const int HoldMs = 60_000;
    private const int GoneMs = 10_000;

    private readonly LoopFixture _loop = new();
    private NbdServer? _server;

    public DeviceRig(params ulong[] generations)
    {
        RootTools.Require("losetup", "mount", "umount", "blkid", "wipefs", "mkfs.ext4", "mkfs.xfs", "e2fsck", "fio");
        Assert.True(File.Exists("/dev/fuse"), "This test needs FUSE: /dev/fuse is not there.");
        Root = Native.RealPath(Directory.CreateTempSubdirectory("myrmidon-device-").FullName)!;
        Volume = new MemoryDevice(_loop.Loop, SizeBytes);
        Generations = [.. generations.DefaultIfEmpty(1UL)];
        Attacher = NewAttacher();
        Mounter = new Mounter(Attacher, Path.Combine(Root, "scratch"));
        StartServer();
    }

    public string Root { get; }

    public string Attach => Path.Combine(Root, "attach");

    public MemoryDevice Volume { get; }

    /// <summary>Those that the server has an export for, from its next start on.</summary>
    public List<ulong> Generations { get; }

    public FuseLoopAttacher Attacher { get; }

    public Mounter Mounter { get; }

    public StagingNotes Staged => new(Path.Combine(Root, "staged"), "boot");

    public DeviceUsers Users => new(Path.Combine(Root, "operator"), Path.Combine(Root, "mnt", "docker"), "boot");

    public NbdAddress Address => new(Path.Combine(Root, "nbd.sock"));

    public static DeviceIdentity Identity(ulong generation = 1) => new(new VolumeId(7), generation);

    public static AttachTarget Target(ulong generation = 1, bool readOnly = false, int holdMs = HoldMs) =>
        new(Identity(generation), "vol", SizeBytes, holdMs, readOnly);

    /// <summary>As a process that was started anew: it knows nothing.</summary>
    public FuseLoopAttacher NewAttacher() => new(Attach, Address, DeviceProcess.Command, NullLoggerFactory.Instance);

    public void StartServer()
    {
        var exports = new FakeExports([.. Generations.Select(generation => (Target(generation).ExportName, Volume))]);
        _server = new NbdServer(new NbdOptions(), _loop.Loop, exports, NullLoggerFactory.Instance);
        _server.Start(null, Address.UnixPath);
    }

    /// <summary>The volume answers what it has held (<see cref="MemoryDevice.Held"/>), and from now on at once.</summary>
    public void AnswerAgain() => _loop.Loop.Post(() =>
    {
        Volume.Release();
        Volume.Held = null;
    });

    public Task StopServerAsync() => _server!.Stop();

    public async Task<AttachedDevice> AttachAsync(ulong generation = 1, bool readOnly = false, int holdMs = HoldMs) =>
        Ok(await Attacher.AttachAsync(Target(generation, readOnly, holdMs), default));

    public static T Ok<T>(AttachResult<T> result)
    {
        Assert.True(result.IsOk, $"{result.Status}: {result.Reason}");
        return result.Value!;
    }

    /// <summary>Writes and reads everywhere, many at once and of all sizes, and compares.</summary>
    public static async Task VerifyAsync(string device, string size = "64m") => (await Tool.RunAsync("fio", "--name=verify", $"--filename={device}", "--direct=1",
        "--rw=randwrite", "--bsrange=512-1m", "--ioengine=libaio", "--iodepth=16", $"--size={size}", "--verify=crc32c", "--do_verify=1", "--verify_fatal=1",
        "--randseed=7", "--fsync=64")).Ok();

    public void Kill(ulong generation = 1) => Assert.True(DaemonProcess.Signal(MarkOf(generation), Native.Kill));

    public string ExportOf(ulong generation = 1) => Path.Combine(Attach, Identity(generation).ToString(), "export");

    public string MarkOf(ulong generation = 1) => $"--path={ExportOf(generation)}";

    /// <summary>What there is on the host of this rig.</summary>
    public string Leftovers() => string.Join("; ", LoopDevices.Read().Where(loop => loop.BackingFile.StartsWith(Root, StringComparison.Ordinal)).Select(loop => loop.Path)
        .Concat(MountTable.Read().Where(mount => mount.Path.StartsWith(Root, StringComparison.Ordinal)).Select(mount => mount.Path))
        .Concat(Generations.SelectMany(generation => DaemonProcess.Find(MarkOf(generation))).Select(pid => $"process {pid}"))
        .Concat(Directory.Exists(Attach) ? Directory.EnumerateDirectories(Attach, "v*") : []));

    public static async Task UntilAsync(Func<bool> condition, string otherwise)
    {
        for (var waited = Stopwatch.StartNew(); !condition(); await Task.Delay(10))
            Assert.True(waited.ElapsedMilliseconds < GoneMs, $"{otherwise} within {GoneMs} ms");
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var mount in MountTable.Read().Where(mount => mount.Path.StartsWith(Path.Combine(Root, "mnt"), StringComparison.Ordinal)).Reverse())
            await Mounter.UnmountAsync(mount.Path, force: true, default);
        var detached = await NewAttacher().DetachAsync(Identity().Volume, force: true, default);
        await StopServerAsync();
        await _loop.DisposeAsync();
        Assert.True(detached.IsOk, detached.Reason);
        Assert.Equal("", Leftovers());
        Directory.Delete(Root, recursive: true);
    }
}
