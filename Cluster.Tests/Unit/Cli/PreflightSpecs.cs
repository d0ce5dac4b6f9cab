using System.Net;
using Cluster.Csi.Attach;
using Cluster.Node.Cli.Preflight;
using Cluster.Node.Hosting.Options;
using Cluster.Node.Store;

namespace Cluster.Tests.Unit.Cli;

public sealed class PreflightSpecs
{
    private readonly FakePreflightHost _host = new();

    [Fact(DisplayName = "A host with everything has nothing to fix, with and without Kubernetes")]
    public async Task Nothing_is_wrong()
    {
        foreach (var kubernetes in (bool[])[false, true])
        {
            var report = await RunAsync(kubernetes);
            Assert.True(report.Ok);
            Assert.DoesNotContain(report.Findings, finding => finding.Level != FindingLevel.Ok || finding.Fix.Length > 0);
            Assert.Equal(report.Findings.Count, report.Findings.DistinctBy(finding => finding.Check).Count());
        }
    }

    [Theory(DisplayName = "What is wrong with the host is told with the fix to type")]
    [InlineData("4.19.0-27-amd64", "kernel", "fail", "5.4 or newer")]
    [InlineData("5.4.0", "kernel", "ok", "")]
    [InlineData("strange", "kernel", "warn", "5.4 or newer")]
    public async Task Kernel(string release, string check, string level, string fix)
    {
        _host.KernelRelease = release;
        await ExpectAsync(check, level, fix);
    }

    [Fact(DisplayName = "The hard limit of open files counts, for the runtime raises the soft one to it")]
    public async Task Open_files()
    {
        _host.Texts["/proc/self/limits"] = "Max open files            1024                 65535               files\n";
        await ExpectAsync("open-files", "warn", "LimitNOFILE=65536");
        _host.Texts["/proc/self/limits"] = "Max open files            256                  1023                 files\n";
        await ExpectAsync("open-files", "fail", "LimitNOFILE=65536");
        _host.Texts["/proc/self/limits"] = "Max open files            1024                 unlimited            files\n";
        await ExpectAsync("open-files", "ok", "");
        _host.Texts.Remove("/proc/self/limits");
        await ExpectAsync("open-files", "warn", "65536");
    }

    [Fact(DisplayName = "A container's memory limit counts, not the machine's memory")]
    public async Task Memory()
    {
        _host.Texts["/sys/fs/cgroup/memory.max"] = "max\n";
        await ExpectAsync("memory", "ok", "");
        _host.Texts["/sys/fs/cgroup/memory.max"] = "1073741824\n";
        await ExpectAsync("memory", "warn", "give the node 2GiB");
        _host.Texts["/sys/fs/cgroup/memory.max"] = "268435456\n";
        await ExpectAsync("memory", "fail", "give the node 2GiB");
    }

    [Fact(DisplayName = "A clock that nothing steers, or that may be far off, is a warning")]
    public async Task Clock()
    {
        _host.Time = new ClockState(false, 16_000);
        await ExpectAsync("clock", "warn", "chrony");
        _host.Time = new ClockState(true, 1001);
        await ExpectAsync("clock", "warn", "chronyc tracking");
        _host.Time = null;
        await ExpectAsync("clock", "warn", "chrony");
    }

    [Fact(DisplayName = "A data directory must be there, take writes, and lie on a disk")]
    public async Task Data_directory()
    {
        _host.Probe = new DirectoryProbe("Permission denied", "", 0, false);
        await ExpectAsync("data-dir", "fail", "chown");
        _host.Probe = new DirectoryProbe("Read-only file system : '/var/lib/myrmidon/preflight-probe'", "", 0, false);
        await ExpectAsync("data-dir", "fail", "mount -o remount,rw");
        _host.Probe = new DirectoryProbe("", "fallocate: Operation not supported (errno 95)", 21, false);
        await ExpectAsync("data-fallocate", "warn", "ext4 or xfs");
        await ExpectAsync("data-sync", "warn", "power-loss protection");
        foreach (var (kind, level) in (ReadOnlySpan<(string, string)>)[("overlay", "fail"), ("tmpfs", "fail"), ("nfs4", "warn"), ("fuse.sshfs", "warn"), ("xfs", "ok")]) Expect(kind, level);
        _host.Files.Remove(FakePreflightHost.Data);
        await ExpectAsync("data-dir", "fail", "mkdir -p /var/lib/myrmidon");
    }

    private void Expect(string fileSystem, string level)
    {
        _host.Texts["/proc/self/mountinfo"] = $"21 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n40 21 8:2 / /var/lib rw shared:2 - {fileSystem} source rw\n";
        var finding = NodeChecks.Data(_host, Options(), _host.Probe).Single(finding => finding.Check == "data-fs");
        Assert.Equal(level, finding.Level.ToString().ToLowerInvariant());
        Assert.Contains($"{fileSystem} at /var/lib", finding.Found, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "A read-only mount and too little room are failures, little room is a warning")]
    public async Task Room()
    {
        _host.Space = new FileSystemRoom(1L << 40, 5L << 30);
        await ExpectAsync("data-room", "warn", "a disk of its own");
        _host.Space = new FileSystemRoom(1L << 40, 511L << 20);
        await ExpectAsync("data-room", "fail", "512MiB");
        // A node that is there must be able to start.
        var superblock = Path.Combine(Options().DataDirectory, "store", "superblock");
        _host.Files.Add(superblock);
        await ExpectAsync("data-room", "warn", "make room");
        _host.Files.Remove(superblock);
        _host.Space = new FileSystemRoom(1L << 30, 1L << 30);
        Assert.Equal(FindingLevel.Fail, (await FindingAsync("data-room", Options() with { CapacityBytes = 2L << 30 })).Level);
        _host.Texts["/proc/self/mountinfo"] = "21 1 8:1 / / ro,relatime shared:1 - ext4 /dev/sda1 rw\n";
        await ExpectAsync("data-fs", "fail", "remount,rw");
    }

    [Fact(DisplayName = "A taken port is a failure that names it, unless it is the running node's own")]
    public async Task Ports()
    {
        _host.Taken[5707] = "Address already in use";
        await ExpectAsync("mesh-port", "fail", "sport = :5707");
        await ExpectAsync("api-port", "ok", "");
        _host.Probe = _host.Probe with { InUse = true };
        await ExpectAsync("mesh-port", "ok", "");
    }

    [Fact(DisplayName = "Each disk that is named is looked at: whether it is there, opens, is free, is empty or a store's, and has room")]
    public async Task Disks()
    {
        const string device = "/dev/sdb";
        _host.Files.UnionWith([device, "/disks/1"]);
        _host.Texts["/proc/self/mountinfo"] += "40 21 8:32 / /disks/1 rw shared:2 - xfs /dev/sdc rw\n";
        var fine = new DiskLook(true, "", false, DiskContent.Blank, "", 1L << 40);
        await DiskAsync("/disks/1", "ok", "directory, empty, 1TiB free");
        await DiskAsync("/disks/2", "fail", "there is no /disks/2");
        _host.Files.Add("/disks/2");
        await DiskAsync("/disks/2", "warn", "on the root file system");
        foreach (var (look, level, found) in new (DiskLook, string, string)[]
        {
            (fine, "ok", "block device, empty"),
            (fine with { FreeBytes = 100 << 20 }, "warn", "100MiB free"),
            (fine with { Error = "Permission denied" }, "fail", "Permission denied"),
            (fine with { IsTaken = true }, "fail", "in use by another process"),
            (fine with { Content = DiskContent.Other, What = "a partition table" }, "fail", "a partition table"),
            (fine with { Content = DiskContent.Labelled, What = "s-1" }, "fail", "there is no store in the data directory"),
        })
        {
            _host.Disks[device] = look;
            await DiskAsync(device, level, found);
        }
        _host.Files.Add("/var/lib/myrmidon/store/superblock");
        await DiskAsync(device, "ok", "a disk of store s-1");
        _host.Disks[device] = fine with { Content = DiskContent.Labelled, What = "s-1", IsTaken = true };
        _host.Probe = _host.Probe with { InUse = true };
        await DiskAsync(device, "ok", "a disk of store s-1");
        _host.Texts["/proc/self/mountinfo"] += "41 21 8:16 / /srv rw shared:3 - ext4 /dev/sdb rw\n";
        await DiskAsync(device, "fail", "mounted at /srv");
    }

    private async Task DiskAsync(string path, string level, string found)
    {
        var finding = await FindingAsync($"disk {path}", Options() with { Disks = [path] });
        Assert.Equal(level, finding.Level.ToString().ToLowerInvariant());
        Assert.Contains(found, finding.Found, StringComparison.Ordinal);
        Assert.Equal(level == "ok", finding.Fix.Length == 0);
    }

    [Fact(DisplayName = "Where the sockets of CSI and Docker are to be is looked at, unless they are off")]
    public async Task Sockets()
    {
        var options = Options() with { CsiSocket = "/run/none/csi.sock", DockerSocket = "off" };
        _host.Sockets["/run/none/csi.sock"] = new SocketLook("there is no directory /run/none", false);
        var finding = await FindingAsync("csi-socket", options);
        Assert.Equal((FindingLevel.Fail, "there is no directory /run/none"), (finding.Level, finding.Found));
        Assert.Contains("mkdir -p /run/none", finding.Fix, StringComparison.Ordinal);
        Assert.Equal((FindingLevel.Ok, "off"), ((await FindingAsync("docker-socket", options)).Level, (await FindingAsync("docker-socket", options)).Found));
        _host.Sockets["/var/lib/myrmidon/docker.sock"] = new SocketLook("Another process serves it", true);
        await ExpectAsync("docker-socket", "fail", "ss -lxp");
        _host.Probe = _host.Probe with { InUse = true };
        await ExpectAsync("docker-socket", "ok", "");
    }

    [Fact(DisplayName = "The host itself tells an empty directory, one with files, one of a store, a file, and where a socket can be, and leaves them as they were")]
    public void This_host()
    {
        var root = Directory.CreateTempSubdirectory("myrmidon-preflight-").FullName;
        try
        {
            var host = new LinuxPreflightHost();
            var path = Directory.CreateDirectory(Path.Combine(root, "disk")).FullName;
            Assert.Equal((DiskContent.Blank, "", false), (host.LookAtDisk(path).Content, host.LookAtDisk(path).Error, host.LookAtDisk(path).IsDevice));
            Assert.Empty(Directory.EnumerateFileSystemEntries(path));
            using (var disk = new FileDisk(path)) Assert.True(new DiskLabel(Guid.NewGuid(), new Guid("00112233-4455-6677-8899-aabbccddeeff"), 1).Write(disk).IsOk);
            Assert.Equal((DiskContent.Labelled, "00112233-4455-6677-8899-aabbccddeeff"), (host.LookAtDisk(path).Content, host.LookAtDisk(path).What));
            File.Delete(Path.Combine(path, DiskLabel.FileName));
            File.WriteAllText(Path.Combine(path, "letters"), "");
            Assert.Equal((DiskContent.Other, "it holds other files (letters)"), (host.LookAtDisk(path).Content, host.LookAtDisk(path).What));
            Assert.Contains("neither", host.LookAtDisk(Path.Combine(path, "letters")).Error, StringComparison.Ordinal);
            Assert.Equal("", host.LookAtSocket(Path.Combine(path, "a.sock")).Error);
            Assert.Contains("is no socket", host.LookAtSocket(Path.Combine(path, "letters")).Error, StringComparison.Ordinal);
            Assert.Contains("there is no directory", host.LookAtSocket(Path.Combine(root, "none", "a.sock")).Error, StringComparison.Ordinal);
            Assert.Equal(["letters"], Directory.EnumerateFileSystemEntries(path).Select(Path.GetFileName));
        }
        finally
        {
            Directory.Delete(root, recursive: true);
        }
    }

    [Fact(DisplayName = "Seeds that have no address yet are a warning that names them")]
    public async Task Seeds()
    {
        _host.Addresses["myrmidon"] = [IPAddress.Parse("10.0.0.5"), IPAddress.Parse("10.0.0.6")];
        var options = Options() with { Seeds = ["myrmidon:5709", "10.0.0.7:5709", "[fd00::1]:5709"] };
        Assert.Equal((FindingLevel.Ok, "3 seeds, 4 addresses"), await SeedsAsync(options));
        var (level, found) = await SeedsAsync(options with { Seeds = ["myrmidon", "nobody:5709"] });
        Assert.Equal(FindingLevel.Warn, level);
        Assert.Contains("no address now: nobody;", found, StringComparison.Ordinal);
    }

    private async Task<(FindingLevel, string)> SeedsAsync(NodeOptions options)
    {
        var finding = await FindingAsync("seeds", options);
        return (finding.Level, finding.Found);
    }

    [Theory(DisplayName = "What devices need is a failure for Kubernetes and a warning elsewhere")]
    [InlineData("capabilities", "privileged")]
    [InlineData("fuse", "modprobe fuse")]
    [InlineData("loop", "modprobe loop")]
    [InlineData("tools", "apt-get install e2fsprogs xfsprogs")]
    public async Task Devices(string check, string fix)
    {
        _host.Texts["/proc/self/status"] = "CapEff:\t00000000a80425fb\n";
        _host.Files.RemoveWhere(file => file.StartsWith("/dev/", StringComparison.Ordinal));
        _host.Programs.ExceptWith(["mkfs.ext4", "e2fsck", "mkfs.xfs"]);
        await ExpectAsync(check, "warn", fix);
        await ExpectAsync(check, "fail", fix, kubernetes: true);
        Assert.False((await RunAsync(kubernetes: true)).Ok);
        Assert.True((await RunAsync(kubernetes: false)).Ok);
    }

    [Fact(DisplayName = "A device file that is there and does not open is told with the kernel's reason")]
    public async Task Device_files_open()
    {
        _host.Locked["/dev/fuse"] = "Operation not permitted";
        _host.Locked["/dev/loop-control"] = "Operation not permitted";
        foreach (var check in (string[])["fuse", "loop"])
        {
            await ExpectAsync(check, "fail", "privileged", kubernetes: true);
            Assert.Contains("Operation not permitted", (await RunAsync(kubernetes: true)).Findings.Single(finding => finding.Check == check).Found, StringComparison.Ordinal);
        }
    }

    [Fact(DisplayName = "The kubelet's directory must lie in a shared mount, with Kubernetes only")]
    public async Task Kubelet()
    {
        Assert.DoesNotContain((await RunAsync(kubernetes: false)).Findings, finding => finding.Check == "kubelet-dir");
        _host.Texts["/proc/self/mountinfo"] = "21 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n30 21 8:2 / /var/lib/kubelet rw,relatime master:7 - xfs /dev/sdb rw\n";
        await ExpectAsync("kubelet-dir", "fail", "mount --make-rshared /var/lib/kubelet", kubernetes: true);
        _host.Files.Remove("/var/lib/kubelet");
        await ExpectAsync("kubelet-dir", "fail", "--kubelet-dir", kubernetes: true);
    }

    [Fact(DisplayName = "The programs that are looked for are those that attaching runs, so that none is found missing by a pod")]
    public void Programs_are_those_in_use()
    {
        var used = Architecture.Repository.Under("Cluster.Csi/Attach").SelectMany(file => ProgramsIn(Architecture.Repository.Read(file))).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal).ToArray();
        Assert.Contains("losetup", used);
        Assert.Empty(used.Except(HostPrograms.Packages.Keys, StringComparer.Ordinal));
    }

    [Theory(DisplayName = "It says which attacher makes devices here, and why; what that does not need is no failure")]
    [InlineData(AttacherChoice.Auto, "", "ok", "the kernel's NBD client, which this host has", "ok")]
    [InlineData(AttacherChoice.Auto, "no client", "ok", "FUSE and loop devices: no client", "fail")]
    [InlineData(AttacherChoice.KernelNbd, "", "ok", "as the setting attacher says", "ok")]
    [InlineData(AttacherChoice.KernelNbd, "no client", "fail", "but no client", "ok")]
    [InlineData(AttacherChoice.FuseLoop, "", "ok", "FUSE and loop devices, as the setting attacher says", "fail")]
    public async Task Attacher(AttacherChoice choice, string error, string level, string found, string fuse)
    {
        _host.KernelNbdError = error;
        _host.Files.Remove("/dev/fuse");
        var report = await RunAsync(kubernetes: true, Options() with { Attacher = choice });
        var nbd = report.Findings.Single(finding => finding.Check == "nbd");
        Assert.Equal(level, nbd.Level.ToString().ToLowerInvariant());
        Assert.Contains(found, nbd.Found, StringComparison.Ordinal);
        Assert.Equal(fuse, report.Findings.Single(finding => finding.Check == "fuse").Level.ToString().ToLowerInvariant());
    }

    private static IEnumerable<string> ProgramsIn(string source) =>
        System.Text.RegularExpressions.Regex.Matches(source, "RunAsync\\(\"(?<program>[a-z0-9._]+)\"").Select(match => match.Groups["program"].Value);

    private static NodeOptions Options() => new()
    {
        Name = "node-a",
        DataDirectory = FakePreflightHost.Data,
        Host = "127.0.0.1",
        ApiPort = 5705,
        NbdPort = 10809,
        MeshPort = 5707,
        RemotePort = 5708,
        JournalPort = 5709,
    };

    private Task<PreflightReport> RunAsync(bool kubernetes, NodeOptions? options = null) =>
        PreflightRun.RunAsync(_host, new PreflightRequest(options ?? Options(), kubernetes, PreflightRequest.KubeletDirectoryDefault), CancellationToken.None);

    private async Task<Finding> FindingAsync(string check, NodeOptions options) =>
        (await RunAsync(kubernetes: false, options)).Findings.Single(finding => finding.Check == check);

    private async Task ExpectAsync(string check, string level, string fix, bool kubernetes = false)
    {
        var finding = (await RunAsync(kubernetes)).Findings.Single(finding => finding.Check == check);
        Assert.Equal(level, finding.Level.ToString().ToLowerInvariant());
        if (fix.Length > 0) Assert.Contains(fix, finding.Fix, StringComparison.Ordinal);
        else Assert.Empty(finding.Fix);
    }
}
