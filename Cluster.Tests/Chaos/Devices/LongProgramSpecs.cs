using Cluster.Csi.Attach;
using Cluster.Csi.Csi;
using Cluster.Csi.Csi.V1;
using Cluster.Node.Hosting.Devices;
using Cluster.Tests.Chaos.Hosts;
using Cluster.Tests.Integration.Csi;
using Cluster.Tests.Integration.EndToEnd;
using Grpc.Core;

namespace Cluster.Tests.Chaos.Devices;

/// <summary>Checks and growth that take longer than a call: real file systems and devices, and programs that wait before they do what they are called for.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "Chaos")]
public sealed class LongProgramSpecs
{
    private static readonly string[] ToGrowOffline = ["e2fsck", "resize2fs"];

    [Fact(DisplayName = "A check whose call is cut off goes on: the next call says that it runs and how far it is, and once it has ended all is well; it was begun once")]
    public async Task A_check_goes_on()
    {
        await using var slow = new Slow("e2fsck");
        var device = await slow.FormattedAsync();
        using (var deadline = new CancellationTokenSource())
        {
            var cut = slow.Mounter(answerMs: 60_000).CheckAsync(device, FileSystemKind.Ext4, deadline.Token);
            await slow.StartedAsync("e2fsck");
            await deadline.CancelAsync();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => cut);
        }
        // By a process that knows nothing of it.
        var running = await slow.Mounter().CheckAsync(device, FileSystemKind.Ext4, default);
        Assert.Equal(AttachStatus.Running, running.Status);
        Assert.Matches(@"^the check of the file system on /dev/loop\d+ has run for \d+ s \(pass 1, 23 of 100\) and goes on; ask again", running.Reason);
        // Nor is the device to be looked at or formatted meanwhile: it is in use for a reason that is told.
        Assert.Equal(AttachStatus.Running, (await slow.Mounter().ProbeAsync(device, default)).Status);
        Assert.Equal(AttachStatus.Running, (await slow.Apart().FormatAsync(device, FileSystemKind.Ext4, [], default)).Status);
        Assert.Equal(1, slow.Starts("e2fsck"));

        var waiting = slow.Mounter(answerMs: 60_000).ProbeAsync(device, default);
        slow.Open();
        Assert.Equal(FileSystemKind.Ext4, DeviceRig.Ok(await waiting).FileSystem);
        Assert.Equal(1, slow.Ends("e2fsck"));
        DeviceRig.Ok(await slow.Mounter(answerMs: 60_000).CheckAsync(device, FileSystemKind.Ext4, default));
    }

    [Fact(DisplayName = "An ext4 that grows when it is staged takes longer than the call: DEADLINE ends no program, the next call is ABORTED with its progress, then it is mounted in its new size; nothing was begun twice")]
    public async Task A_stage_goes_on()
    {
        await using var slow = new Slow(ToGrowOffline);
        await RootTools.RunAsync("mkfs.ext4", "-q", (await slow.Rig.AttachAsync()).Path, "256M");
        var control = new OneVolumeControl();
        var published = await new VolumePublication(control).PublishAsync(
            new ControllerPublishVolumeRequest { VolumeId = DeviceRig.Target().FullName, NodeId = "node-0", VolumeCapability = CsiNode.Mount() }, default);
        var staging = Path.Combine(slow.Rig.Root, "mnt", "staging");
        Directory.CreateDirectory(staging);
        var request = new NodeStageVolumeRequest { VolumeId = DeviceRig.Target().FullName, StagingTargetPath = staging, VolumeCapability = CsiNode.Mount(), PublishContext = { published.Value!.PublishContext } };
        Task<CsiResult<NodeStageVolumeResponse>> StageAsync(int answerMs, CancellationToken cancellation) =>
            new NodeStaging(control, new HostDevices(slow.Rig.NewAttacher(), slow.Apart(answerMs), slow.Rig.Users, slow.Rig.Staged)).StageAsync(request, cancellation);

        using (var deadline = new CancellationTokenSource())
        {
            var cut = StageAsync(60_000, deadline.Token);
            await Task.WhenAny(cut, slow.StartedAsync("e2fsck"));
            Assert.False(cut.IsCompletedSuccessfully, cut.IsCompletedSuccessfully ? (await cut).Error?.Message ?? "it is staged already" : "");
            await deadline.CancelAsync();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => cut);
        }
        var pending = await StageAsync(Slow.AnswerMs, default);
        Assert.Equal(StatusCode.Aborted, pending.Error?.Code);
        Assert.Contains("the growth of the file system on /dev/loop", pending.Error!.Message, StringComparison.Ordinal);
        Assert.Contains("pass 1, 23 of 100", pending.Error.Message, StringComparison.Ordinal);
        slow.Open();
        Assert.Null((await StageAsync(60_000, default)).Error);
        Assert.True(DeviceRig.Ok(slow.Rig.Mounter.Stats(staging)).TotalBytes > DeviceRig.SizeBytes / 4 * 3);
        // And the quick ones: the check right before the mount, and the growth of what is mounted, which finds nothing to do.
        Assert.Equal((2, 2, 2, 2), (slow.Starts("e2fsck"), slow.Ends("e2fsck"), slow.Starts("resize2fs"), slow.Ends("resize2fs")));
    }

    [Fact(DisplayName = "Growth of a mounted file system goes on without its call, and is done when the next one asks")]
    public async Task Growth_in_use_goes_on()
    {
        await using var slow = new Slow("xfs_growfs");
        var device = await slow.Rig.AttachAsync();
        DeviceRig.Ok(await slow.Rig.Mounter.FormatAsync(device, FileSystemKind.Xfs, [], default));
        var mount = DeviceRig.Ok(await slow.Rig.Mounter.MountAsync(new MountRequest(device, Path.Combine(slow.Rig.Root, "mnt"), FileSystemKind.Xfs, []), default));
        slow.Rig.Volume.SizeBytes = 2 * DeviceRig.SizeBytes;
        DeviceRig.Ok(await slow.Rig.Attacher.ResizeAsync(device.Identity.Volume, 2 * DeviceRig.SizeBytes, default));
        foreach (var _ in new[] { 1, 2 }) Assert.Equal(AttachStatus.Running, (await slow.Apart().GrowAsync(mount, default)).Status);
        Assert.Equal(1, slow.Starts("xfs_growfs"));
        slow.Open();
        DeviceRig.Ok(await slow.Apart(60_000).GrowAsync(mount, default));
        Assert.True(DeviceRig.Ok(slow.Rig.Mounter.Stats(mount.Path)).TotalBytes > DeviceRig.SizeBytes);
    }

    [Fact(DisplayName = "A failure that nobody waited for is told to the next call of the same volume, once, and then it is tried again; a program that was killed says so")]
    public async Task Failures_are_told()
    {
        await using var slow = new Slow("e2fsck");
        var device = await slow.FormattedAsync();
        slow.Fail();
        Assert.Equal(AttachStatus.Running, (await slow.Mounter().CheckAsync(device, FileSystemKind.Ext4, default)).Status);
        slow.Open();
        await slow.EndedAsync(device);
        Assert.Equal(1, slow.Starts("e2fsck"));
        var told = await slow.Mounter(60_000).CheckAsync(device, FileSystemKind.Ext4, default);
        Assert.Equal(AttachStatus.Damaged, told.Status);
        Assert.Contains("UNEXPECTED INCONSISTENCY", told.Reason, StringComparison.Ordinal);
        Assert.Equal(1, slow.Starts("e2fsck"));
        slow.Heal();
        DeviceRig.Ok(await slow.Mounter(60_000).CheckAsync(device, FileSystemKind.Ext4, default));

        slow.Shut();
        slow.Fail();
        Assert.Equal(AttachStatus.Running, (await slow.Mounter().CheckAsync(device, FileSystemKind.Ext4, default)).Status);
        slow.Open();
        await slow.EndedAsync(device);
        slow.Heal();
        // Of the same device's file, but another attachment: it is not told what was found on an older one.
        DeviceRig.Ok(await slow.Mounter(60_000).CheckAsync(device with { Identity = DeviceRig.Identity(2) }, FileSystemKind.Ext4, default));

        slow.Shut();
        var killed = slow.Mounter(60_000).CheckAsync(device, FileSystemKind.Ext4, default);
        await slow.StartedAsync("e2fsck", times: 5);
        Assert.True(DaemonProcess.Signal(slow.MarkOf(device), Native.Kill));
        Assert.Equal(AttachStatus.Failed, (await killed).Status);
        slow.Open();
    }

    /// <summary>A rig whose programs wait for a file before they go on as the host's own.</summary>
    private sealed class Slow : IAsyncDisposable
    {
        /// <summary>Long enough for a program to have told its progress.</summary>
        public const int AnswerMs = 2000;

        private readonly string _bin;

        public Slow(params string[] programs)
        {
            _bin = Path.Combine(Rig.Root, "bin");
            Directory.CreateDirectory(_bin);
            foreach (var program in programs)
            {
                var file = Path.Combine(_bin, program);
                File.WriteAllText(file, $"""
                    #!/bin/sh
                    echo start >>{file}.log
                    [ {program} != e2fsck ] || echo "1 23 100 $4" >&3
                    until [ -e {_bin}/open ]; do sleep 0.02; done
                    echo end >>{file}.log
                    [ ! -e {_bin}/fail ] || {"{"} echo "UNEXPECTED INCONSISTENCY"; exit 4; {"}"}
                    exec {HostPrograms.Find(program)} "$@"

                    """);
                if (OperatingSystem.IsLinux()) File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            }
        }

        public DeviceRig Rig { get; } = new();

        private string Scratch => Path.Combine(Rig.Root, "scratch");

        /// <summary>As of a process that was started anew.</summary>
        public Mounter Mounter(int answerMs = AnswerMs) => new(Rig.Attacher.HoldsDataAsync, Scratch, Programs(answerMs));

        public ApartMounter Apart(int answerMs = AnswerMs) => new(DeviceProcess.Command, Rig.Address, Scratch, Programs(answerMs));

        public async Task<AttachedDevice> FormattedAsync()
        {
            var device = await Rig.AttachAsync();
            DeviceRig.Ok(await Rig.Mounter.FormatAsync(device, FileSystemKind.Ext4, [], default));
            return device;
        }

        public string MarkOf(AttachedDevice device) => $"--long={Path.Combine(Cluster.Csi.Attach.Mounter.ProgramsIn(Scratch), Path.GetFileName(device.Path))}";

        public int Starts(string program) => Count(program, "start");

        public int Ends(string program) => Count(program, "end");

        public Task StartedAsync(string program, int times = 1) => LocalCluster.WaitForAsync(() => Task.FromResult(Starts(program)), starts => starts >= times, $"{program} was not started");

        public Task EndedAsync(AttachedDevice device) => LocalCluster.WaitForAsync(() => Task.FromResult(DaemonProcess.Find(MarkOf(device)).Count), count => count == 0, "the program did not end");

        public void Open() => File.WriteAllText(Path.Combine(_bin, "open"), "");

        public void Shut() => File.Delete(Path.Combine(_bin, "open"));

        public void Fail() => File.WriteAllText(Path.Combine(_bin, "fail"), "");

        public void Heal() => File.Delete(Path.Combine(_bin, "fail"));

        public ValueTask DisposeAsync()
        {
            // A test that has failed leaves nothing that waits.
            Open();
            return Rig.DisposeAsync();
        }

        private LongPrograms Programs(int answerMs) => new(Cluster.Csi.Attach.Mounter.ProgramsIn(Scratch), answerMs, program =>
            Path.Combine(_bin, program) is var file && File.Exists(file) ? file : HostPrograms.Find(program));

        private int Count(string program, string what)
        {
            var log = Path.Combine(_bin, $"{program}.log");
            return File.Exists(log) ? File.ReadAllLines(log).Count(line => line == what) : 0;
        }
    }
}
