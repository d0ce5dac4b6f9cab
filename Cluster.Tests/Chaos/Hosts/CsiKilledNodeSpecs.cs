using System.Globalization;
using Cluster.Csi.Attach;
using Cluster.Csi.Csi.V1;
using Cluster.Node.Cli.Dev;
using Cluster.Tests.Integration.Csi;
using Cluster.Tests.Integration.EndToEnd;
using Grpc.Core;

namespace Cluster.Tests.Chaos.Hosts;

/// <summary>The driver's process is killed while a call is under way, at moments that no step of its own marks: the kubelet makes the call again, or takes all away.</summary>
[Collection(EndToEnd.Name)]
public class CsiKilledNodeSpecs
{
    private const string Volume = "pg";
    private const int Stop = 19;
    private const int Continue = 18;

    /// <summary>After that many milliseconds of a call; a stage of a new volume takes about half a second.</summary>
    private static readonly int[] Moments = [0, 40, 130, 200, 300, 450];

    [Fact(DisplayName = "A node that is killed in the middle of a call of the kubelet goes on when it is back: the same call, made again, ends; what was written is there; nothing is left in the end")]
    public async Task Killed_within()
    {
        RootTools.Require("mkfs.ext4", "losetup");
        await using var cluster = await LocalCluster.StartAsync(nodes: 1);
        await using var kubelet = new Kubelet(cluster);
        await kubelet.CreateAsync();
        foreach (var moment in Moments)
        {
            await kubelet.KilledWithinAsync(moment, "publish");
            await kubelet.KilledWithinAsync(moment, "stage");
            await kubelet.KilledWithinAsync(moment, "node-publish");
            var file = Path.Combine(kubelet.Target, "data");
            Assert.Equal(moment == Moments[0] ? "" : "kept", File.Exists(file) ? await File.ReadAllTextAsync(file) : "");
            await File.WriteAllTextAsync(file, "kept");
            await kubelet.KilledWithinAsync(moment, "node-unpublish");
            await kubelet.KilledWithinAsync(moment, "unstage");
            await kubelet.KilledWithinAsync(moment, "unpublish");
            Assert.Equal("", kubelet.Leftovers());
        }
    }

    [Fact(DisplayName = "A node that is killed in the middle of a stage, whose pod is gone when it is back, is rid of all of it by the calls that take a volume away")]
    public async Task Killed_and_given_up()
    {
        RootTools.Require("mkfs.ext4", "losetup");
        await using var cluster = await LocalCluster.StartAsync(nodes: 1);
        await using var kubelet = new Kubelet(cluster);
        await kubelet.CreateAsync();
        foreach (var moment in Moments)
        {
            await kubelet.CallAsync("publish");
            await kubelet.KilledWithinAsync(moment, "stage", again: false);
            foreach (var call in new[] { "node-unpublish", "unstage", "unpublish" }) await kubelet.CallAsync(call);
            Assert.Equal("", kubelet.Leftovers());
        }
    }

    [Fact(DisplayName = "A node that is killed while its new device answers nothing is gone at once: it does not wait, in the kernel, for the device that waits for it")]
    public async Task Killed_while_the_device_is_silent()
    {
        RootTools.Require("mkfs.ext4", "losetup");
        await using var cluster = await LocalCluster.StartAsync(nodes: 1);
        await using var kubelet = new Kubelet(cluster);
        await kubelet.CreateAsync();
        await kubelet.CallAsync("publish");
        using (var client = kubelet.Connect())
        {
            var running = kubelet.CallAsync(client, "stage");
            // The device's process is stopped between two of its answers: whatever the stage does with the device from then on waits.
            await LocalCluster.WaitForAsync(() => Task.FromResult(kubelet.ReadsOfDevice()), reads => reads > 0, "the stage never read the device");
            kubelet.SignalDevice(Stop);
            await LocalCluster.WaitForAsync(() => Task.FromResult(kubelet.WaitsForDevice() || running.IsCompleted), waits => waits, "nothing waited for the device");
            Assert.False(running.IsCompleted, "the stage was over before its device could be stopped");
            await cluster.KillAsync(kubelet.NodeName);
            await Assert.ThrowsAsync<RpcException>(() => running);
        }
        kubelet.SignalDevice(Continue);
        await cluster.StartNodeAsync(kubelet.NodeName);
        foreach (var call in new[] { "stage", "node-publish", "node-unpublish", "unstage", "unpublish" }) await kubelet.CallAsync(call);
        Assert.Equal("", kubelet.Leftovers());
    }

    private sealed class Kubelet(LocalCluster cluster) : IAsyncDisposable
    {
        private readonly DevNode _node = cluster.Nodes[0];
        private readonly IReadOnlyList<LoopDevice> _before = LoopDevices.Read();
        private readonly string _staging = Directory.CreateDirectory(Path.Combine(cluster.Directory, "staging")).FullName;
        private CreateVolumeResponse? _volume;
        private IDictionary<string, string> _context = new Dictionary<string, string>();

        public string Target { get; } = Path.Combine(cluster.Directory, "target");

        public async Task CreateAsync()
        {
            using var client = Connect();
            _volume = await client.Controller.CreateVolumeAsync(new CreateVolumeRequest { Name = Volume, CapacityRange = new() { RequiredBytes = CsiHost.VolumeBytes }, VolumeCapabilities = { CsiNode.Mount() } });
        }

        public string NodeName => _node.Name;

        private string DeviceMark => $"--path={LoopDevices.Read().Single(IsOwn).BackingFile}";

        private bool IsOwn(LoopDevice loop) => loop.BackingFile.StartsWith(cluster.Directory, StringComparison.Ordinal);

        /// <summary>How many reads the volume's device has done; 0 as long as there is none.</summary>
        public long ReadsOfDevice() => LoopDevices.Read().FirstOrDefault(IsOwn) is { } loop
            ? long.Parse(File.ReadAllText($"/sys/block/{Path.GetFileName(loop.Path)}/stat").Split(' ', StringSplitOptions.RemoveEmptyEntries)[0], CultureInfo.InvariantCulture) : 0;

        public void SignalDevice(int signal) => Assert.True(DaemonProcess.Signal(DeviceMark, signal));

        /// <summary>Whether a thread of the node, or of a program that it runs, waits in the kernel for a page of the device or for its turn with it.</summary>
        public bool WaitsForDevice() => Directory.EnumerateDirectories("/proc").Where(IsNodeOrChild).SelectMany(process => Threads(process)).Any(state => state == 'D');

        private bool IsNodeOrChild(string process)
        {
            var name = Path.GetFileName(process);
            return name == $"{_node.Pid}" || (StatusOf(process, "PPid:") is { } parent && parent == $"{_node.Pid}");
        }

        private static IEnumerable<char> Threads(string process)
        {
            try
            {
                return [.. Directory.EnumerateDirectories(Path.Combine(process, "task")).Select(thread => StatusOf(thread, "State:") is { Length: > 0 } state ? state[0] : ' ')];
            }
            catch (DirectoryNotFoundException)
            {
                // It has ended since it was listed.
                return [];
            }
        }

        private static string? StatusOf(string process, string field)
        {
            try
            {
                return File.ReadLines(Path.Combine(process, "status")).FirstOrDefault(line => line.StartsWith(field, StringComparison.Ordinal))?[field.Length..].Trim();
            }
            catch (IOException)
            {
                // It has ended since it was listed, or is no process.
                return null;
            }
        }

        /// <summary>Loop devices, mounts and processes of devices in this cluster's directory. The file of a loop device that was unmounted below it has no path any more.</summary>
        public string Leftovers() => string.Join("; ", LoopDevices.Read().Where(loop => IsOwn(loop) || (loop.BackingFile == "/" && !_before.Contains(loop))).Select(loop => loop.Path)
            .Concat(MountTable.Read().Where(mount => mount.Path.StartsWith(cluster.Directory, StringComparison.Ordinal)).Select(mount => mount.Path))
            .Concat(Directory.EnumerateDirectories("/proc").Where(process => CommandOf(process).Contains($"--path={cluster.Directory}", StringComparison.Ordinal))));

        private static string CommandOf(string process)
        {
            try
            {
                return File.ReadAllText(Path.Combine(process, "cmdline"));
            }
            catch (IOException)
            {
                // It has ended since it was listed, or is no process.
                return "";
            }
        }

        /// <summary>What a test that failed has left must not hide why it failed: a device that is stopped would hold up whoever looks at it, and the killed node.</summary>
        public async ValueTask DisposeAsync()
        {
            foreach (var loop in LoopDevices.Read().Where(IsOwn)) DaemonProcess.Signal($"--path={loop.BackingFile}", Native.Kill);
            foreach (var mount in MountTable.Read().Where(mount => mount.Path.StartsWith(cluster.Directory, StringComparison.Ordinal)).Reverse())
                await Tool.RunAsync("umount", "--lazy", mount.Path);
            foreach (var loop in LoopDevices.Read().Where(loop => loop.BackingFile.StartsWith(cluster.Directory, StringComparison.Ordinal))) await Tool.RunAsync("losetup", "--detach", loop.Path);
        }

        public async Task KilledWithinAsync(int milliseconds, string call, bool again = true)
        {
            using (var client = Connect())
            {
                var running = CallAsync(client, call);
                await Task.Delay(milliseconds);
                await cluster.KillAsync(_node.Name);
                try
                {
                    await running;
                }
                catch (RpcException)
                {
                    // Cut off: what it did is found out by the next call.
                }
            }
            await cluster.StartNodeAsync(_node.Name);
            if (!again) return;
            for (var twice = 0; twice < 2; twice++) await CallAsync(call);
        }

        /// <summary>As the kubelet does it: again, as long as the driver says that it can't now.</summary>
        public async Task CallAsync(string call)
        {
            await LocalCluster.WaitForAsync(async () =>
            {
                using var client = Connect();
                try
                {
                    await CallAsync(client, call);
                    return "";
                }
                catch (RpcException e) when (e.StatusCode is StatusCode.Unavailable or StatusCode.Aborted or StatusCode.DeadlineExceeded or StatusCode.FailedPrecondition)
                {
                    return $"{e.StatusCode}: {e.Status.Detail}";
                }
            }, left => left.Length == 0, $"{call} never ended well");
        }

        public CsiClient Connect() => new(Path.Combine(cluster.Nodes[0].Data, "csi.sock"));

        public async Task CallAsync(CsiClient client, string call)
        {
            var (volume, capability) = (_volume!.Volume.VolumeId, CsiNode.Mount());
            switch (call)
            {
                case "publish":
                    _context = (await client.Controller.ControllerPublishVolumeAsync(new ControllerPublishVolumeRequest { VolumeId = volume, NodeId = _node.Name, VolumeCapability = capability })).PublishContext;
                    break;
                case "stage":
                    await client.Node.NodeStageVolumeAsync(new NodeStageVolumeRequest { VolumeId = volume, StagingTargetPath = _staging, VolumeCapability = capability, PublishContext = { _context } });
                    break;
                case "node-publish":
                    await client.Node.NodePublishVolumeAsync(new NodePublishVolumeRequest
                    {
                        VolumeId = volume,
                        StagingTargetPath = _staging,
                        TargetPath = Target,
                        VolumeCapability = capability,
                        PublishContext = { _context },
                    });
                    break;
                case "node-unpublish":
                    await client.Node.NodeUnpublishVolumeAsync(new NodeUnpublishVolumeRequest { VolumeId = volume, TargetPath = Target });
                    break;
                case "unstage":
                    await client.Node.NodeUnstageVolumeAsync(new NodeUnstageVolumeRequest { VolumeId = volume, StagingTargetPath = _staging });
                    break;
                default:
                    await client.Controller.ControllerUnpublishVolumeAsync(new ControllerUnpublishVolumeRequest { VolumeId = volume, NodeId = _node.Name });
                    break;
            }
        }
    }
}
